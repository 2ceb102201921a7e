"""Checks of a release's files and of its card, and the `Release` that all checks look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from agfd30k import SPLITS
from builder import table
from builder.release import IGNORED, MARK, table_digest
from builder.rules import SpecError

DATA = re.compile(r"(data/\w+|metadata)/(\w+)-(\d{5})-of-(\d{5})\.parquet")
TEXTS = ("README.md", "recipe.toml")
ASSET = re.compile(r"assets/(\w+\.(webp|png)|(checks|calibration)\.json)")
WANTED = ("license", "pretty_name", "tags", "task_categories", "size_categories", "annotations_creators", "configs")
SPLIT = re.compile(r"\w+(\.\w+)*")
"""Source: `datasets.naming`, which the viewer uses too."""
MOST_SPLITS = 30
"""Of one config. Source: the dataset viewer's `split_names` worker."""
MOST_CONFIGS = 3000
"""Source: dataset-viewer, services/worker/src/worker/config.py, CONFIG_NAMES_MAX_NUMBER."""
MOST_DATA_FILES = 10_000
"""Source: dataset-viewer, services/worker/src/worker/config.py, PARQUET_AND_INFO_MAX_EXTERNAL_DATA_FILES."""
MOST_FILES, MOST_ENTRIES = 100_000, 10_000
"""In a repository, and in one folder. Source: Hub documentation, repository limitations and recommendations."""
MOST_FILE_BYTES = 20 * 10**9
"""Source: Hub documentation, repository limitations and recommendations."""
HIDING = {"nsfw", "not-for-all-audiences"}
"""Tags that switch the viewer off. Source: Hub documentation, dataset viewer."""
SECRETS = re.compile(
    r"hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|AKIA[0-9A-Z]{16}"
    r"|\bsk-[A-Za-z0-9_-]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
ROW = re.compile(r"^\| (\w+) \| (\w+) \| ([\d,]+) \| ([\d,]+) \| [\d,]+ \| ([\d,]+) \|$", re.MULTILINE)
"""A line of the card's table: attribute, feature, asked, made, rejected, missing."""


class Release:
    """A release folder as it lies on disk. `repo_name` is the name it will have on the Hub, without its owner."""

    def __init__(self, folder: Path, repo_name: str = ""):
        self.folder = folder
        self.repo_name = repo_name

    @cached_property
    def files(self) -> list[str]:
        """Every file's path inside the folder, sorted; what Git and the Hub's client leave behind is not looked at."""
        found = (path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir())
        names = sorted(path.relative_to(self.folder).as_posix() for path in found)
        return [name for name in names if name.split("/")[0] not in IGNORED]

    @cached_property
    def parquet(self) -> list[str]:
        """The Parquet files, in order."""
        return [name for name in self.files if DATA.fullmatch(name)]

    @cached_property
    def card(self) -> tuple[dict[str, Any], str]:
        """The card's YAML and its text; nothing where there is no sound card, which `readme` reports."""
        try:
            parts = (self.folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
            found = yaml.safe_load(parts[1])
            return (found, parts[2]) if isinstance(found, dict) and not parts[0] else ({}, "")
        except (OSError, ValueError, IndexError, yaml.YAMLError):
            return {}, ""

    @property
    def searched(self) -> bool:
        """True unless the card says that duplicates were not looked for."""
        mark = MARK.search(self.card[1])
        return not (mark and mark["unsearched"])

    @property
    def preview(self) -> bool:
        """True when the pictures are those of the preview model."""
        mark = MARK.search(self.card[1])
        return bool(mark and mark["kind"] == "preview")

    def configs(self) -> dict[str, dict[str, str]]:
        """Config → split → glob, as the card says."""
        found = {}
        for config in self.card[0].get("configs") or []:
            files = config.get("data_files") or []
            found[config.get("config_name", "")] = {entry["split"]: entry["path"] for entry in files}
        return found

    def matching(self, pattern: str) -> list[Path]:
        """The files that a config's glob stands for."""
        return sorted(self.folder.glob(pattern))


def names(release: Release) -> Iterator[str]:
    """Nothing but a release's own files, whole sets of them, and not too many."""
    numbers: dict[tuple, set[int]] = {}
    for name in release.files:
        if (release.folder / name).is_symlink():
            yield f"{name} is a link"
        elif name == f"{release.repo_name}.py":
            yield f"{name} at the top makes loading fail: `datasets` takes it for a loading script"
        elif not (name in TEXTS or ASSET.fullmatch(name) or DATA.fullmatch(name)):
            yield f"{name} is not a part of a release: move it away"
        elif part := DATA.fullmatch(name):
            numbers.setdefault((part[1], part[2], int(part[4])), set()).add(int(part[3]))
    for (place, split, count), found in numbers.items():
        if found != set(range(count)):
            yield f"{place}/{split}: {len(found)} of {count} files are there"
    if len({(place, split) for place, split, _ in numbers}) < len(numbers):
        yield "files of two different releases lie side by side"
    if len(release.files) > MOST_FILES:
        yield f"{len(release.files):,} files, the Hub wants at most {MOST_FILES:,}"
    for parent, count in Counter(name.rpartition("/")[0] for name in release.files).items():
        if count > MOST_ENTRIES:
            yield f"{parent or 'the top'}: {count:,} files in one folder, the Hub wants at most {MOST_ENTRIES:,}"


def readme(release: Release) -> Iterator[str]:
    """The card is there, is ours, and says what the Hub wants to know."""
    metadata, text = release.card
    if not metadata:
        yield "README.md is missing, or its YAML cannot be read"
        return
    for key in WANTED:
        if not metadata.get(key):
            yield f"README.md's YAML has no `{key}`"
    if not MARK.search(text):
        yield "README.md does not say what it was built from: it is not one that the builder made"
    if release.preview and not text.strip().startswith("> **Preview:"):
        yield "README.md does not begin by saying that these are preview pictures"
    if metadata.get("viewer") is False or HIDING & set(metadata.get("tags") or []):
        yield "README.md switches the dataset viewer off (`viewer: false` or a tag)"
    for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        if link not in release.files:
            yield f"README.md shows {link}, which is not there"


def configs(release: Release) -> Iterator[str]:
    """`all` and `metadata` are there, every config stands for files, every Parquet file belongs to a config, and the
    viewer can list them.
    """
    known, told = release.configs(), {info.get("config_name") for info in release.card[0].get("dataset_info") or []}
    if len(known) > MOST_CONFIGS:
        yield f"{len(known):,} configs, the viewer shows at most {MOST_CONFIGS:,}"
    if len(release.parquet) > MOST_DATA_FILES:
        yield f"{len(release.parquet):,} Parquet files, the viewer takes at most {MOST_DATA_FILES:,}"
    for name in ("all", "metadata"):
        if name not in known:
            yield f"the YAML has no config `{name}`, so its rows are not checked"
    used = set()
    for name, splits in known.items():
        if name not in told:
            yield f"{name}: the YAML has no dataset_info of this config"
        if len(splits) > MOST_SPLITS:
            yield f"{name}: {len(splits)} splits, the viewer shows at most {MOST_SPLITS}"
        for split, pattern in splits.items():
            if not SPLIT.fullmatch(split):
                yield f"{name}: {split!r} is no name of a split"
            elif split not in SPLITS:
                yield f"{name}: the split {split!r} is none of {', '.join(SPLITS)}"
            matching = release.matching(pattern)
            used.update(path.relative_to(release.folder).as_posix() for path in matching)
            if not matching:
                yield f"{name}: no file is meant by {pattern}"
    for name in sorted(set(release.parquet) - used):
        yield f"{name} belongs to no config"


def sizes(release: Release) -> Iterator[str]:
    """No file is larger than the Hub likes."""
    for name in release.files:
        if (release.folder / name).lstat().st_size > MOST_FILE_BYTES:
            yield f"{name} is larger than {MOST_FILE_BYTES / 1e9:.0f} GB"


def texts(release: Release) -> Iterator[str]:
    """No text has in it what looks like a secret. The string itself is not shown."""
    for name in TEXTS:
        path = release.folder / name
        if path.is_file() and SECRETS.search(path.read_text(encoding="utf-8", errors="replace")):
            yield f"{name} holds what looks like an access token or a key"


def recipe(release: Release) -> Iterator[str]:
    """The table is there, is a good one, and is the one that the card's mark was made with.

    Its first line names the mark's fingerprint, and its values give the mark's digest; its comments may be changed. The
    fingerprint also stands for the run's flags, so it cannot be computed again from a release alone.
    """
    path = release.folder / "recipe.toml"
    try:
        table.load(path)
    except SpecError as error:
        yield str(error)
        return
    toml, mark = path.read_text(encoding="utf-8"), MARK.search(release.card[1])
    if mark and not toml.splitlines()[0].endswith(f"; fingerprint {mark['recipe']}"):
        yield "recipe.toml and README.md are of two recipes: their fingerprints differ"
    elif mark and mark["table"] and mark["table"] != table_digest(toml):
        yield "recipe.toml is not the table that the release was made with: it was changed; make the release again"


def quotas(release: Release, made: Counter) -> Iterator[str]:
    """Every feature has as many pictures as the table wants; `made` counts them by feature."""
    try:
        features = table.load(release.folder / "recipe.toml").features
    except SpecError:  # `recipe` says so
        return
    for feature in features:
        wanted = feature.male + feature.female
        if made[feature.name] < wanted:
            yield f"{feature.name}: {made[feature.name]:,} of {wanted:,} pictures"


def unsearched(release: Release) -> Iterator[str]:
    """Duplicates were looked for in the pictures that are there."""
    if not release.searched:
        yield "duplicates were not looked for: run the builder again, or send it as it is with --allow-incomplete"


def listed(release: Release, made: Counter) -> Iterator[str]:
    """The card's table says of every feature what is there and what is missing."""
    told = {}
    for _, feature, *numbers in ROW.findall(release.card[1]):
        told[feature] = [int(number.replace(",", "")) for number in numbers]
    for feature in sorted({*told, *made}):
        asked, counted, missing = told.get(feature, (0, 0, 0))
        if counted != made[feature] or asked != counted + missing:
            said = f"{counted:,} made and {missing:,} missing of {asked:,}"
            yield f"{feature}: the card says {said}, {made[feature]:,} are there"
