"""Raw build → release folder: script-free Parquet per attribute, metadata and card. `python -m builder.release`.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

from filelock import FileLock

import agfd30k
from agfd30k import SPLITS
from builder import UserError, card, raw
from builder.files import atomic
from builder.parquet import ReleaseWriter
from builder.shards import REJECTED, receipt

OURS = {"README.md", "recipe.toml", "data", "metadata", "assets"}
IGNORED = {".gitattributes", ".cache", ".DS_Store"}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m builder.release",
        description="Make the release folder from a raw build.",
        epilog="example: python -m builder.release --raw agfd30k-raw --out agfd30k",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--raw", type=Path, default=Path("agfd30k-raw"), help="the raw build")
    parser.add_argument("--out", type=Path, default=Path("agfd30k"), help="the release folder, replaced as a whole")
    parser.add_argument("--partial", action="store_true", help="release what is done of a build that is not complete")
    args = parser.parse_args(argv)
    try:
        open_shards = [folder.name for folder in raw.shard_folders(args.raw) if receipt(folder) is None]
        if open_shards and not args.partial:
            raise UserError(
                f"{args.raw}: {len(open_shards)} shards are not done ({', '.join(open_shards[:3])} …); run the builder "
                "again to finish them, or release what is done with --partial"
            )
        print(summary(make(args.raw, args.out), args.out))
        return 0
    except (UserError, OSError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 2


def summary(counts: dict[str, Counter], out: Path) -> str:
    """What a release holds, as a table, and how to load it."""
    lines = [f"{'config':<14}" + "".join(f"{split:>12}" for split in SPLITS)]
    for name, splits in counts.items():
        lines.append(f"{name:<14}" + "".join(f"{splits[split]:>12,}" for split in SPLITS))
    first = next(iter(counts))
    lines.append(f'\n{out}: load it with  load_dataset("{out.as_posix()}", "{first}")')
    return "\n".join(lines)


def make(raw_folder: Path, out: Path) -> dict[str, Counter]:
    """Make the release of every shard that has its receipt; returns rows by config and split.

    Does nothing when the release is already that of these shards. Raises UserError where `out` holds anything that is
    not a release, or where a picture or row is damaged.
    """
    recipe = raw.require(raw_folder)
    folders = [folder for folder in raw.shard_folders(raw_folder) if receipt(folder) is not None]
    if not folders:
        raise UserError(f"{raw_folder}: no shard is done yet; run the builder again to go on")
    built_from = _digest(recipe, folders)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.parent / f".{out.name}.lock"):
        _require_ours(out)
        counts = _counts(recipe, folders)
        if _built_from(out) == built_from:
            return counts
        temporary = out.parent / f".{out.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        _write(temporary, recipe, folders, built_from)
        _swap(temporary, out)
    return counts


def _write(folder: Path, recipe: dict, folders: list[Path], built_from: str) -> None:
    folder.mkdir()
    files = ReleaseWriter(folder, recipe["labels"])
    for attribute in recipe["labels"]["attribute"]:
        for shard in folders:
            if shard.name.rsplit("-", 1)[0] == attribute:
                files.add(attribute, shard)
        files.close(attribute)
    configs = files.configs()
    with atomic(folder / "recipe.toml") as file:
        file.write(_recipe_toml(recipe).encode())
    with atomic(folder / "README.md") as file:
        file.write(card.render(recipe, configs, composition(recipe, folders), built_from).encode())


def _recipe_toml(recipe: dict) -> str:
    """The table as it was given, under a note of the exact model; --spec reads it."""
    model = recipe["model"]
    note = f"built with {model['name']}, revision {model['revision']}; fingerprint {recipe['fingerprint']}"
    return f"# {note}\n\n{recipe['toml']}"


def composition(recipe: dict, folders: list[Path]) -> list[dict]:
    """Per feature, in the table's order: pictures asked for, made, tries rejected, and pictures given up."""
    made, rejected, unfilled = Counter(), Counter(), Counter()
    for shard in folders:
        made.update(row["feature"] for row in agfd30k.read_rows(shard))
        unfilled.update(id.split("-")[1] for id in receipt(shard)["unfilled"])
        with open(shard / REJECTED, encoding="utf-8") as lines:
            rejected.update(json.loads(line)["id"].split("-")[1] for line in lines)
    return [
        {
            "attribute": feature["attribute"],
            "feature": name,
            "asked": made[name] + unfilled[name],
            "made": made[name],
            "rejected": rejected[name],
            "unfilled": unfilled[name],
        }
        for feature in recipe["spec"]["features"]
        if made[name := feature["name"]] + unfilled[name]
    ]


def _counts(recipe: dict, folders: list[Path]) -> dict[str, Counter]:
    counts: dict[str, Counter] = {name: Counter() for name in recipe["labels"]["attribute"]}
    for shard in folders:
        counts[shard.name.rsplit("-", 1)[0]].update(row["split"] for row in agfd30k.read_rows(shard))
    counts = {name: found for name, found in counts.items() if found}
    total = sum(counts.values(), Counter())
    return {**counts, "all": total, "metadata": total}


def _digest(recipe: dict, folders: list[Path]) -> str:
    parts = [recipe["fingerprint"], *(f"{folder.name} {receipt(folder)['sha256']}" for folder in folders)]
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _built_from(out: Path) -> str | None:
    try:
        text = (out / "README.md").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = [line for line in text.splitlines() if line.startswith("<!-- built from ")]
    return found[-1].split()[3] if found else None


def _require_ours(out: Path) -> None:
    """Raise UserError where the release folder is taken by something else: nothing the user made is overwritten."""
    if not out.exists():
        return
    if out.is_dir():
        names = {path.name for path in out.iterdir()} - IGNORED
        if not names or (names <= OURS and _built_from(out) is not None):
            return
        strangers = sorted(names - OURS) or ["a README.md that is not ours"]
        raise UserError(f"{out}: holds {', '.join(strangers[:3])}, so it is not replaced; move that away or use --out")
    raise UserError(f"{out}: is a file; move it away or use --out")


def _swap(new: Path, out: Path) -> None:
    """Put the new release in the old one's place. A crash in between leaves one of them whole, under a name of ours."""
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
