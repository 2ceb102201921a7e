"""Rules for a release's card: what the Hub wants to know, its configs, and what it says of every feature."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from agfd30k import SPLITS
from builder.dataset.folder import Release
from builder.dataset.parquet import ALL, METADATA, is_beside
from builder.dataset.statistics import ChecksReport
from builder.spec import table
from builder.spec.faults import SpecError

WANTED = ("license", "pretty_name", "tags", "task_categories", "size_categories", "annotations_creators", "configs")

CODE = re.compile(r"^```.*?^```$|(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL | re.MULTILINE)
"""Code in Markdown, a block or within a line: no link in it is one."""

SPLIT = re.compile(r"\w+(\.\w+)*")
"""Source: `datasets.naming`, which the viewer uses too."""

MOST_SPLITS = 30
"""Of one config. Source: the dataset viewer's `split_names` worker."""

MOST_CONFIGS = 3000
"""Source: dataset-viewer, services/worker/src/worker/config.py, CONFIG_NAMES_MAX_NUMBER."""

MOST_DATA_FILES = 10_000
"""Source: dataset-viewer, services/worker/src/worker/config.py, PARQUET_AND_INFO_MAX_EXTERNAL_DATA_FILES."""

HIDING = {"nsfw", "not-for-all-audiences"}
"""Tags that switch the viewer off. Source: Hub documentation, dataset viewer."""


def readme(release: Release) -> Iterator[str]:
    """The card is there, is ours, and says what the Hub wants to know."""
    metadata, text = release.card
    if not metadata:
        yield "README.md is missing, or its YAML cannot be read"
        return
    for key in WANTED:
        if not metadata.get(key):
            yield f"README.md's YAML has no `{key}`"
    if release.info is None:
        yield "README.md does not say what it was built from: it is not one that the builder made"
    if release.preview and not text.strip().startswith("> **Preview:"):
        yield "README.md does not begin by saying that these are preview pictures"
    if metadata.get("viewer") is False or HIDING & set(metadata.get("tags") or []):
        yield "README.md switches the dataset viewer off (`viewer: false` or a tag)"
    for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", CODE.sub("", text)):
        if link not in release.files:
            yield f"README.md shows {link}, which is not there"


def checker(release: Release) -> Iterator[str]:
    """The card names the safety checker that every picture passed; drawings of the preview have none."""
    if release.info and not release.info.is_preview and not release.info.checker:
        yield "README.md names no safety checker, and these are no preview pictures: make them again with one"


def configs(release: Release) -> Iterator[str]:
    """`metadata` is there, and `all` beside more than one attribute; every config stands for files, every Parquet file
    belongs to a config, and the viewer can list them.
    """
    configs = release.configs()
    described = {info.get("config_name") for info in release.card[0].get("dataset_info") or []}
    if len(configs) > MOST_CONFIGS:
        yield f"{len(configs):,} configs, the viewer shows at most {MOST_CONFIGS:,}"
    if len(release.parquet) > MOST_DATA_FILES:
        yield f"{len(release.parquet):,} Parquet files, the viewer takes at most {MOST_DATA_FILES:,}"
    if METADATA not in configs:
        yield f"the YAML has no config `{METADATA}`, so its rows are not checked"
    if ALL not in configs and len([name for name in configs if not is_beside(name)]) != 1:
        yield f"the YAML has no config `{ALL}`"
    used: set[str] = set()
    for name, splits in configs.items():
        if name not in described:
            yield f"{name}: the YAML has no dataset_info of this config"
        if len(splits) > MOST_SPLITS:
            yield f"{name}: {len(splits)} splits, the viewer shows at most {MOST_SPLITS}"
        for split, patterns in splits.items():
            yield from _split(name, split)
            for pattern in patterns:
                matching = release.matching([pattern])
                used.update(path.relative_to(release.folder).as_posix() for path in matching)
                if not matching:
                    yield f"{name}: no file is meant by {pattern}"
    for name in sorted(set(release.parquet) - used):
        yield f"{name} belongs to no config"


def _split(config: str, split: str) -> Iterator[str]:
    """The name of a split is one, and is one of ours."""
    if not SPLIT.fullmatch(split):
        yield f"{config}: {split!r} is no name of a split"
    elif split not in SPLITS:
        yield f"{config}: the split {split!r} is none of {', '.join(SPLITS)}"


def quotas(release: Release, made: Counter) -> Iterator[str]:
    """Every feature has as many pictures as the table wants; `made` counts them by feature."""
    try:
        features = table.load(release.folder / "recipe.toml").features
    except SpecError:  # `recipe` says so
        return
    for feature in features:
        quota = feature.male + feature.female
        if made[feature.name] < quota:
            yield f"{feature.name}: {made[feature.name]:,} of {quota:,} pictures"


def unsearched(release: Release) -> Iterator[str]:
    """Duplicates were looked for in the pictures that are there."""
    if not release.searched:
        yield "duplicates were not looked for: run the builder again, or send it as it is with --allow-incomplete"


def listed(release: Release, made: Counter) -> Iterator[str]:
    """checks.json says of every feature what is there and what is missing."""
    features = ChecksReport.read(release.folder).features
    counts_of = {counts.feature: counts for counts in features}
    for feature in sorted({*counts_of, *made}):
        counts = counts_of.get(feature)
        asked, counted, missing = (counts.asked, counts.made, counts.unfilled) if counts else (0, 0, 0)
        if counted != made[feature] or asked != counted + missing:
            claim = f"{counted:,} made and {missing:,} missing of {asked:,}"
            yield f"{feature}: checks.json says {claim}, {made[feature]:,} are there"
