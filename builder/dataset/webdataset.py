"""Export a config of a release as WebDataset: tar files that hold a picture and its labels side by side.

`occlusion-train-000000.tar` holds three files for every row that was dealt to it:

    occlusion-only_mask-male-00012.png     the picture, the very bytes of the release
    occlusion-only_mask-male-00012.json    its labels: of a class label its name, and as `feature_number` its number
    occlusion-only_mask-male-00012.cls     the number of its feature among those of this config

and `info.json` names those features and says what every file holds. Rows go to files by a hash of their ids, so that
each file is a fair sample of its split; within a file they keep their order, which a buffer as large as a file mixes.
The same release gives the same bytes. Of all pictures only the ids are held in memory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

import agfd30k
from builder.common.errors import UserError
from builder.common.files import atomic, sync, sync_folder
from builder.common.progress import counted, heartbeat, progress_bar
from builder.dataset import folder
from builder.dataset.folder import Release
from builder.dataset.parquet import METADATA, is_annotations
from builder.raw.signatures import ending_of

WORKERS = 8
"""Files of a split, at least, where it has as many rows: a loader's worker without a file ends in an error."""
BYTES_A_ROW = 5_000
"""Of a row's tar headers and labels, generously."""
INFO_FILE = "info.json"
ADVICE = "`agfd30k lint` lists every fault"


@dataclass(frozen=True)
class Split:
    """A split's Parquet files, and the number of the tar file that each of its ids goes to."""

    name: str
    sources: list[Path]
    shards: dict[str, int]
    shard_count: int

    @classmethod
    def deal(cls, name: str, sources: list[Path], shard_rows: int) -> Split:
        """Deal rows to files whose sizes differ by one, in the order of a hash of their ids."""
        ids = [id for path in sources for id in _column(path, "id")]
        if not all(ids) or len({*ids}) < len(ids):
            raise UserError(f"{sources[0].parent}: an id is lacking or is there twice; {ADVICE}")
        count = max(-(-len(ids) // shard_rows), min(WORKERS, len(ids)))
        mixed = sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())
        return cls(name, sources, {id: rank * count // len(ids) for rank, id in enumerate(mixed)}, count)

    def paths(self, place: Path, config: str) -> list[Path]:
        """Return where the tar files lie."""
        return [place / f"{config}-{self.name}-{number:06}.tar" for number in range(self.shard_count)]


@dataclass(frozen=True)
class Export:
    """A config's pictures as they were written."""

    folder: Path
    config: str
    splits: list[Split]

    def __str__(self) -> str:
        counts = [
            f"{split.name}: {counted(len(split.shards), 'picture')} in {counted(split.shard_count, 'tar file')}"
            for split in self.splits
        ]
        first = self.splits[0]
        numbers = f"{{000000..{first.shard_count - 1:06}}}" if first.shard_count > 1 else "000000"
        read = f'webdataset.WebDataset("{self.folder.as_posix()}/{self.config}-{first.name}-{numbers}.tar")'
        return "\n".join([*counts, f"{self.folder} is ready: {read}"])


@dataclass(frozen=True)
class Labels:
    """The class labels of a schema with their names, and the numbers of the features that a config has."""

    names: dict[str, list[str]]
    features: list[int]

    @classmethod
    def of(cls, splits: list[Split]) -> Labels:
        """Read them from the Parquet files of all splits."""
        sources = [path for split in splits for path in split.sources]
        with _readable(sources[0]):
            names = agfd30k.class_names(pq.read_schema(sources[0]))
        features = {number for path in sources for number in _column(path, "feature")} if "feature" in names else ()
        return cls(names, sorted(features))

    def document(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return all labels of a row, class labels by name and by number."""
        labels: dict[str, Any] = {}
        for column, value in row.items():
            if column in self.names:
                labels[column] = None if value is None else self.names[column][value]
                labels[f"{column}_number"] = value
            elif column != "image":
                labels[column] = value
        return labels

    def files(self, row: dict[str, Any]) -> dict[str, bytes]:
        """Return the files of a row by name. Raises UserError for a picture that is not what its row says."""
        picture = (row["image"] or {}).get("bytes") or b""
        ending = ending_of(picture)
        digest = hashlib.sha256(picture).hexdigest()
        if ending is None or row.get("sha256", digest) != digest:
            raise UserError(f"{row['id']}: its picture is damaged; {ADVICE}")
        files = {ending: picture, "json": json.dumps(self.document(row), ensure_ascii=False).encode()}
        if self.features:
            files["cls"] = str(self.features.index(row["feature"])).encode()
        return {f"{key(row['id'])}.{ending}": data for ending, data in files.items()}

    def info(self, config: str, splits: list[Split]) -> dict[str, Any]:
        """Return what the tar files hold, as an object for JSON."""
        described = {}
        for split in splits:
            lengths = [0] * split.shard_count
            for number in split.shards.values():
                lengths[number] += 1
            names = [path.name for path in split.paths(Path(), config)]
            described[split.name] = {"num_samples": sum(lengths), "filenames": names, "shard_lengths": lengths}
        classes = [self.names["feature"][number] for number in self.features]
        return {"config": config, "classes": classes, "splits": described}


def export(release: Release, config: str, out: Path, shard_rows: int = 1000) -> Export:
    """Write a config as tar files of at most `shard_rows` pictures into a new folder, which appears when it is whole.

    A split of eight rows or more becomes eight files or more. Raises UserError where `out` is there already, where
    something in the release is damaged, and where the disk has no room; nothing of an export is left then.
    """
    sources, out = _sources(release, config), out.resolve()
    _require_new(out, release.folder.resolve())
    splits = [Split.deal(name, paths, shard_rows) for name, paths in sources.items()]
    _require_room(out, splits)
    out.parent.mkdir(parents=True, exist_ok=True)
    with folder.alone(out):
        folder.remove_leftovers(out)
        _require_new(out, release.folder.resolve())
        temporary, _ = folder.beside(out)
        try:
            temporary.mkdir()
            _write(temporary, config, splits)
            temporary.rename(out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    sync_folder(out.parent)
    return Export(out, config, splits)


def key(id: str) -> str:
    """Return what the files of a row are called, but for their endings: WebDataset cuts names at the first dot.

    >>> key("hair-red-male-00012"), key("../a b.c")
    ('hair-red-male-00012', '%2E%2E%2Fa%20b%2Ec')
    """
    return quote(id, safe="").replace(".", "%2E")


def _sources(release: Release, config: str) -> dict[str, list[Path]]:
    """Return a config's Parquet files by split, in their order."""
    configs = require_configs(release)
    if config not in configs:
        raise UserError(f"--config {config}: no pictures of that name in {release.folder}: it has {', '.join(configs)}")
    sources = {split: release.matching(globs) for split, globs in configs[config].items()}
    if lost := [split for split, files in sources.items() if not files]:
        raise UserError(f"{release.folder}: the files of {config}, {lost[0]} are not there; {ADVICE}")
    return sources


def require_configs(release: Release) -> dict[str, dict[str, list[str]]]:
    """Return the files of every config with pictures. Raises UserError where there is no release."""
    configs = {
        name: splits for name, splits in release.configs().items() if name != METADATA and not is_annotations(name)
    }
    if not configs:
        raise UserError(f"{release.folder}: no release; name its folder, or make one with `agfd30k release`")
    return configs


def _require_new(out: Path, release: Path) -> None:
    """Raise UserError where anything is at `out` already, or where it would lie in the release."""
    if out.is_relative_to(release):
        raise UserError(f"{out}: lies in the release, which would be none any more; choose another place with --out")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is there already, and is not replaced; move it away or use --out")


def _require_room(out: Path, splits: list[Split]) -> None:
    """Raise UserError where the disk has no room for the tar files."""
    pictures = sum(path.stat().st_size for split in splits for path in split.sources)
    need = pictures + BYTES_A_ROW * sum(len(split.shards) for split in splits)
    free = shutil.disk_usage(next(parent for parent in out.parents if parent.exists())).free
    if free < need:
        needed = f"{need / 1e9:,.2f} GB are needed and {free / 1e9:,.2f} GB are free"
        raise UserError(f"{out}: {needed}: make room, or choose another place with --out")


def _write(place: Path, config: str, splits: list[Split]) -> None:
    """Write the tar files and what they hold into a new folder."""
    labels = Labels.of(splits)
    total, done = sum(len(split.shards) for split in splits), 0
    with (
        progress_bar(total=total, desc=f"export {config}", unit="picture") as bar,
        heartbeat(lambda: f"export {config}: {done:,} of {counted(total, 'picture')}"),
    ):
        for split in splits:
            paths = split.paths(place, config)
            for source in split.sources:
                for rows in _row_groups(source):
                    with _readable(source):
                        _append(paths, split, labels, rows)
                    bar.update(len(rows))
                    done += len(rows)
            for path in paths:
                _end(path)
    with atomic(place / INFO_FILE) as file:
        file.write(json.dumps(labels.info(config, splits), indent=1, ensure_ascii=False).encode())
    sync_folder(place)


def _append(paths: list[Path], split: Split, labels: Labels, rows: list[dict[str, Any]]) -> None:
    """Append rows to their tar files; of these only one is open at a time, since there may be thousands."""
    dealt: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        dealt.setdefault(split.shards[row["id"]], []).append(row)
    for number, part in dealt.items():
        with _room(paths[number]), open(paths[number], "ab") as file:
            for row in part:
                for name, data in labels.files(row).items():
                    file.writelines(_member(name, data))


def _member(name: str, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a file as a tar has it: nobody's, and of no time, so that the same data give the same bytes."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    return header.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)


def _end(path: Path) -> None:
    """Write the end of a tar file, and push it to the disk."""
    with _room(path), open(path, "ab") as file:
        end = 2 * tarfile.BLOCKSIZE
        file.write(bytes(end + -(file.tell() + end) % tarfile.RECORDSIZE))
        sync(file)


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Say where it was that a file could not be written; the error of a full disk does not."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written: {error.strerror}; nothing of it is left") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever is wrong with a Parquet file becomes one line."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}; {ADVICE}") from error


def _column(path: Path, name: str) -> list[Any]:
    with _readable(path):
        return pq.ParquetFile(path).read(columns=[name])[name].to_pylist()


def _row_groups(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a Parquet file, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            with _readable(path):
                rows = file.read_row_group(number).to_pylist()
            yield rows
