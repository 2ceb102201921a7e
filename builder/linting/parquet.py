"""Checks of a release's Parquet files: schema, counts, row groups, rows and pictures, in flat memory."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import DatasetInfo, Features, Value
from PIL import Image

from builder import preview
from builder.common.progress import progress_bar
from builder.dataset.folder import Release
from builder.dataset.parquet import ALIGNED, ANNOTATIONS, METADATA, is_annotations
from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.engine.ordered import ordered
from builder.linting.secrets import ANCHORS, DIGEST, kind_of
from builder.raw.provenance import SOURCE_TYPE
from builder.raw.shard_writer import FORMATS

Result = TypeVar("Result")

MOST_COLUMNS, MOST_NAME = 1000, 500
"""Source: dataset-viewer, FIRST_ROWS_COLUMNS_MAX_NUMBER; libcommon constants, MAX_COLUMN_NAME_LENGTH."""
_DIGESTS = (
    *["sha256", "source_sha256", "model_revision", "model_digest", "safety_checker", "perceptual_hash"],
    *["checks.hash"],  # of older releases
)
DIGESTS = {f"the column {name}" for name in _DIGESTS}
"""Where digests and commits belong."""
GROUPS_SAMPLED, PICTURES_SAMPLED, PICTURES_AT_ONCE = 16, 4, 10
NAMED, TEXTS = 4e-6, 35e-6
"""Seconds in which a row's models and its texts are looked at, on one core, to choose how many processes."""
PICTURE, BYTE = 0.1e-3, 10e-9
"""Seconds that a picture takes to check, and a byte of it: of PNG, at least, on one core, to choose how many processes.
"""


def damaged(release: Release) -> Iterator[str]:
    """Every Parquet file has its beginning and its end."""
    for name in release.parquet:
        try:
            pq.read_metadata(release.folder / name)
        except (OSError, pa.ArrowException) as error:
            yield f"{name} cannot be read: {' '.join(str(error).split())}"


def counts(release: Release) -> Iterator[str]:
    """Rows and bytes of every config are those that the card states."""
    rows = cache(lambda path: pq.read_metadata(path).num_rows)  # most files are in more than one config
    for info in release.card[0].get("dataset_info") or []:
        name = info.get("config_name")
        patterns = release.configs().get(name, {})
        stated = {split["name"]: split["num_examples"] for split in info.get("splits") or []}
        counted = {split: sum(rows(path) for path in release.matching(patterns[split])) for split in patterns}
        if stated != counted:
            yield f"{name}: the card counts {stated}, the files hold {counted}"
        size = sum(path.stat().st_size for pattern in patterns.values() for path in release.matching(pattern))
        if info.get("download_size") != size:
            yield f"{name}: the card says {info.get('download_size')} bytes to download, the files have {size}"


def schema(release: Release) -> Iterator[str]:
    """Every file has the columns and label names that the card states, also in what `datasets` reads from the file."""
    for name, splits in release.configs().items():
        features = stated(release, name)
        if len(features) > MOST_COLUMNS or any(len(column) > MOST_NAME for column in features):
            yield f"{name}: more than {MOST_COLUMNS} columns, or a column's name is longer than {MOST_NAME}"
        columns = features.arrow_schema
        is_noted = cache(partial(_is_noted, features.to_dict()))  # the same in most files
        for patterns in splits.values():
            for path in release.matching(patterns):
                schema = _schema(path)
                if not schema.equals(columns) or not is_noted((schema.metadata or {}).get(b"huggingface", b"{}")):
                    yield f"{path.relative_to(release.folder)}: its columns are not those that the card says of {name}"


def _schema(path: Path) -> pa.Schema:
    """Return a file's schema. `read_schema` and `ParquetFile.schema` would keep the whole of its metadata, until Python
    looks for cycles. Source: pyarrow 26, _parquet.pyx, FileMetaData.schema.
    """
    with pq.ParquetFile(path) as file:
        return file.schema_arrow


def _is_noted(features: dict[str, Any], notes: bytes) -> bool:
    """Return True where a file's notes say these columns; lists have two names."""
    stored = json.loads(notes).get("info", {}).get("features")
    return stored == features or (stored is not None and Features.from_dict(stored).to_dict() == features)


def stated(release: Release, name: str) -> Features:
    """Return the columns of a config: those that the card states of it, or else of the default one."""
    infos = [DatasetInfo._from_yaml_dict(info) for info in release.card[0].get("dataset_info") or []]
    features = {info.config_name: info.features for info in infos if info.features}
    if name in features:
        return features[name]
    usual = dict(next(iter(features.values()), {}))
    if name == METADATA:
        usual.pop("image", None)
    if name == ALIGNED:
        usual["source_sha256"] = Value("string")
    return Features(usual)


def annotated(release: Release) -> Iterator[str]:
    """Every config of annotations has the rows of `metadata`, by their ids and digests, in the same order."""
    keys, configs = ["id", "sha256"], release.configs()
    for config, splits in configs.items():
        if not is_annotations(config):
            continue
        for split, labels in configs[METADATA].items():
            files = _files(release, labels), _files(release, splits.get(split, []))
            if _is_same(*(_batches(release, names, keys) for names in files)):
                continue
            for number, (row, other) in enumerate(zip_longest(*(read(release, names, keys) for names in files))):
                if row != other:
                    yield f"{config}/{split}: row {number} is not that of the picture {(row or other)['id']}"
                    break


def aligned(release: Release) -> Iterator[str]:
    """Every aligned face has the labels of its picture, and names that picture's digest; they follow in one order."""
    configs = release.configs()
    columns = list(stated(release, METADATA))
    for split, globs in configs.get(ALIGNED, {}).items():
        labels = read(release, _files(release, configs[METADATA].get(split, [])), columns)
        for row in read(release, _files(release, globs), [*columns, "source_sha256"]):
            face = {**row, "sha256": row.pop("source_sha256")}
            label = next((label for label in labels if label["id"] == face["id"]), None)
            if label != {name: face[name] for name in columns}:
                yield f"{ALIGNED}/{split}: {face['id']} has not the labels of its picture in metadata, or their order"
                break


def _is_same(some: Iterator[pa.RecordBatch], others: Iterator[pa.RecordBatch]) -> bool:
    """Return True where batches are the same, one by one; the same rows in batches of other sizes are not."""
    pairs = zip_longest(some, others)
    return all(batch is not None and other is not None and batch.equals(other) for batch, other in pairs)


def _files(release: Release, globs: list[str]) -> list[str]:
    """Return the names of the files that globs stand for."""
    return [path.relative_to(release.folder).as_posix() for path in release.matching(globs)]


def read(release: Release, names: list[str], columns: list[str]) -> Iterator[dict]:
    """Yield some columns of the rows of files."""
    for batch in _batches(release, names, columns):
        yield from batch.to_pylist()


def _batches(release: Release, names: list[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of files, a thousand rows at a time."""
    for name in names:
        with naming(name), pq.ParquetFile(release.folder / name) as file:
            yield from file.iter_batches(1000, columns=columns)


def checked(release: Release, engine: Engine | None = None) -> Iterator[str]:
    """Every row names the safety checker that the card names, or none in a preview; the card names a preview as one."""
    if release.info is None:  # `readme` says so
        return
    names = [name for name in release.parquet if not name.startswith(f"{ANNOTATIONS}/")]
    step = partial(_checked, release.folder, checker=release.info.checker, is_preview=release.preview)
    yield from by_file(release, names, step, NAMED, engine)


def _checked(folder: Path, name: str, checker: str, is_preview: bool) -> Iterator[str]:
    """The same of a file."""
    named: set[Any] = set()
    models: set[Any] = set()
    with naming(name), pq.ParquetFile(folder / name) as file:
        for batch in file.iter_batches(5000, columns=["safety_checker", "model"]):
            named.update(name or "" for name in pc.unique(batch.column("safety_checker")).to_pylist())
            models.update(pc.unique(batch.column("model")).to_pylist())
    if preview.NAME in models and not is_preview:
        yield f"{name}: rows are of the preview model, and README.md does not say so"
    for other in sorted(named, key=str):
        if other != checker:
            yield f"{name}: rows name {other or 'no safety checker'}, README.md {checker or 'none'}"


def by_file(
    release: Release,
    names: list[str],
    step: Callable[[str], Iterable[Result]],
    seconds: float,
    engine: Engine | None = None,
) -> Iterator[Result]:
    """Yield what a step finds in Parquet files, file by file, in their order; a row takes it so many `seconds`.

    Without an engine, as many processes of this machine are used as are worth it.
    """
    if engine is None:
        engine = Here.sized(seconds * sum(rows_of(release.folder, name) for name in names))
    yield from ordered(engine, step, names)


def rows_of(folder: Path, name: str) -> int:
    """Return how many rows a Parquet file of a release folder has."""
    with naming(name):
        return pq.read_metadata(folder / name).num_rows


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Name the file in what its reader raises."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None


def secrets(release: Release, engine: Engine | None = None) -> Iterator[str]:
    """No text of a row, of whatever column, looks like a secret, nor one that a file keeps beside its rows.

    The strings themselves are not shown.
    """
    yield from by_file(release, release.parquet, partial(_secrets, release.folder), TEXTS, engine)


def _secrets(folder: Path, name: str) -> Iterator[str]:
    """The same of a file."""
    with naming(name), pq.ParquetFile(folder / name) as file:
        kinds = {column: kind for column, kind in _beside_rows(file) if kind}
        for batch in file.iter_batches(5000, columns=_texts(file)):
            for column, values in _flat(batch):
                if column not in kinds and (kind := _secret(values, column in DIGESTS)):
                    kinds[column] = kind
    for column, kind in kinds.items():
        yield f"{name}: {column} holds what looks like an access token, a key or a password ({kind})"


def _beside_rows(file: pq.ParquetFile) -> Iterator[tuple[str, str | None]]:
    """Yield the file's own notes, such as the names of labels, with the kind of secret that they seem to hold."""
    for key, value in (file.metadata.metadata or {}).items():
        if key != b"ARROW:schema":  # the schema again, as bytes
            yield f"the note {key.decode(errors='replace')}", kind_of(value.decode("utf-8", "replace"))


def _texts(file: pq.ParquetFile) -> list[str]:
    """Return the columns that hold text, those within structs and lists as well."""
    if not file.num_row_groups:
        return []
    group, leaves = file.metadata.row_group(0), _leaves(field.type for field in file.schema_arrow)
    return [group.column(number).path_in_schema for number, kind in enumerate(leaves) if _is_text(kind)]


def _leaves(kinds: Iterable[pa.DataType]) -> Iterator[pa.DataType]:
    """Yield what columns of these types hold, as Parquet has it: a column for every field of a struct."""
    for kind in kinds:
        if pa.types.is_nested(kind):
            yield from _leaves(kind.field(number).type for number in range(kind.num_fields))
        else:
            yield kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _flat(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """Yield every string array of a batch, with the name of its column, from within structs and lists."""
    pending = list(zip((f"the column {name}" for name in batch.schema.names), batch.columns))
    while pending:
        column, values = pending.pop(0)
        if pa.types.is_struct(values.type):
            pending += zip((f"{column}.{field.name}" for field in values.type), values.flatten())
        elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            pending.append((column, values.flatten()))
        else:
            yield column, values


def _secret(values: pa.Array, digests: bool) -> str | None:
    """Return the kind of the first secret that some strings seem to hold, or None."""
    values = pc.unique(values)
    suspicious = pc.and_(pc.match_substring_regex(values, ANCHORS), pc.invert(pc.match_substring_regex(values, DIGEST)))
    kinds = (kind_of(value, digests) for value in values.filter(suspicious).to_pylist())
    return next(filter(None, kinds), None)


@dataclass(frozen=True)
class RowGroup:
    """A row group of a file of a release folder: its number, rows and bytes."""

    folder: Path
    name: str
    number: int
    rows: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.folder / self.name}, row group {self.number}"


def pictures(release: Release, thorough: bool = False, engine: Engine | None = None) -> Iterator[str]:
    """Pictures decode, are the bytes that their rows say, and are marked as machine-made: a sample, or all.

    `engine` reads the row groups: unless given, as many processes of this machine as are worth it.
    """
    groups = _groups(release, thorough)
    seconds = sum(group.rows * PICTURE + group.bytes * BYTE for group in groups) if thorough else 0
    with progress_bar(total=len(groups), desc="pictures", unit="row group") as bar:
        step = partial(_faults, thorough=thorough)
        yield from ordered(engine or Here.sized(seconds), step, groups, bar.update)


def _faults(group: RowGroup, thorough: bool) -> Iterator[str]:
    """Yield what is wrong with pictures of a row group."""
    for row in _some(group, thorough):
        if fault := _picture_fault(row):
            yield f"{row['id']}: {fault}"


def _some(group: RowGroup, thorough: bool) -> Iterator[dict]:
    """Rows of a row group with their pictures, read a few at a time: all, or a few that are spread over it."""
    with naming(group.name), pq.ParquetFile(group.folder / group.name, buffer_size=2**20) as file:
        step = 1 if thorough else max(1, group.rows // PICTURES_SAMPLED)
        batches = file.iter_batches(PICTURES_AT_ONCE, row_groups=[group.number], columns=["id", "sha256", "image"])
        for number, batch in enumerate(batches):
            first = -number * PICTURES_AT_ONCE % step
            yield from batch.take(pa.array(range(first, len(batch), step), pa.int64())).to_pylist()


def _groups(release: Release, thorough: bool) -> list[RowGroup]:
    names = [name for name in release.parquet if not name.startswith((f"{METADATA}/", f"{ANNOTATIONS}/"))]
    groups = [group for name in names for group in _groups_of(release.folder, name)]
    return groups if thorough else groups[:: -(-len(groups) // GROUPS_SAMPLED) or 1]


def _groups_of(folder: Path, name: str) -> Iterator[RowGroup]:
    metadata = pq.read_metadata(folder / name)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        yield RowGroup(folder, name, number, group.num_rows, group.total_byte_size)


def _picture_fault(row: dict) -> str | None:
    picture = row["image"] or {}
    data = picture.get("bytes") or b""
    if picture.get("path") not in {f"{row['id']}.{ending}" for ending in FORMATS}:
        return f"its picture is called {picture.get('path')}"
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return "its picture is not the bytes that the row says"
    file = io.BytesIO(data)
    try:
        with Image.open(file) as image:
            image.load()
            mark = image.info.get("xmp", b"")
    except Exception as error:  # decoders raise anything
        reason = " ".join(str(error).replace(f" {file!r}", "").split())  # Pillow names the buffer by its address
        return f"its picture cannot be decoded ({reason})"
    mark = mark.encode() if isinstance(mark, str) else mark
    return None if SOURCE_TYPE.encode() in mark else "its picture bears no mark"
