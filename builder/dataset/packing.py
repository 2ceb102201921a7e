"""Make the release folder of a raw build: script-free Parquet per attribute, metadata and card.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import agfd30k
from agfd30k import SPLITS
from builder.common.errors import UserError
from builder.common.files import atomic, sync_folder
from builder.common.progress import progress_bar
from builder.dataset import card, charts, contact_sheets, croissant, folder, parquet
from builder.dataset.alignment import Aligner
from builder.dataset.build_info import BuildInfo, recipe_toml
from builder.dataset.contact_sheets import Sheet, Sheets
from builder.dataset.contents import Contents, build_info
from builder.dataset.cutting import Cutter, FileTask, file_tasks, numbered
from builder.dataset.folder import IGNORED, Release
from builder.dataset.parquet import ALIGNED, ANNOTATIONS, FIRST_PAGE, METADATA, Config, Written, default_config
from builder.dataset.statistics import CHECKS_FILE, Statistics
from builder.dataset.writing import Writer, changed
from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.models.identity import ModelId
from builder.plan.plan import Plan
from builder.raw import calibration_file
from builder.raw.build import Finished, RawBuild
from builder.raw.recipe import BuildRecipe

OURS = {"README.md", "recipe.toml", "croissant.json", "data", METADATA, FIRST_PAGE, ANNOTATIONS, ALIGNED, "assets"}
THREADS = 4
"""Files packed at a time; each takes some 100 MB of memory, and waits for the disk a part of the time."""
LOCKED = 0.1e-3
"""Seconds a row for which a thread that writes it into a file holds Python's lock: by them processes are chosen."""


def summary(statistics: Statistics, recipe: BuildRecipe, out: Path) -> str:
    """Return what was made and rejected and what a release holds, as tables, and how to load it."""
    config = next(iter(statistics.made))[0]
    look = f"pictures of every feature: {out / 'assets' / 'all.webp'}"
    checked = "\n".join([*statistics.lines(statistics.table(recipe.spec)), *_aligned_line(out)])
    return f'{checked}\n\n{statistics}\n\n{look}\n{out} is ready: load_dataset("{out.as_posix()}", "{config}")'


def _aligned_line(out: Path) -> list[str]:
    """Return how many faces of a release are aligned, where it has such a config."""
    infos = {info.get("config_name"): info for info in Release(out).card[0].get("dataset_info") or []}
    counts = {
        name: sum(split["num_examples"] for split in infos[name]["splits"])
        for name in (ALIGNED, METADATA)
        if name in infos
    }
    if ALIGNED not in counts:
        return []
    left = counts[METADATA] - counts[ALIGNED]
    return [f"aligned: {counts[ALIGNED]:,} of {counts[METADATA]:,} faces; {left:,} without five points are left out"]


def pack(
    raw: RawBuild,
    out: Path,
    anew: bool = False,
    plan: Plan | None = None,
    aligned: int | None = None,
    engine: Engine | None = None,
) -> tuple[Statistics, bool]:
    """Make the release of every shard that has its receipt; returns what it holds, and whether it was made now.

    A release that is already that of these shards is left as it is, unless it shall be made `anew`; a new one has the
    faces aligned as well, where `aligned` is the side in pixels that they shall have. Which `engine` counts the rows
    and writes the files, threads of this process or as many processes as are worth it where none is given, makes no
    difference to their bytes. Raises UserError where `out` holds anything else than a release of this recipe, or where
    a picture or row is damaged; Reopened where something of `plan` is not done at this moment.
    """
    out = out.resolve()
    with raw.reading():
        contents = Contents.of(raw, engine)
        raw.require_done(contents.shards, plan)
        require_free(out, raw.recipe)
        stale = anew or not _is_current(out, contents.info, raw.recipe)
        if stale:
            _make(out, contents, aligned, engine)
    return contents.statistics, stale


def pack_stale(raw: RawBuild, out: Path, plan: Plan | None = None) -> Statistics | None:
    """Make the release unless it is there already, which only the receipts are read for: None then.

    For processes that have finished a build together: one makes its release, and the others lose no time with it.
    """
    out = out.resolve()
    with raw.reading():
        finished = raw.finished()
        raw.require_done(finished, plan)
        info = build_info(raw, finished, calibration_file.load(raw.folder, raw.fingerprint))
        if _is_current(out, info, raw.recipe):
            return None
        contents = Contents.of(raw)
        require_free(out, raw.recipe)
        _make(out, contents)
    return contents.statistics


def _make(out: Path, contents: Contents, aligned: int | None = None, engine: Engine | None = None) -> None:
    """Write the release and put it in its place; an error leaves nothing behind."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with folder.lock(out):
        folder.remove_leftovers(out)
        temporary, _ = folder.beside(out)
        try:
            _write(temporary, out.name, contents, aligned, engine)
            _swap(temporary, out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def require_free(out: Path, recipe: BuildRecipe) -> None:
    """Raise UserError where `out` cannot be made, or holds anything that a release of this recipe must not replace.

    It may replace an older release of the same recipe and a preview, nothing else.
    """
    parent = next(place for place in out.resolve().parents if place.exists())
    if not parent.is_dir():
        raise UserError(f"{out}: cannot be made, because {parent} is not a folder; choose another place with --out")
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} - IGNORED if out.is_dir() else {"a file"}
    there = BuildInfo.read(out)
    strangers = sorted(names - OURS) or ([] if there or not names else ["a README.md that is not ours"])
    if strangers:
        raise UserError(f"{out}: holds {', '.join(strangers[:3])}, so it is not replaced; move it away or use --out")
    if there and there.recipe != recipe.fingerprint and not there.is_preview:
        raise UserError(f"{out}: is the release of another recipe, so it is not replaced; move it away or use --out")


def _write(place: Path, name: str, contents: Contents, aligned: int | None, engine: Engine | None) -> None:
    """Write a whole release into a new folder; `name` is what it will be called."""
    assets, recipe, statistics = place / "assets", contents.recipe, contents.statistics
    assets.mkdir(parents=True)
    in_order = [shard for attribute in recipe.spec.attributes for shard in _of(attribute, contents.shards)]
    sheets = contact_sheets.sheets(assets, in_order, statistics.made)
    with ThreadPoolExecutor(1) as beside:
        drawn = [beside.submit(charts.write, assets, recipe.spec, statistics)]

        def draw_all(images: Sheets) -> None:
            attributes = {sheet.attribute: images[sheet.attribute] for sheet in sheets}
            drawn.append(beside.submit(contact_sheets.write_all, assets, attributes))

        labels, detector = recipe.spec.labels, _detector(contents)
        configs = write_files(place, labels, contents.shards, statistics, detector, aligned, sheets, engine, draw_all)
        _finish(drawn)
    _require_unchanged(configs, contents)
    if aligned and ALIGNED not in configs:
        raise UserError("--aligned: no row of this build has a face's five points, which the detector YuNet notes")
    with atomic(assets / CHECKS_FILE) as file:
        file.write(str(statistics.checks(recipe)).encode())
    if contents.calibration:
        with atomic(assets / calibration_file.NAME) as file:
            file.write(contents.calibration.data)
    with atomic(place / "recipe.toml") as file:
        file.write(recipe_toml(recipe).encode())
    croissant.write(place, contents, configs)
    with atomic(place / "README.md") as file:
        names = [*(sheet.attribute for sheet in sheets), "all"]
        file.write(card.render(contents, configs, names, name).encode())
    sync_folder(place)


def _finish(work: Sequence[Future[None]]) -> None:
    for future in work:
        future.result()


def _of(attribute: str, shards: Finished) -> list[Path]:
    return [shard for shard in shards if agfd30k.config_of(shard) == attribute]


def _detector(contents: Contents) -> ModelId | None:
    """Return the face detector that has noted five points in the rows, of older builds none."""
    model = next((check.model for check in contents.recipe.checks if check.name == "face"), None)
    first = (next(agfd30k.read_rows(shard), None) for shard in contents.shards)
    return model if any("points" in row["checks"] for row in first if row) else None


def _require_unchanged(configs: dict[str, Config], contents: Contents) -> None:
    """Raise UserError where other rows were packed than were counted."""
    counted = {split: rows for split, rows in contents.statistics.splits().items() if rows}
    for name in (default_config(configs), METADATA):
        if {split: size.rows for split, size in configs[name].splits.items()} != counted:
            raise changed(next(iter(contents.shards)))


def _is_current(out: Path, info: BuildInfo, recipe: BuildRecipe) -> bool:
    """Return True where a release is already what its build info and its table shall say."""
    if BuildInfo.read(out) != info or not (out / "recipe.toml").is_file():
        return False
    return (out / "recipe.toml").read_text(encoding="utf-8") == recipe_toml(recipe)


def write_files(
    place: Path,
    labels: dict[str, list[str]],
    shards: Finished,
    statistics: Statistics,
    detector: ModelId | None = None,
    aligned: int | None = None,
    sheets: Sequence[Sheet] = (),
    engine: Engine | None = None,
    on_sheets: Callable[[Sheets], None] = lambda images: None,
) -> dict[str, Config]:
    """Write the Parquet files and the contact sheets, each of which is a task for an engine; returns what the card says
    of every config. `on_sheets` is called with what the sheets return, as soon as there are all.

    `statistics` has counted the shards; `detector` is what has noted five points in their rows, `aligned` the side of
    the faces that are aligned by them, in pixels. Without an engine they are written by threads of this process, or by
    processes where these are worth it.
    """
    writer = Writer(place, labels, detector, Aligner(aligned) if aligned else None)
    files = list(Cutter(shards, statistics).files(detector is not None, aligned))
    written: list[Written] = []
    images: Sheets = {}
    not_drawn: _NotDrawn | None = None
    tasks: list[FileTask | Sheet] = [*file_tasks(files), *sheets]
    tasks.sort(key=lambda task: -task.work)  # the longest first, so that all end together
    engine = engine or Here.sized(LOCKED * sum(file.rows for file in files), THREADS)
    with progress_bar(total=len(tasks), desc="release", unit="file") as bar:
        for result in engine.map(partial(_run, writer), tasks):
            if isinstance(result, _NotDrawn):
                not_drawn = not_drawn or result
            elif isinstance(result, UserError):
                raise result
            elif isinstance(result, dict):
                images |= result
                if len(images) == len(sheets):
                    on_sheets(images)
            else:
                written += result
            bar.update()
    if not_drawn:  # only now: whoever packs the picture can tell better what is wrong with it
        raise not_drawn
    _sweep(place, {place / file.place / file.name for file in written})
    _number(place, written)
    return parquet.configs(labels, written)


def _sweep(place: Path, written: set[Path]) -> None:
    """Remove what is left of a process that died, and whose task another one has done."""
    for path in place.rglob("*"):
        if path.suffix in (".tmp", ".parquet") and path not in written:
            path.unlink()


class _NotDrawn(UserError):
    """A contact sheet could not be made."""


Done = list[Written] | Sheets
"""What a task returns."""


def _run(writer: Writer, task: FileTask | Sheet) -> Done | UserError:
    """Do a task, wherever; returns its result, or what the user can put right.

    That is returned, not raised: an error whose message is not all it is made of cannot come from another process.
    """
    try:
        return task.write() if isinstance(task, Sheet) else writer.write(task.files)
    except UserError as error:
        return (_NotDrawn if isinstance(task, Sheet) else UserError)(str(error))


def _number(place: Path, written: Sequence[Written]) -> None:
    """Give files new numbers where some have no row: of which faces can be aligned, the plan knew nothing."""
    for split in SPLITS:
        own = sorted(file.name for file in written if (file.place, file.split) == (ALIGNED, split) and file.rows)
        for number, name in enumerate(own):
            (place / ALIGNED / name).rename(place / ALIGNED / numbered(split, number, len(own)))


def _swap(new: Path, out: Path) -> None:
    """Put the new release in the old one's place. A crash in between leaves both whole, under names of ours."""
    _, old = folder.beside(out)
    if out.exists():
        out.rename(old)
    new.rename(out)
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)
