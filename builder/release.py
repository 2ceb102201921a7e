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
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

import agfd30k
from agfd30k import SPLITS
from builder import UserError, card, raw
from builder.files import atomic
from builder.shards import REJECTED, receipt

ROWS_A_GROUP = 100
LABEL_ROWS_A_GROUP = 10_000
FILE_BYTES = 500_000_000
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
    files = _Writer(folder, recipe["labels"])
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
    return f"# built with {model['name']}, revision {model['revision']}; fingerprint {recipe['fingerprint']}\n\n{recipe['toml']}"


class _Writer:
    """The Parquet files of a release: per attribute and split, and the labels of all of them per split."""

    def __init__(self, folder: Path, labels: dict[str, list[str]]):
        self.folder = folder
        self.labels = labels
        self.schema = agfd30k.features(labels)
        self.label_schema = agfd30k.features(labels, "metadata")
        self.open: dict[tuple[str, str], _Files] = {}
        self.sizes: dict[str, dict[str, tuple[int, int]]] = {}
        self.downloads: Counter = Counter()

    def add(self, attribute: str, shard: Path) -> None:
        """Append a shard's rows, in their order, each to the file of its split."""
        by_split: dict[str, list[dict]] = {split: [] for split in SPLITS}
        for row in agfd30k.read_rows(shard):
            by_split[row["split"]].append(row)
        for split, rows in by_split.items():
            if not rows:
                continue
            labels = agfd30k.to_table(rows, [], self.label_schema)
            self._files("metadata", split, self.label_schema, LABEL_ROWS_A_GROUP).write(labels)
            files = self._files(attribute, split, self.schema, ROWS_A_GROUP)
            for start in range(0, len(rows), ROWS_A_GROUP):
                part = rows[start : start + ROWS_A_GROUP]
                images = [_picture(shard, row) for row in part]
                files.write(agfd30k.to_table(part, images, self.schema))

    def close(self, name: str) -> None:
        """Finish the files of a config and note their sizes."""
        for split in SPLITS:
            files = self.open.pop((name, split), None)
            if files is not None:
                self.downloads[name] += files.close()
                self.sizes.setdefault(name, {})[split] = (files.rows, files.bytes)

    def configs(self) -> dict[str, dict]:
        """What the card says of every config; attributes without a picture have none."""
        self.close("metadata")
        attributes = [name for name in self.labels["attribute"] if name in self.sizes]
        found = {name: self._config(name, f"data/{name}", [name]) for name in attributes}
        found["all"] = self._config("all", "data/*", attributes)
        found["metadata"] = self._config("metadata", "metadata", ["metadata"])
        return found

    def _config(self, name: str, place: str, parts: list[str]) -> dict:
        splits = {}
        for split in SPLITS:
            sizes = [self.sizes[part][split] for part in parts if split in self.sizes[part]]
            if sizes:
                splits[split] = (sum(rows for rows, _ in sizes), sum(size for _, size in sizes))
        return {
            "features": self.label_schema if name == "metadata" else self.schema,
            "patterns": {split: f"{place}/{split}-*.parquet" for split in splits},
            "splits": splits,
            "download": sum(self.downloads[part] for part in parts),
        }

    def _files(self, name: str, split: str, schema, group: int) -> _Files:
        if (name, split) not in self.open:
            folder = self.folder / ("metadata" if name == "metadata" else f"data/{name}")
            folder.mkdir(parents=True, exist_ok=True)
            self.open[name, split] = _Files(folder, split, schema.arrow_schema, group)
        return self.open[name, split]


class _Files:
    """One split's Parquet files: rows are buffered to full row groups, files are cut at FILE_BYTES."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema, group: int):
        self.folder = folder
        self.split = split
        self.schema = schema
        self.group = group
        self.rows = self.bytes = self.waiting = 0
        self.buffer: list[pa.Table] = []
        self.paths: list[Path] = []
        self.writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        self.rows += len(table)
        self.bytes += table.nbytes
        self.buffer.append(table)
        self.waiting += len(table)
        if self.waiting >= self.group:
            self._flush(whole_groups=True)

    def close(self) -> int:
        """Write what is left and give the files their final names; returns their size in bytes."""
        self._flush(whole_groups=False)
        self._end_file()
        for number, path in enumerate(self.paths):
            path.rename(self.folder / f"{self.split}-{number:05d}-of-{len(self.paths):05d}.parquet")
        return sum(path.stat().st_size for path in self.folder.glob(f"{self.split}-*.parquet"))

    def _flush(self, whole_groups: bool) -> None:
        if not self.waiting:
            return
        table = pa.concat_tables(self.buffer)
        ready = len(table) - len(table) % self.group if whole_groups else len(table)
        for start in range(0, ready, self.group):
            self._group(table.slice(start, min(self.group, ready - start)))
        rest = table.slice(ready)
        self.buffer, self.waiting = ([rest] if len(rest) else []), len(rest)

    def _group(self, table: pa.Table) -> None:
        if self.writer is None:
            self.paths.append(self.folder / f".{self.split}-{len(self.paths):05d}.tmp")
            self.file = open(self.paths[-1], "wb")
            self.writer = pq.ParquetWriter(
                self.file,
                self.schema,
                compression=_compression(self.schema),
                write_page_index=True,
                use_content_defined_chunking=True,
            )
        self.writer.write_table(table.combine_chunks(), row_group_size=self.group)
        if self.file.tell() > FILE_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.file.close()
            self.writer = None


def _compression(schema: pa.Schema) -> dict[str, str]:
    """Codec of every leaf: pictures are compressed already, text is not."""
    codecs = {}
    for field in schema:
        if pa.types.is_struct(field.type):
            codecs.update({f"{field.name}.{part.name}": "none" for part in field.type})
        else:
            codecs[field.name] = "zstd"
    return codecs


def _picture(shard: Path, row: dict) -> dict[str, Any]:
    """A row's picture as it lies on disk. Raises UserError where it is lost or not the one that was committed."""
    try:
        path = agfd30k.picture(shard, row)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{shard}: row {row['id']}: {error}; see `python -m builder.verify {shard.parent.parent}`") from None
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise UserError(f"{path}: not the picture that was committed; see `python -m builder.verify {shard.parent.parent}`")
    return {"bytes": data, "path": path.name}


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
