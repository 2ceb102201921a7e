"""Parquet files of a release: what they are called and how large they are, and the configs that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from datasets import Features, Value

import agfd30k
from agfd30k import SPLITS

ROWS_A_GROUP, BYTES_A_GROUP = 100, 100_000_000
"""A row group is closed at so many rows, or once its pictures have more bytes."""
LABEL_ROWS_A_GROUP, LABEL_ROWS_A_FILE = 10_000, 250_000
"""The same of labels, which have no pictures; and of their files, each of which one process writes."""
FILE_BYTES = 500_000_000
"""A file has no more row groups than this many bytes take, by the mean of its pictures."""
FILES, ROWS_A_FILE = 8, 16
"""An attribute's split is divided into so many files, for as many workers of a loader to share; into fewer where one
would have less rows than that."""
ALL, METADATA, FIRST_PAGE = "all", "metadata", "first_page"
"""The config of all pictures, the config of labels without them, and where the first rows of `all` lie."""
ANNOTATIONS, ALIGNED = "annotations", "aligned"
SEEN = f"{ANNOTATIONS}/{agfd30k.DETECTOR}"
"""Configs beside those: what models saw on the pictures, that which the checks' own saw, and the faces aligned."""


KEYS = ("sha256", "model", "model_digest")
"""What every row of annotations has beside its id: which picture it is of, and which model saw it."""
DETECTED = (*agfd30k.FACE_BOX, "face_score", *agfd30k.POINTS, "roll", "yaw", "pitch")
"""What the checks' face detector tells of a picture."""


def annotation_schema(columns: Features) -> Features:
    """Return the columns of a config of annotations: which picture, what was seen on it, by which model."""
    return Features({"id": Value("string"), **columns, **{name: Value("string") for name in KEYS}})


SEEN_COLUMNS = annotation_schema(Features({name: Value("float32") for name in DETECTED}))
"""The columns of the config `annotations`."""


@dataclass(frozen=True)
class SplitSize:
    """Rows of a split, and their bytes in memory."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Config:
    """A config of a release: its schema, its files as globs by split, the splits' sizes, and bytes to download; of
    annotations also on how many pictures something was found.
    """

    features: Features
    patterns: dict[str, list[str]]
    splits: dict[str, SplitSize]
    download: int
    found: int | None = None


def is_beside(config: str) -> bool:
    """Return True for a config that has no picture of the build: labels, annotations, and faces aligned."""
    return config in (METADATA, ALIGNED) or is_annotations(config)


def is_annotations(config: str) -> bool:
    """Return True for a config of what a model saw."""
    return config == ANNOTATIONS or config.startswith(f"{ANNOTATIONS}_")


def default_config(configs: dict[str, Config]) -> str:
    """Return the name of the config that is loaded where none is named: `all`, or the only attribute."""
    return ALL if ALL in configs else next(iter(configs))


@dataclass(frozen=True)
class Written:
    """A file of a release: where it is, its rows, and its bytes in memory and on disk; of annotations also on how many
    pictures something was found. `is_first` is that of the rows of a first page.
    """

    place: str
    name: str
    split: str
    is_first: bool
    rows: int
    bytes: int
    download: int
    found: int = 0


def configs(labels: dict[str, list[str]], files: Sequence[Written]) -> dict[str, Config]:
    """Return what the card says of every config, of the files of a release in any order.

    Attributes without a picture have none, and one alone has no `all`.
    """
    of: dict[str, list[Written]] = {}
    for file in files:
        of.setdefault(file.place, []).append(file)
    attributes = [name for name in labels["attribute"] if f"data/{name}" in of]
    pictures = agfd30k.features(labels)
    found = {name: _config(pictures, of[f"data/{name}"], f"data/{name}") for name in attributes}
    if len(attributes) > 1:
        found[ALL] = _all(pictures, of, attributes)
    found[METADATA] = _config(agfd30k.features(labels, METADATA), of.get(METADATA, []), METADATA)
    if seen := of.get(SEEN):
        found[ANNOTATIONS] = replace(_config(SEEN_COLUMNS, seen, SEEN), found=sum(file.found for file in seen))
    if any(file.rows for file in of.get(ALIGNED, [])):
        found[ALIGNED] = _config(agfd30k.features(labels, ALIGNED), of[ALIGNED], ALIGNED)
    return found


def _all(features: Features, of: dict[str, list[Written]], attributes: list[str]) -> Config:
    """Return the config of all pictures: the first page where there is one, and what is not on it."""
    first = of.get(FIRST_PAGE, [])
    numbered = [file for name in attributes for file in of[f"data/{name}"] if not file.is_first]
    config = _config(features, [*first, *numbered], "data/*", "{}/{}-*-of-*.parquet")
    for split in {file.split for file in first}:
        config.patterns[split].insert(0, f"{FIRST_PAGE}/{split}.parquet")
    return config


def _config(features: Features, files: Sequence[Written], place: str, pattern: str = "{}/{}-*.parquet") -> Config:
    splits = {
        split: SplitSize(sum(file.rows for file in own), sum(file.bytes for file in own))
        for split in SPLITS
        if (own := [file for file in files if file.split == split])
    }
    patterns = {split: [pattern.format(place, split)] for split in splits}
    return Config(features, patterns, splits, sum(file.download for file in files))


def portable(features: Features) -> pa.Schema:
    """Return the Arrow schema of columns as every version of `datasets` reads it: lists have the name of before."""
    schema = features.arrow_schema
    notes = schema.metadata[b"huggingface"].replace(b'"_type": "List"', b'"_type": "Sequence"')
    return schema.with_metadata({b"huggingface": notes})


def compression(schema: pa.Schema) -> dict[str, str]:
    """Codec of every leaf: pictures are compressed already, all else is not."""
    return {leaf: "none" if leaf.startswith("image.") else "zstd" for field in schema for leaf in _leaves(field)}


def _leaves(field: pa.Field) -> Iterator[str]:
    """Parquet's names for the columns that a field becomes."""
    if pa.types.is_struct(field.type):
        for part in field.type:
            yield from (f"{field.name}.{leaf}" for leaf in _leaves(part))
    elif pa.types.is_list(field.type):
        yield f"{field.name}.list.element"
    else:
        yield field.name
