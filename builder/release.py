"""Raw build → release folder: script-free Parquet per attribute, metadata and card. `python -m builder.release`.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tomlkit
from filelock import FileLock
from tqdm import tqdm

from builder import UserError, calibration, card, charts, cli, figures, raw
from builder.calibration import Kept
from builder.census import Census
from builder.files import atomic, sync_folder
from builder.parquet import ReleaseWriter
from builder.spec import fingerprint

OURS = {"README.md", "recipe.toml", "data", "metadata", "assets"}
THREADS = 4
"""Attributes packed at a time; each takes some 100 MB of memory, and waits for the disk a part of the time."""
TALLY = "checks.json"
IGNORED = {".gitattributes", ".cache", ".DS_Store"}
MARK = re.compile(
    r"<!-- built from (?P<rows>\S+), recipe (?P<recipe>\S+), (table (?P<table>\S+), )?model (?P<kind>\S+)"
    r"(, calibration \S+)?(?P<unsearched>, unsearched)? -->"
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = cli.parser(
        "python -m builder.release",
        "Make the release folder from a raw build.",
        "python -m builder.release --raw agfd30k-raw --out agfd30k",
    )
    parser.add_argument("--raw", metavar="FOLDER", type=Path, default=Path("agfd30k-raw"), help="the raw build")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("agfd30k"), help="the release folder, replaced as a whole"
    )
    parser.add_argument("--partial", action="store_true", help="release what is done of a build that is not complete")
    args = parser.parse_args(argv)
    return cli.status("release", lambda: _release(args.raw, args.out, args.partial))


def _release(raw_folder: Path, out: Path, partial: bool) -> None:
    left = raw.unfinished(raw_folder)
    if left and not partial:
        raise UserError(
            f"{raw_folder}: {len(left)} shards are not done ({left[0]} first); run the builder again to finish them, "
            "or release what is done with --partial"
        )
    limits = raw.require(raw_folder)["spec"]["checks"]["duplicates"]
    if not (partial or raw.is_searched(raw_folder, limits, raw.finished(raw_folder))):
        raise UserError(
            f"{raw_folder}: duplicates have not been looked for since the last picture was made; run the builder "
            "again, or release what is there with --partial"
        )
    print(summary(make(raw_folder, out, anew=True)[0], raw.require(raw_folder), out))


def summary(census: Census, recipe: dict, out: Path) -> str:
    """What was made and rejected and what a release holds, as tables, and how to load it."""
    config = next(iter(census.made))[0]
    look = f"pictures of every feature: {out / 'assets' / 'all.webp'}"
    checked = "\n".join(census.lines(recipe))
    return f'{checked}\n\n{census}\n\n{look}\n{out} is ready: load_dataset("{out.as_posix()}", "{config}")'


def make(raw_folder: Path, out: Path, anew: bool = False) -> tuple[Census, bool]:
    """Make the release of every shard that has its receipt; returns what it holds, and whether it was made now.

    A release that is already that of these shards is left as it is, unless it shall be made `anew`. Raises UserError
    where `out` holds anything else than a release of this recipe, or where a picture or row is damaged.
    """
    recipe = raw.require(raw_folder)
    calibrated = calibration.load(raw_folder, recipe["fingerprint"])
    out = out.resolve()
    with FileLock(raw_folder / raw.LOCK):
        shards = raw.finished(raw_folder)
        census = Census.of(list(shards))
        if not census.made:
            raise UserError(f"{raw_folder}: {census.nothing()}")
        searched = raw.is_searched(raw_folder, recipe["spec"]["checks"]["duplicates"], shards)
        mark = _mark_of(shards, recipe, calibrated, searched)
        require_free(out, recipe)
        out.parent.mkdir(parents=True, exist_ok=True)
        stale = anew or not _is_current(out, mark, recipe)
        if stale:
            temporary = out.parent / f".{out.name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            _write(temporary, out.name, recipe, list(shards), census, calibrated, mark, searched)
            _swap(temporary, out)
    return census, stale


def require_free(out: Path, recipe: dict) -> None:
    """Raise UserError where `out` cannot be made, or holds anything that a release of this recipe must not replace.

    It may replace an older release of the same recipe and a preview, nothing else.
    """
    parent = next(place for place in out.resolve().parents if place.exists())
    if not parent.is_dir():
        raise UserError(f"{out}: cannot be made, because {parent} is not a folder; choose another place with --out")
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} - IGNORED if out.is_dir() else {"a file"}
    mark = _mark(out)
    strangers = sorted(names - OURS) or ([] if mark or not names else ["a README.md that is not ours"])
    if strangers:
        raise UserError(f"{out}: holds {', '.join(strangers[:3])}, so it is not replaced; move it away or use --out")
    if mark and mark["recipe"] != recipe["fingerprint"] and mark["kind"] != "preview":
        raise UserError(f"{out}: is the release of another recipe, so it is not replaced; move it away or use --out")


def _write(
    folder: Path,
    name: str,
    recipe: dict,
    shards: list[Path],
    census: Census,
    calibrated: Kept | None,
    mark: str,
    searched: bool,
) -> None:
    folder.mkdir()
    (folder / "assets").mkdir()
    parts = {name: [s for s in shards if _attribute(s) == name] for name in recipe["labels"]["attribute"]}
    with ThreadPoolExecutor(2) as beside:
        sheets = beside.submit(figures.write_sheets, folder / "assets", [s for part in parts.values() for s in part])
        drawn = beside.submit(charts.write, folder / "assets", recipe, census)
        configs, sheets, _ = pack(folder, recipe["labels"], parts), sheets.result(), drawn.result()
    counted = {split: rows for split, rows in census.splits().items() if rows}
    for config in ("all", "metadata"):
        if {split: rows for split, (rows, _) in configs[config]["splits"].items()} != counted:
            raise UserError(f"{shards[0].parent.parent}: was changed while it was read; wait for who writes there")
    with atomic(folder / "assets" / TALLY) as file:
        file.write(json.dumps(census.tally(recipe), indent=1).encode())
    if calibrated:
        with atomic(folder / "assets" / calibration.NAME) as file:
            file.write(calibrated.data)
    with atomic(folder / "recipe.toml") as file:
        file.write(_recipe_toml(recipe).encode())
    with atomic(folder / "README.md") as file:
        file.write(card.render(recipe, configs, census, sheets, calibrated, mark, name, searched).encode())
    sync_folder(folder)


def _is_current(out: Path, mark: str, recipe: dict) -> bool:
    """True where a release is already what its mark and its table shall say."""
    there = _mark(out)
    return bool(there) and there[0] == mark and (out / "recipe.toml").read_text("utf-8") == _recipe_toml(recipe)


def pack(folder: Path, labels: dict[str, list[str]], parts: dict[str, list[Path]]) -> dict[str, dict]:
    """Write the Parquet files, several attributes at a time; returns what the card says of every config."""
    files = ReleaseWriter(folder, labels)
    with (
        tqdm(total=sum(map(len, parts.values())), desc="release", unit="shard", disable=not sys.stderr.isatty()) as bar,
        ThreadPoolExecutor(THREADS) as pool,
    ):

        def pack(attribute: str) -> None:
            for shard in parts[attribute]:
                files.add_pictures(attribute, shard)
                bar.update()
            files.close(attribute)

        work = [pool.submit(pack, attribute) for attribute in sorted(parts, key=lambda name: -len(parts[name]))]
        for shard in (shard for part in parts.values() for shard in part):
            files.add_labels(shard)
        files.close("metadata")
        for done in work:
            done.result()
    return files.configs()


def _attribute(shard: Path) -> str:
    return shard.name.rpartition("-")[0]


def _recipe_toml(recipe: dict) -> str:
    """The table as it was given, but with the models and the commits it was built with; --spec reads it.

    Of a local model it says the name, not where it lies.
    """
    model = recipe["spec"]["recipe"]["model"]
    revision = recipe["model"]["revision"] if recipe["model"]["kind"] == "hub" else recipe["spec"]["recipe"]["revision"]
    document = tomlkit.parse(recipe["toml"])
    document.setdefault("recipe", tomlkit.table()).update({"model": model, "revision": revision})
    for check in recipe["checks"]:
        if check["model"] and check["model"]["kind"] != "preview":
            key = "model" if check["name"] == "attribute" else "detector"
            pinned = {"revision": check["model"]["revision"]} if check["model"]["kind"] == "hub" else {}
            document["checks"][check["name"]].update({key: check["model"]["name"], **pinned})
    note = f"built with {recipe['model']['name']}, revision {recipe['model']['revision']}"
    return f"# {note}; fingerprint {recipe['fingerprint']}\n\n{tomlkit.dumps(document).rstrip()}\n"


def table_digest(toml: str) -> str:
    """One digest of all that a table in TOML says; comments and the way it is written are not in it."""
    return fingerprint(tomllib.loads(toml))


def _mark_of(shards: dict[Path, str], recipe: dict, calibrated: Kept | None, searched: bool) -> str:
    """The line of a README that says what its release was built from."""
    more = (f", calibration {calibrated.digest}" if calibrated else "") + ("" if searched else ", unsearched")
    by = f"recipe {recipe['fingerprint']}, table {table_digest(_recipe_toml(recipe))}, model {recipe['model']['kind']}"
    return f"<!-- built from {raw.digest(shards)}, {by}{more} -->"


def _mark(out: Path) -> re.Match[str] | None:
    """What a release was built from, as its README says."""
    try:
        return MARK.search((out / "README.md").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _swap(new: Path, out: Path) -> None:
    """Put the new release in the old one's place. A crash in between leaves both whole, under names of ours."""
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
