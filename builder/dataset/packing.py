"""Make the release folder of a raw build: script-free Parquet per attribute, metadata and card.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from builder.common.errors import UserError
from builder.common.files import atomic, sync_folder
from builder.dataset import card, charts, contact_sheets
from builder.dataset.build_info import IGNORED, TALLY, mark_in, mark_of, recipe_toml
from builder.dataset.parquet import ReleaseWriter
from builder.dataset.statistics import Census
from builder.raw import build, calibration_file, layout
from builder.raw import recipe as raw_recipe
from builder.raw.calibration_file import Kept

OURS = {"README.md", "recipe.toml", "data", "metadata", "assets"}

THREADS = 4
"""Attributes packed at a time; each takes some 100 MB of memory, and waits for the disk a part of the time."""


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
    recipe = raw_recipe.require(raw_folder)
    calibrated = calibration_file.load(raw_folder, recipe["fingerprint"])
    out = out.resolve()
    with FileLock(raw_folder / layout.LOCK):
        shards = build.finished(raw_folder)
        census = Census.of(list(shards))
        if not census.made:
            raise UserError(f"{raw_folder}: {census.nothing()}")
        searched = build.is_searched(raw_folder, recipe["spec"]["checks"]["duplicates"], shards)
        mark = mark_of(shards, recipe, calibrated, searched)
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
    mark = mark_in(out)
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
        sheets = beside.submit(
            contact_sheets.write_sheets, folder / "assets", [s for part in parts.values() for s in part]
        )
        drawn = beside.submit(charts.write, folder / "assets", recipe, census)
        configs, sheets, _ = pack(folder, recipe["labels"], parts), sheets.result(), drawn.result()
    counted = {split: rows for split, rows in census.splits().items() if rows}
    for config in ("all", "metadata"):
        if {split: rows for split, (rows, _) in configs[config]["splits"].items()} != counted:
            raise UserError(f"{shards[0].parent.parent}: was changed while it was read; wait for who writes there")
    with atomic(folder / "assets" / TALLY) as file:
        file.write(json.dumps(census.tally(recipe), indent=1).encode())
    if calibrated:
        with atomic(folder / "assets" / calibration_file.NAME) as file:
            file.write(calibrated.data)
    with atomic(folder / "recipe.toml") as file:
        file.write(recipe_toml(recipe).encode())
    with atomic(folder / "README.md") as file:
        file.write(card.render(recipe, configs, census, sheets, calibrated, mark, name, searched).encode())
    sync_folder(folder)


def _is_current(out: Path, mark: str, recipe: dict) -> bool:
    """True where a release is already what its mark and its table shall say."""
    there = mark_in(out)
    return bool(there) and there[0] == mark and (out / "recipe.toml").read_text("utf-8") == recipe_toml(recipe)


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


def _swap(new: Path, out: Path) -> None:
    """Put the new release in the old one's place. A crash in between leaves both whole, under names of ours."""
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)
