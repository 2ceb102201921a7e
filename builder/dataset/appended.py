"""What describes a published release with an appended batch: card, croissant.json, checks.json, charts and sheets.

All is counted anew over both, from their labels and from what each says of its rejected tries.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from datasets import Features
from huggingface_hub.repocard import yaml_dump
from PIL import Image

from agfd30k import SPLITS
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.dataset import additions, annotations_section, card, charts, croissant
from builder.dataset.appending import Comparison
from builder.dataset.build_info import BuildInfo
from builder.dataset.contact_sheets import MOST_SIDE
from builder.dataset.contents import Contents
from builder.dataset.folder import CARD, DATA, Release, batch_of
from builder.dataset.labels import label_rows
from builder.dataset.parquet import (
    ALIGNED,
    ALL,
    ANNOTATIONS,
    FIRST_PAGE,
    METADATA,
    SEEN,
    Config,
    SplitSize,
    Written,
    is_annotations,
    is_beside,
)
from builder.dataset.recount import KnownPage, Told, page_splits, summed, together, with_table
from builder.dataset.statistics import CHECKS_FILE, ChecksReport, FeatureCounts, Statistics
from builder.raw import calibration_file
from builder.raw.build import Finished
from builder.raw.rows import NEAR_DUPLICATE

SHEETS = "assets/{}.webp"
COUNTED = ("configs", "dataset_info", "size_categories")
"""What a card's YAML says of the rows: an append counts it anew."""
NAMED = "faces = load_dataset("
"""A line of the card that has the name of the folder."""


def require_same_recipe(published: Told, release: Told, name: str) -> None:
    """Raise UserError unless both releases are of one recipe and one table."""
    if published.info.recipe != release.info.recipe:
        there, here = published.info.recipe[:12], release.info.recipe[:12]
        raise UserError(
            f"{release.folder}: is of the recipe {here}, {name} of {there}; only rows of the same recipe are appended"
        )
    for key, says in (("table", "another table"), ("checker", "another safety checker"), ("format", "another format")):
        if getattr(published.info, key) != getattr(release.info, key):
            raise UserError(f"{release.folder}: was made with {says} than {name}; what is there cannot be appended to")


def require_same_configs(published: Release, release: Release, name: str) -> None:
    """Raise UserError where one of them has annotations, or aligned faces, that the other has not."""
    there, here = ({config for config in some.configs() if is_beside(config)} for some in (published, release))
    if there != here:
        config = min(there ^ here)
        where = name if config in there else str(release.folder)
        raise UserError(f"{release.folder}: only {where} has the config {config}; rows are appended to all configs")
    for config in sorted(filter(_is_added, there)):
        if _model(published, config) != _model(release, config) or _schema(published, config) != _schema(
            release, config
        ):
            raise UserError(
                f"{release.folder}: its config {config} is of another model, or has other columns, than in {name}"
            )


def _is_added(config: str) -> bool:
    """Return True for a config that `agfd30k annotate` has added."""
    return is_annotations(config) and config != ANNOTATIONS


def _cells(release: Release, config: str) -> list[str]:
    """Return the row of an added config in the card's section of annotations, as Markdown: model, digest, found."""
    section = release.card[1].partition(f"\n{annotations_section.HEADING}\n")[2]
    line = next((line for line in section.splitlines() if line.startswith(f"| `{config}` |")), "")
    return line.strip("| ").split(" | ")[1:]


def _model(release: Release, config: str) -> list[str]:
    return _cells(release, config)[:2]


def _found(release: Release, config: str) -> int:
    """Return on how many pictures an added config has found something, by the card."""
    cells = _cells(release, config)
    return int(cells[2].partition(" of ")[0].replace(",", "")) if len(cells) == 3 else 0


def _schema(release: Release, config: str) -> object:
    infos = release.card[0].get("dataset_info") or []
    return next((info.get("features") for info in infos if info.get("config_name") == config), None)


def _text(both: Contents, configs: dict[str, Config], sheets: list[str], name: str, appended: bool, of: Release) -> str:
    """Return a card, with the rows of added configs, whose models the card of a release names."""
    text = card.render(both, configs, sheets, name, appended)
    for config in filter(_is_added, configs):
        rows = sum(size.rows for size in configs[config].splits.values())
        line = f"| `{config}` | {' | '.join(_model(of, config))} | {configs[config].found or 0:,} of {rows:,} |"
        parts = CARD.fullmatch(text)
        assert parts
        text = f"---\n{parts[1]}---\n{additions.with_rows(parts[2], config, configs[config], line)}"
    return text


@dataclass(frozen=True)
class Published:
    """A published release: the folder of its small files, `files` there by path, and what it `told` of itself."""

    release: Release
    files: Sequence[str]
    told: Told

    def sizes(self) -> dict[str, tuple[dict[str, SplitSize], int]]:
        """Return what the card says of every config: the sizes of its splits, and bytes to download."""
        found = {}
        for info in self.release.card[0].get("dataset_info") or []:
            splits = {s["name"]: SplitSize(s["num_examples"], s["num_bytes"]) for s in info.get("splits") or []}
            found[info["config_name"]] = splits, info.get("download_size") or 0
        return found


def configs(published: Published, release: Release, written: Sequence[Written], found: int) -> dict[str, Config]:
    """Return the configs of both together; `found` is on how many published pictures the face detector saw a face."""
    sizes, patterns = published.sizes(), published.release.configs()
    labels = published.told.spec.labels["attribute"]
    beside = [name for name in patterns if is_beside(name)]
    places = {file.place for file in written}
    attributes = [name for name in (*labels, "twins") if name in patterns or f"data/{name}" in places]
    merged: dict[str, Config] = {}
    for name in attributes:
        merged[name] = _merged(f"data/{name}", patterns.get(name, {}), sizes.get(name), written, release)
    if len(attributes) > 1:
        old = [sizes[name] for name in attributes if name in sizes]
        merged[ALL] = _all(sizes.get(ALL) or _sum(old), published, written, release)
    for name in beside:
        merged[name] = _merged(_place(name), patterns[name], sizes.get(name), written, release)
    for name in filter(is_annotations, beside):
        old_found = found if name == ANNOTATIONS else _found(published.release, name)
        more = sum(file.found for file in written if file.place == _place(name))
        merged[name] = replace(merged[name], found=old_found + more)
    return merged


Size = tuple[dict[str, SplitSize], int]


def _sum(sizes: Sequence[Size]) -> Size:
    splits = {
        split: _plus(*(some[split] for some, _ in sizes if split in some))
        for split in SPLITS
        if any(split in some for some, _ in sizes)
    }
    return splits, sum(download for _, download in sizes)


def _plus(*sizes: SplitSize) -> SplitSize:
    return SplitSize(sum(size.rows for size in sizes), sum(size.bytes for size in sizes))


def _grown(size: Size | None, files: Sequence[Written]) -> Size:
    """Return the size of a config that more files have come to."""
    new: Size = (
        {
            split: SplitSize(sum(file.rows for file in own), sum(file.bytes for file in own))
            for split in SPLITS
            if (own := [file for file in files if file.split == split])
        },
        sum(file.download for file in files),
    )
    return _sum([*([size] if size else []), new])


def _merged(
    place: str, patterns: dict[str, list[str]], size: Size | None, written: Sequence[Written], release: Release
) -> Config:
    splits, download = _grown(size, [file for file in written if file.place == place])
    globs = {split: patterns.get(split) or [f"{place}/{split}-*.parquet"] for split in splits}
    return Config(_features(release, place), globs, splits, download)


def _all(size: Size, published: Published, written: Sequence[Written], release: Release) -> Config:
    """Return the config of all pictures: batch after batch, as among the labels, and the first page before them."""
    files = [file for file in written if file.place.startswith("data/")]
    splits, download = _grown(size, files)
    names = [*published.files, *(f"{file.place}/{file.name}" for file in files)]
    batches: dict[str, set[int]] = {}
    for name in names:
        part = DATA.fullmatch(name)
        if part and part[1].startswith("data/"):
            batches.setdefault(part[2], set()).add(batch_of(name))
    globs = {}
    for split in splits:
        page = f"{FIRST_PAGE}/{split}.parquet"
        numbers = [f"more{number:03d}-*" if number else "0*" for number in sorted(batches.get(split, ()))]
        globs[split] = [page] * (page in published.files) + [f"data/*/{split}-{some}-of-*.parquet" for some in numbers]
    return Config(_features(release, "data/"), globs, splits, download)


def _features(release: Release, place: str) -> Features:
    """Return the columns of a place's files; all pictures have the same."""
    start = "data/" if place.startswith("data/") else f"{place}/"
    name = next(name for name in release.parquet if name.startswith(start))
    return Features.from_arrow_schema(pq.read_schema(release.folder / name))


def contents(published: Published, release: Told, comparison: Comparison, stage: Path) -> Contents:
    """Return what both hold together; `stage` has the labels of the batch."""
    for split, row in label_rows(stage):
        comparison.recount.add(split, row)
    reports = list(_reports(published.told.counts, release.counts, comparison))
    versions = together(published.told.versions, release.versions)
    statistics = comparison.recount.whole(release.spec, reports, versions)
    statistics.candidates = KnownPage(splits=page_splits(published.files))
    recipe = with_table(release.recipe(), statistics)
    calibration = release.calibration or published.told.calibration
    rows = hashlib.sha256(f"{published.told.info.rows}\n{release.info.rows}\n".encode()).hexdigest()
    info = BuildInfo(
        rows=f"sha256:{rows}",
        recipe=release.info.recipe,
        kind=release.info.kind,
        table=release.info.table,
        calibration=calibration.digest if calibration else "",
        searched=published.told.info.searched and release.info.searched,
        checker=release.info.checker,
    )
    return Contents(recipe, Finished(), statistics, calibration, info)


def _reports(
    there: dict[str, FeatureCounts], here: dict[str, FeatureCounts], comparison: Comparison
) -> Iterable[FeatureCounts]:
    """Yield what the checks found of each feature: a release that has all published pictures says it of them too, and
    of a feature without any where it is the same raw build, grown, as shared pictures of others tell.

    Raises UserError where it has some of them.
    """
    is_grown = comparison.shared.total() > 0
    for feature in dict.fromkeys([*there, *here]):
        shared, published = comparison.shared[feature], comparison.published[feature]
        old, new = there.get(feature), here.get(feature)
        if new is None or old is None:
            counts = new or old
        elif shared == published and (published or is_grown):
            counts = new
        elif shared == 0:
            counts = summed(old, new)
        else:
            raise UserError(
                f"{feature}: {shared:,} of its {published:,} published pictures are in this release and the others are "
                "not; append a release that has all of them, or none"
            )
        assert counts
        yield _with_copies(counts, comparison.copied[feature])


def _with_copies(counts: FeatureCounts, copied: int) -> FeatureCounts:
    """Count pictures that are left out as missing, and their tries as rejected."""
    if not copied:
        return counts
    reasons = Counter(counts.reasons) + Counter({NEAR_DUPLICATE: copied})
    more = {"unfilled": counts.unfilled + copied, "rejected": counts.rejected + copied}
    return counts.model_copy(update={**more, "reasons": dict(sorted(reasons.items()))})


def describe(
    stage: Path, both: Contents, configs: dict[str, Config], published: Published, release: Release, name: str
) -> None:
    """Write all that describes both into `stage`, which has the batch's Parquet files; nothing that is there already
    and stays as it is.
    """
    assets = stage / "assets"
    assets.mkdir(exist_ok=True)
    charts.write(assets, both.recipe.spec, both.statistics)
    with atomic(assets / CHECKS_FILE) as file:
        file.write(str(both.statistics.checks(both.recipe)).encode())
    if both.calibration:
        with atomic(assets / calibration_file.NAME) as file:
            file.write(both.calibration.data)
    _sheets(assets, both.statistics, published, release)
    croissant.write(stage, both, configs)
    sheets = [
        attribute
        for attribute in configs
        if SHEETS.format(attribute) in published.files or (assets / f"{attribute}.webp").exists()
    ]
    with atomic(stage / "README.md") as file:
        file.write(_text(both, configs, sheets, name, True, release).encode())


Shown = set[tuple[str, str]]


def _shown(checks: ChecksReport) -> Shown:
    """Return the attributes and features that contact sheets show."""
    return {(row.attribute, row.feature) for row in checks.features if row.made}


def lacks_pictures(published: Published, release: Release) -> bool:
    """Return True where contact sheets are put together of those of both: each shows what the other does not."""
    there, here = _shown(published.told.checks), _shown(ChecksReport.read(release.folder))
    return bool(there - here and here - there)


def _sheets(assets: Path, statistics: Statistics, published: Published, release: Release) -> None:
    """Write the contact sheets that lack a feature: those of the release where they have it, or both, one below the
    other. Where nothing new is to be seen, the published ones stay.
    """
    there, here = _shown(published.told.checks), _shown(ChecksReport.read(release.folder))
    groups: dict[str, Shown] = {"all": there | here}
    for pair in there | here:
        groups.setdefault(pair[0], set()).add(pair)
    for name, pairs in groups.items():
        path = release.folder / SHEETS.format(name)
        if pairs <= there or not path.exists():
            continue
        old = published.release.folder / SHEETS.format(name)
        if pairs & there <= here or not old.exists():
            (assets / path.name).write_bytes(path.read_bytes())
        elif stacked := _stacked(old, path):
            stacked.save(assets / path.name, quality=90, method=2)


def _stacked(*paths: Path) -> Image.Image | None:
    """Return pictures, one below the other; None where that is larger than a WebP file can be."""
    images = [Image.open(path).convert("RGB") for path in paths]
    width, height = max(image.width for image in images), sum(image.height for image in images)
    if height > MOST_SIDE:
        return None
    sheet, top = Image.new("RGB", (width, height), "white"), 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    return sheet


def own_lines(published: Published, comparison: Comparison, release: Release) -> list[str]:
    """Return the lines of a published card, and the entries of its YAML, that this tool would not write: somebody has.

    To be called before the rows of both are counted together.
    """
    told, sizes = published.told, published.sizes()
    recount = copy.deepcopy(comparison.recount)
    statistics = recount.whole(told.spec, told.counts.values(), told.versions)
    statistics.candidates = KnownPage(splits=page_splits(published.files))
    alone = {
        name: Config(
            _features(release, _place(name)),
            patterns,
            *sizes.get(name, ({}, 0)),
            _found(published.release, name) if _is_added(name) else recount.found,
        )
        for name, patterns in published.release.configs().items()
    }
    both = Contents(with_table(told.recipe(), statistics), Finished(), statistics, told.calibration, told.info)
    sheets = [name for name in alone if SHEETS.format(name) in published.files]
    appended = any(map(batch_of, published.files))
    text = _text(both, alone, sheets, "", appended, published.release)
    written, lines = {*text.splitlines()}, published.release.card[1].splitlines()
    own = [line for line in lines if line.strip() and line not in written and not line.startswith(NAMED)]
    parts = CARD.fullmatch(text)
    assert parts
    return [*_own_entries(published.release.card[0], yaml.safe_load(parts[1])), *own]


def _own_entries(there: dict[str, Any], written: dict[str, Any]) -> list[str]:
    """Return the entries of a card's YAML that this tool would write otherwise, or not at all."""
    own = {key: value for key, value in there.items() if key not in COUNTED and written.get(key) != value}
    return [yaml_dump({key: value}, sort_keys=False).strip() for key, value in own.items()]


def _place(config: str) -> str:
    if _is_added(config):
        return f"{ANNOTATIONS}/{config.removeprefix(f'{ANNOTATIONS}_')}"
    return {METADATA: METADATA, ANNOTATIONS: SEEN, ALIGNED: ALIGNED}.get(config, "data/")
