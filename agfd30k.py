"""AGFD-30K: generated faces for special cases (age, emotion, occlusion, illumination, pose, hair, others), labelled.

Reads both folders that the builder makes, the raw build and the release:

    import agfd30k
    agfd30k.load_dataset("occlusion")                           # ./agfd30k, or ./agfd30k-raw where that is all there is
    agfd30k.load_dataset("occlusion", data_dir="agfd30k-raw")   # what is committed so far of a build that goes on

The release folder also loads with no script at all, `load_dataset("agfd30k", "occlusion")`. On datasets 3.x this file
is a loading script too: `load_dataset("agfd30k.py", "occlusion", data_dir=..., trust_remote_code=True)`.

In PyTorch, choose the columns, since some others may be null; `feature` numbers all features of the table, so number
those of the config yourself (README.md has the whole of it):

    faces = load_dataset("agfd30k", "occlusion", split="train", columns=["image", "feature"])
    DataLoader(faces.with_format("torch"), batch_size=4, num_workers=2)

For a part, `agfd30k.subsample(faces, 0.1)` chooses by a hash of the id. The order of the rows and the number in the id
follow the plan, so that every tenth row can be all of one age, phrase or ethnicity.

Configs: one per attribute, `all` (every picture) and `metadata` (every label, no pictures). `features()` is the schema
of their columns, and COLUMNS says what each holds.
"""

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

RELEASE = "agfd30k"
RAW = "agfd30k-raw"
DETECTOR = "yunet"
"""The folder in `annotations/` of what the checks' own face detector saw: the config `annotations`."""
SPLITS = ("train", "validation", "test")
ROWS_A_TABLE = 1000

LABELS = {
    "attribute": ["age", "emotion", "occlusion", "illumination", "pose", "hair", "others", "base"],
    "feature": [
        *["child", "teenager", "young_adult", "old_adult", "old", "smile", "angry"],
        *["only_glasses", "only_mask", "only_makeup", "only_hands", "complex"],
        *["under_water", "strong_light", "dark", "left_right", "up"],
        *["blond", "brown", "red", "bangs", "straight_hair", "wavy_hair", "bald"],
        *["small_scale", "mustache", "hat", "blurry", "open_mouth", "close_eyes", "earrings", "base"],
    ],
    "sex": ["male", "female"],
    "ethnicity": ["african", "pale_skin", "asian", "middle_east", "latino"],
    "age_group": ["child", "teenager", "young_adult", "old_adult", "old"],
    "attempt": [str(number) for number in range(10)],
}
"""Class names of the default table; a folder made from another table brings its own."""


TWINS, TWIN = "twins", "twin"
"""Attribute and feature of pictures without a feature, each of which is the twin of one that has it."""

SHARD = re.compile(rf"({TWINS}-)?[a-z][a-z0-9_]*-\d{{5,}}")
"""What a shard's folder is called."""


FACE_BOX = ("face_x", "face_y", "face_width", "face_height")
POINTS = tuple(
    f"{place}_{axis}" for place in ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left") for axis in "xy"
)
"""The columns of a face's five points, which are the person's own right and left: in a picture the right eye is to the
left. In pixels, from the picture's left and top edges."""
POSE = ("roll", "yaw", "pitch")
COLUMNS = {
    "image": "the picture",
    "id": "`<attribute>-<feature>-<sex>-<index>`, unique",
    "twin_of": "of a twin, the picture of the same person with the feature; null for others",
    "attribute": "the group of features the picture was made for, e.g. occlusion",
    "feature": "what it was asked to show, e.g. only_mask",
    **dict.fromkeys(("sex", "ethnicity"), "the person asked for"),
    "age": "in years, as in the prompt",
    "age_group": "the group that age belongs to",
    "phrase": "the feature's own words in the prompt; null for none",
    **dict.fromkeys(("prompt", "negative_prompt"), "the whole prompts"),
    "guidance_scale": "classifier-free guidance",
    "seed": "of the initial noise, from 0 to 2^32 - 1: what `torch.manual_seed` was given",
    "attempt": "tries that were rejected before this one",
    "model": "what made the picture",
    "model_revision": "its commit, or the digest of its files",
    "safety_checker": "the checker that passed it; null for the preview, which draws",
    "verified": "the feature was seen and no check failed; null where nobody could tell",
    **dict.fromkeys(("checks_passed", "checks_failed"), "checks by name, with spaces between; null for none"),
    "faces": "number of faces found",
    **dict.fromkeys(FACE_BOX, "the largest face, from left and top, in pixels"),
    "face_score": "how sure the detector is of it, from 0 to 1",
    **dict.fromkeys(POINTS, "its five points, in pixels; right and left are the person's own"),
    "roll": "degrees by which the head leans, clockwise in the picture",
    "yaw": "degrees by which it is turned, to the picture's right; negative: to the left",
    "pitch": "degrees by which it looks down; negative: up",
    **dict.fromkeys(("attribute_score", "sex_score", "age_score"), "how much it shows what was asked for, from 0 to 1"),
    "minor_score": "how much it looks like a child or teenager, from 0 to 1",
    "luminance": "mean, from 0 to 1",
    "highlights": "share of nearly white pixels",
    "sharpness": "size of the strongest edges, one pixel in a thousand",
    "noise": "near 1 for white noise",
    "perceptual_hash": "64 bits, in hexadecimal",
    "sha256": "digest of the picture's file",
}
"""What each column holds. What was not measured is null."""

CHECKS = (
    *["passed", "failed", "faces", "face_box", "face_score", "points", *POSE, "jaw_open", "eye_blink", "smile"],
    *["attribute_score", "sex_score", "age_score", "minor_score", "luminance", "highlights", "sharpness", "noise"],
    "hash",
)
"""The keys of `checks` in a raw row. They become columns of a release, but for what a face does, which only MediaPipe
tells; `face_box` is left, top, width and height, `points` are POINTS. Older rows have no points and no pose.
"""

MEASURES = COLUMNS.keys() & set(CHECKS)
"""Numbers that checks measure, called the same in raw rows and in columns."""

DIGITS = 5
"""Decimals of a measure in a release. A float32 would be written out with 17 digits by the Hub's viewer, which shows no
more than 200,000 bytes of a page."""


def config_names(labels: dict[str, list[str]] = LABELS) -> list[str]:
    """The configs that a table's labels give: its attributes, `all` and `metadata`."""
    return [*labels["attribute"], "all", "metadata"]


def features(labels: dict[str, list[str]] = LABELS, config: str = "all") -> datasets.Features:
    """The schema: `datasets.Features` of a config, with class names from `labels`.

    Counts and ages are floats, and `attempt` is a class whose number is its name: the Hub's viewer drops the statistics
    of a split in which a column of integers has two neighbouring values.
    """
    kinds = dict.fromkeys((*FACE_BOX, *POINTS, *POSE, "faces", "age", "guidance_scale"), "float32")
    kinds |= dict.fromkeys(MEASURES - kinds.keys(), "float64")
    kinds |= {"seed": "int64", "verified": "bool"}
    columns: dict[str, Any] = {name: datasets.Value(kinds.get(name, "string")) for name in COLUMNS}
    columns |= {name: datasets.ClassLabel(names=labels[name]) for name in LABELS}
    columns["image"] = datasets.Image()
    if TWINS not in labels["attribute"]:
        del columns["twin_of"]
    if config == "metadata":
        del columns["image"]
    if config == "aligned":
        columns["source_sha256"] = datasets.Value("string")
    return datasets.Features(columns)


def to_table(
    rows: list[dict[str, Any]],
    images: list[dict[str, str | None]] | pa.StructArray | None,
    schema: datasets.Features,
    arrow_schema: pa.Schema,
) -> pa.Table:
    """Arrow table of raw rows (dicts) under a schema, given in both forms; `images` are {"bytes", "path"}, one a row.

    Raises ValueError for a label that the schema does not know.
    """
    columns: dict[str, Any] = {}
    rows = [flat(row) for row in rows]
    for name, kind in schema.items():
        if name == "image":
            columns[name] = images
        elif isinstance(kind, datasets.ClassLabel):
            columns[name] = [kind.str2int(str(row[name])) for row in rows]
        else:
            columns[name] = [row[name] for row in rows]
    return pa.Table.from_pydict(columns, schema=arrow_schema)


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """The values of a raw row by the columns of a release, but for the picture."""
    checks = row["checks"]
    box = checks["face_box"] or (None,) * len(FACE_BOX)
    points = checks.get("points") or (None,) * len(POINTS)
    return {
        **row,
        "twin_of": row.get("twin_of"),
        **{name: _rounded(checks.get(name) if name in POSE else checks[name]) for name in MEASURES},
        **dict(zip(FACE_BOX, box, strict=True)),
        **dict(zip(POINTS, points, strict=True)),
        "phrase": row["phrase"] or None,
        "safety_checker": row["safety_checker"] or None,
        "checks_passed": " ".join(checks["passed"]) or None,
        "checks_failed": " ".join(checks["failed"]) or None,
        "perceptual_hash": checks["hash"],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def stored(columns: Iterable[str], schema: pa.Schema) -> list[str]:
    """The columns of a release's file that hold these ones; older releases have those of the checks in one, or lack
    some.
    """
    places = (name if name in schema.names else "checks" for name in columns)
    return [name for name in dict.fromkeys(places) if name in schema.names]


def flattened(table: pa.Table) -> pa.Table:
    """A table of an older release with today's columns in the place of `checks`; any other as it is."""
    if "checks" not in table.column_names:
        return table
    checks = table["checks"].combine_chunks()
    parts = {kind.name: pc.struct_field(checks, kind.name) for kind in checks.type}
    columns = {name: parts[name] for name in MEASURES & parts.keys()}
    columns |= {name: pc.list_element(parts["face_box"], place) for place, name in enumerate(FACE_BOX)}
    columns |= {f"checks_{name}": pc.binary_join(parts[name], " ") for name in ("passed", "failed")}
    columns["perceptual_hash"] = parts["hash"]
    columns = {name: table[name] for name in table.column_names if name != "checks"} | columns
    for name in columns.keys() & {"phrase", "safety_checker", "checks_passed", "checks_failed"}:
        columns[name] = pc.if_else(pc.equal(columns[name], ""), None, columns[name])
    return pa.table({name: columns[name] for name in COLUMNS if name in columns})


def read_rows(shard: str | Path) -> Iterator[dict[str, Any]]:
    """The committed rows of a raw shard, in order; a last line that was torn off by a crash is not one of them.

    A last line that is whole, and lacks its line feed alone, is one. Raises ValueError for a line that is no JSON
    object.
    """
    path = Path(shard) / "metadata.jsonl"
    if not path.exists():
        return
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = _document(line)
            except ValueError:
                if not line.endswith(b"\n"):
                    return
                raise ValueError(f"{path}, line {number}: not a row") from None
            yield row


def _document(data: bytes) -> dict[str, Any]:
    """The JSON object that a text is. Raises ValueError for any other text, however deep it nests."""
    try:
        document = json.loads(data)
    except RecursionError:
        document = None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of every class label, from the schema of a release's file.

    Raises ValueError, LookupError or TypeError for a schema of another kind.
    """
    kinds = _document(schema.metadata[b"huggingface"])["info"]["features"]
    classes = {name: kind["names"] for name, kind in kinds.items() if kind.get("_type") == "ClassLabel"}
    return {name: [str(value) for value in names] for name, names in classes.items()}


def shards(folder: str | Path) -> list[Path]:
    """The shard folders of a raw build, in plan order within each attribute; a copy of another name is none."""
    found = [path for path in Path(folder, "shards").glob("*-*") if SHARD.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: (path.name.rpartition("-")[0], len(path.name), path.name))


def config_of(shard: Path) -> str:
    """The config that a shard's rows belong to: its attribute, or that of the twins."""
    return shard.name.partition("-")[0]


def picture(shard: str | Path, row: dict[str, Any]) -> Path:
    """Path of a row's picture. Raises ValueError where it would lie outside its shard."""
    name = PurePosixPath(row["file_name"])
    path = Path(shard, name)
    try:
        is_inside = path.resolve().is_relative_to(Path(shard).resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name that no file can have
        is_inside = False
    if name.is_absolute() or ".." in name.parts or not is_inside:
        raise ValueError(f"{shard}: the picture of row {row.get('id')!r} lies outside its shard: {row['file_name']!r}")
    return path


def is_raw(folder: str | Path) -> bool:
    """True for a raw build, as opposed to a release folder."""
    return (Path(folder) / "recipe.json").is_file()


def is_release(folder: str | Path) -> bool:
    """True for a release folder."""
    return (Path(folder) / "README.md").is_file() and (Path(folder) / "metadata").is_dir()


def _find(data_dir: str | Path | None, base_path: str | None) -> Path:
    """The folder to read: what the caller says, or the release or raw build here or beside the script."""
    places = [Path(place).expanduser() for place in (".", base_path or ".")]
    tried = [Path(data_dir).expanduser()] if data_dir else [place / name for place in places for name in (RELEASE, RAW)]
    for folder in tried:
        if is_release(folder) or is_raw(folder):
            return folder.resolve()
    raise FileNotFoundError(
        f"no AGFD-30K release or raw build at {data_dir or Path.cwd()}: make one with "
        "`accelerate launch builder/generate.py`, or say where it is with data_dir=..."
    )


def _labels(folder: Path) -> dict[str, list[str]]:
    """The class names of a folder's own table."""
    if is_raw(folder):
        try:
            recipe = _document((folder / "recipe.json").read_bytes())
            attempts = range(recipe["spec"]["recipe"]["max_attempts"])
            labels = {**recipe["labels"], "attempt": attempts}
            if any(config_of(shard) == TWINS for shard in shards(folder)):
                labels |= {"attribute": [*labels["attribute"], TWINS], "feature": [*labels["feature"], TWIN]}
            return {name: [str(value) for value in labels[name]] for name in LABELS}
        except (ValueError, LookupError, TypeError):
            raise ValueError(f"{folder / 'recipe.json'}: damaged, or of another version; restore it") from None
    files = sorted(folder.glob("metadata/*.parquet"))
    labels = class_names(pq.read_schema(files[0]))
    if "attempt" not in labels:  # an older release
        most = max(pc.max(pq.read_table(path, columns=["attempt"])["attempt"]).as_py() for path in files)
        labels["attempt"] = [str(number) for number in range(max(most + 1, len(LABELS["attempt"])))]
    return labels


def _sources(folder: Path, config: str) -> list[Path]:
    """What a config is read from: raw shards with rows, or the Parquet files of a release."""
    if is_raw(folder):
        wanted = [s for s in shards(folder) if config in ("all", "metadata", config_of(s))]
        return [shard for shard in wanted if next(read_rows(shard), None)]
    if config == "all":
        numbered = sorted(folder.glob("data/*/*-of-*.parquet"), key=lambda path: (_batch(path), path))
        return [*sorted(folder.glob("first_page/*.parquet")), *numbered]
    place = config if config in ("metadata", "aligned") else f"data/{config}"
    if _is_annotations(config):
        place = f"annotations/{config.partition('_')[2] or DETECTOR}"
    return sorted(folder.glob(f"{place}/*.parquet"))


def _batch(path: Path) -> str:
    """Which appended batch a file is of: empty for `train-00000-of-00004.parquet`, else as `more001`."""
    part = path.name.split("-")[1]
    return "" if part.isdecimal() else part


def _configs(folder: Path, labels: dict[str, list[str]]) -> list[str]:
    """The configs that a folder may have: those of its table, and in a release those that were added to it."""
    places = [] if is_raw(folder) else sorted(folder.glob("annotations/*"))
    added = ("annotations" if place.name == DETECTOR else f"annotations_{place.name}" for place in places)
    return [*config_names(labels), *added, *([] if is_raw(folder) else ["aligned"])]


def _is_annotations(config: str) -> bool:
    """True for a config of what a model saw on the pictures."""
    return config.partition("_")[0] == "annotations"


def _noted(folder: Path, config: str) -> datasets.Features:
    """The columns of a config that has some of its own, as its files say."""
    notes = json.loads(pq.read_schema(_sources(folder, config)[0]).metadata[b"huggingface"])
    return datasets.Features.from_dict(notes["info"]["features"])


def _digest(sources: Iterable[Path]) -> str:
    """Digest of a config's content, from the rows of raw shards and the footers of Parquet files."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode())
        if path.is_dir():
            rows = path / "metadata.jsonl"
            digest.update(rows.read_bytes() if rows.exists() else b"")
        else:
            with open(path, "rb") as file:
                file.seek(-8, 2)
                footer = int.from_bytes(file.read(4), "little")
                file.seek(-8 - footer, 2)
                digest.update(file.read(footer))
    return digest.hexdigest()


class AGFD30K(datasets.ArrowBasedBuilder):
    """Builder over a release folder or a raw build: `data_dir`, or else ./agfd30k or ./agfd30k-raw."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIGS = [datasets.BuilderConfig(name=name, version="1.0.0") for name in config_names()]  # noqa: RUF012
    DEFAULT_CONFIG_NAME = "all"

    def __init__(
        self,
        *args: Any,
        config_name: str | None = None,
        data_dir: str | Path | None = None,
        base_path: str | None = None,
        **kwargs: Any,
    ):
        self.folder = _find(data_dir, base_path)
        self.labels = _labels(self.folder)
        config_name = config_name or self.DEFAULT_CONFIG_NAME
        names = [name for name in _configs(self.folder, self.labels) if _sources(self.folder, name)]
        if not names:
            raise ValueError(f"no picture is committed in {self.folder} yet: let the build go on for a while")
        if is_raw(self.folder) and config_name == "aligned":
            raise ValueError("a raw build has no config 'aligned': agfd30k.aligned(...) aligns the faces of any other")
        if config_name not in names:
            raise ValueError(f"no config {config_name!r} in {self.folder}: choose one of {', '.join(names)}")
        self.BUILDER_CONFIGS = []
        kwargs["hash"] = _digest(_sources(self.folder, config_name))
        super().__init__(*args, config_name=config_name, data_dir=str(self.folder), base_path=base_path, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        name = self.config.name
        return datasets.DatasetInfo(
            description="AGFD-30K: generated faces for special cases, labelled by attribute.",
            features=_noted(self.folder, name) if _is_annotations(name) else features(self.labels, name),
        )

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        found: dict[str, list[str]] = {split: [] for split in SPLITS}
        for source in _sources(self.folder, self.config.name):
            for split in _splits_in(source):
                found[split].append(str(source))
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"sources": sources, "split": split})
            for split, sources in found.items()
            if sources
        ]

    def _generate_tables(self, sources: list[str], split: str) -> Iterator[tuple[str, pa.Table]]:
        for number, source in enumerate(sources):
            read = _raw_tables(source, split, self.info.features) if is_raw(self.folder) else self._tables(source)
            for part, table in enumerate(read):
                yield f"{number}_{part}", table

    def _tables(self, path: str) -> Iterator[pa.Table]:
        """Without the schema's notes, which an older datasets cannot read where a newer one wrote them."""
        schema = self.info.features.arrow_schema.remove_metadata()
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield _completed(flattened(file.read_row_group(group)), schema)


def _completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the schema's columns: those that an older release has not noted are null, and its measures, which
    were float32, have today's digits.
    """
    columns = {name: table[name] if name in table.column_names else None for name in schema.names}
    if strange := set(table.column_names) - columns.keys():
        raise ValueError(f"column {sorted(strange)[0]!r} is none of this version's")
    for kind in schema:
        column = columns[kind.name]
        if column is None:
            columns[kind.name] = pa.nulls(len(table), kind.type)
        elif kind.name in MEASURES and column.type == pa.float32() != kind.type:
            columns[kind.name] = pc.round(column.cast(pa.float64()), DIGITS)
    return pa.table(columns).cast(schema)


def _splits_in(source: Path) -> set[str]:
    """The splits that a raw shard holds rows of, or that a Parquet file is named for."""
    if not source.is_dir():
        return {re.split("[-.]", source.name)[0]}
    splits: list[Any] = [row.get("split") for row in read_rows(source)]
    if strange := [split for split in splits if split not in SPLITS]:
        raise _damaged(source, f"there is no split {strange[0]!r}")
    return set(splits)


def _damaged(shard: str | Path, reason: object) -> ValueError:
    return ValueError(f"{shard}: a row is damaged ({reason}); `agfd30k verify` lists every fault")


def _raw_tables(shard: str, split: str, schema: datasets.Features) -> Iterator[pa.Table]:
    rows = [row for row in read_rows(shard) if row.get("split") == split]
    for start in range(0, len(rows), ROWS_A_TABLE):
        part = rows[start : start + ROWS_A_TABLE]
        try:
            images = [{"bytes": None, "path": str(picture(shard, row))} for row in part]
            table = to_table(part, images, schema, schema.arrow_schema)
        except (ValueError, LookupError, TypeError, OverflowError, pa.ArrowException) as error:
            raise _damaged(shard, error) from None
        yield table


def load_dataset(
    name: str = "all",
    data_dir: str | Path | None = None,
    split: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
) -> datasets.DatasetDict | datasets.Dataset | datasets.IterableDatasetDict | datasets.IterableDataset:
    """Load a config from a release folder or a raw build, on any version of datasets.

    Returns a DatasetDict, or the Dataset of one `split`; with `streaming`, their iterable kind. Raises ValueError for
    an unknown config and FileNotFoundError for a folder that is not there, both saying what to do.
    """
    builder = AGFD30K(config_name=name, data_dir=data_dir, cache_dir=cache_dir)
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split=split)


def subsample(dataset: Any, share: float, seed: int = 0) -> Any:
    """Return some `share` of a dataset's rows, from 0 to 1, chosen by a hash of their ids: the same ones everywhere.

    `dataset` is a Dataset, an IterableDataset, or a dict of them by split; it keeps its kind, its columns and the order
    of its rows. A smaller share lies within a larger one of the same `seed`, another seed chooses other rows, and a row
    is chosen whatever else is there: train of `occlusion` gives the rows of occlusion that train of `all` gives. Each
    row is taken by chance, so that counts of labels vary as in a draw:

        >>> [index for index in range(8) if is_chosen(f"hair-red-male-{index:05d}", 0.5)]
        [1, 3, 5, 6, 7]

    Raises ValueError for a share that is none, or a dataset without the column `id`.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share goes from 0 to 1, got {share!r}")
    if isinstance(dataset, dict):
        return type(dataset)({split: subsample(rows, share, seed) for split, rows in dataset.items()})
    if dataset.column_names is not None and "id" not in dataset.column_names:
        raise ValueError("rows are chosen by their `id`, which this dataset has not: choose columns afterwards")
    if isinstance(dataset, datasets.Dataset):
        ids = dataset.select_columns("id").with_format(None)["id"]
        return dataset.select([place for place, id in enumerate(ids) if is_chosen(id, share, seed)])
    return dataset.filter(is_chosen, input_columns=["id"], fn_kwargs={"share": share, "seed": seed})


def is_chosen(id: str, share: float, seed: int = 0) -> bool:
    """Return True for a `share` of all ids: those whose SHA-256, taken with the seed, is a fraction below it."""
    digest = hashlib.sha256(f"{seed}/{id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
) * (1 / 112)
"""Where face recognition models want the five points, as shares of a picture's side; the chin is mostly cut off.
Source: InsightFace, `arcface_dst` in face_align.py, for 112 pixels (Deng et al., ArcFace, 2019)."""


def _with_room(template: np.ndarray) -> np.ndarray:
    """The template in a larger picture: that of FFHQ, made of the eyes' and the mouth's middles."""
    eyes, mouth = template[:2].mean(axis=0), template[3:].mean(axis=0)
    half = max(2.0 * np.linalg.norm(template[1] - template[0]), 1.8 * np.linalg.norm(mouth - eyes))
    return (template - (eyes + 0.1 * (mouth - eyes))) / (2 * half) + 0.5


WHOLE_FACE = _with_room(ARCFACE)
"""The same places with room around them, so that chin, ears and most of the hair are in the picture: 3.6 times the way
from the eyes to the mouth, a third wider than ARCFACE. Source of the frame: Karras et al., A style-based generator
architecture, 2019, the crop of FFHQ."""


def align(image: Image.Image, points: Any, size: int = 256, template: Any = WHOLE_FACE) -> Image.Image:
    """Return the face of a picture upright, centred and of one size, as an RGB picture of `size` × `size` pixels.

    `points` are the right eye, the left eye, the nose and the right and left corner of the mouth, five pairs or ten
    numbers, as in the columns POINTS. The picture is turned, scaled and shifted, no more, so that they come as near as
    can be, by least squares, to `template`: WHOLE_FACE, or ARCFACE for a recognition model. What lies outside of the
    picture is black: nothing is made up. A face that is larger than the target is averaged, not sampled.

    Raises ValueError for points that are none: too few, not finite, all in one place, or those of a mirrored face.
    """
    turn, shift = _similarity(_pairs(points), _pairs(template) * size)
    pixels = image.convert("RGB")
    shrunk = max(1, int(1 / abs(turn) / 2))  # twice as fine as the target is still
    if shrunk > 1:
        pixels = pixels.reduce(shrunk)
    finer = max(1, math.ceil(1 / abs(turn) / shrunk - 0.01))
    back = 1 / turn / shrunk / finer
    start = -shift / turn / shrunk
    exact = (back.real, -back.imag, start.real, back.imag, back.real, start.imag)
    affine = tuple(round(value, 9) for value in exact)  # a face that is aligned already keeps its very pixels
    side = (size * finer, size * finer)
    turned = pixels.transform(side, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return turned if finer == 1 else turned.resize((size, size), Image.Resampling.LANCZOS)


def _pairs(points: Any) -> np.ndarray:
    """Five points as an array (5, 2)."""
    array = np.asarray(points, dtype=float)
    if array.size != 10 or not np.isfinite(array).all():
        raise ValueError(f"a face has five points, each of two numbers, got {points!r}")
    return array.reshape(5, 2)


def _similarity(points: np.ndarray, target: np.ndarray) -> tuple[complex, complex]:
    """The turn with its scale, and the shift, that bring points nearest to their targets: `turn * point + shift`.

    As complex numbers the least squares are one division. It is the solution of Umeyama, 1991, without a mirror.
    """
    place, goal = (pairs @ [1, 1j] for pairs in (points, target))
    apart, away = place - place.mean(), goal - goal.mean()
    spread = (abs(apart) ** 2).sum()
    turn = (apart.conj() * away).sum() / spread if spread > 1e-6 else 0
    if abs(turn) ** 2 * spread < 0.1 * (abs(away) ** 2).sum():
        raise ValueError(f"these five points are no face: {points.tolist()}")
    return turn, goal.mean() - turn * place.mean()


def aligned(dataset: Any, size: int = 256) -> Any:
    """Return a dataset whose pictures are aligned when they are read: those of its rows that have the five points.

    `dataset` is a Dataset, an IterableDataset, or a dict of them by split, with the columns `image` and POINTS. Rows in
    which no face was found are left out, as in the config `aligned`: a picture that is not aligned among those that are
    would be a wrong one. All other columns stay as they are, so that boxes and points are those of the whole picture.

    Raises ValueError for a dataset without these columns.
    """
    if isinstance(dataset, dict):
        return type(dataset)({split: aligned(rows, size) for split, rows in dataset.items()})
    if dataset.column_names is not None and (lost := {"image", *POINTS} - {*dataset.column_names}):
        raise ValueError(f"pictures are aligned by the columns image and POINTS; this dataset lacks {sorted(lost)[0]}")
    if isinstance(dataset, datasets.Dataset):
        there = dataset.select_columns("nose_x").with_format(None)["nose_x"]
        rows = dataset.select([place for place, value in enumerate(there) if value is not None])
        return rows.with_transform(functools.partial(_align_batch, size=size))
    rows = dataset.filter(_is_found, input_columns=["nose_x"])
    return rows.map(_align_batch, batched=True, batch_size=16, fn_kwargs={"size": size}, features=dataset.features)


def _is_found(value: float | None) -> bool:
    return value is not None


def _align_batch(rows: dict[str, list[Any]], size: int) -> dict[str, list[Any]]:
    """Columns of some rows with their pictures aligned; what does not read pictures or points gets what it reads."""
    if "image" not in rows:
        return rows
    points = zip(*(rows[name] for name in POINTS))
    return {**rows, "image": [align(image, some, size) for image, some in zip(rows["image"], points)]}
