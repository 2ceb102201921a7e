"""The release's croissant.json: what it holds, in the words of Croissant 1.1 and its extension for responsible AI.

The Hub makes a Croissant of its own for every dataset, without a word of how the data came to be; this one lies in the
release and says both. Its files are named by their place beside it, so a folder, a clone and a snapshot of the Hub are
read alike, without network:

    import mlcroissant

    dataset = mlcroissant.Dataset("agfd30k/croissant.json")
    for face in dataset.records("occlusion", filters={"occlusion/split": "test"}):
        face["occlusion/image"].show()

Only `metadata` has `references` from its labels to their names: mlcroissant makes joins of them, and reads all files of
a config into memory then, pictures too, where it else reads one after another. Source: mlcroissant 1.1.1, `datasets`,
`_is_streamable_dataset`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Features, Image, Value
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from agfd30k import AGFD30K, COLUMNS, LABELS, SPLITS
from builder.common.files import atomic
from builder.dataset import responsible_ai
from builder.dataset.build_info import BuildInfo
from builder.dataset.card import TAGS, YEAR, citation
from builder.dataset.contents import Contents
from builder.dataset.parquet import Config, is_annotations

NAME = "croissant.json"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
PARQUET = "application/x-parquet"

_OWN = (
    *["annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract"],
    *["field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"],
    *["key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "readLines"],
    *["samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"],
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in _OWN},
}
"""The words that are used, in the file itself: no reader has to fetch them. Source: Croissant 1.1, appendix 1."""

SPLIT_URLS = {"train": "TrainingSplit", "validation": "ValidationSplit", "test": "TestSplit"}
"""Croissant's own names of splits."""
TYPES = {
    **{"string": "sc:Text", "bool": "sc:Boolean", "float32": "cr:Float32", "float64": "cr:Float64"},
    **{"int8": "cr:Int8", "int16": "cr:Int16", "int32": "cr:Int32", "int64": "cr:Int64"},
}
"""Types of values as the Hub's own Croissant names them. Source: dataset-viewer, libcommon croissant_utils."""

NUMBERED = "-*-of-*"
"""What stands between the split and the ending of a file that has a number, also of one that was appended."""
OF_ANNOTATIONS = {"model": "the model that saw it", "model_digest": "which exact model it is"}
SOURCE = "digest of the file of the picture that the face was aligned of"
"""What columns of annotations hold that are called as others are in pictures' rows, or as none."""


def write(place: Path, contents: Contents, configs: dict[str, Config]) -> None:
    """Write the release's croissant.json."""
    with atomic(place / NAME) as file:
        file.write(text(document(contents, configs)).encode())


def text(document: dict[str, Any]) -> str:
    """Return the document as JSON; within a page no word of it ends the script that it stands in."""
    return json.dumps(document, indent=1, ensure_ascii=False).replace("<", r"\u003c")


def document(contents: Contents, configs: dict[str, Config]) -> dict[str, Any]:
    """Return the whole document, as JSON values. The same rows give the same document."""
    recipe = contents.recipe
    model = f"{recipe.model.name}, revision {recipe.model.revision}"
    columns = {name: config.features for name, config in configs.items()}
    patterns = {name: config.patterns for name, config in configs.items()}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": recipe.spec.name,
        "description": responsible_ai.summary(contents),
        "url": "README.md",
        "license": license_of(recipe.spec.license),
        "creator": {"@type": "sc:Organization", "name": f"The {recipe.spec.name} authors"},
        "citeAs": citation(recipe),
        "datePublished": YEAR,
        "version": version_of(contents.info),
        "isLiveDataset": False,
        "inLanguage": "en",
        "keywords": [*TAGS, *(["preview"] if recipe.is_preview else [])],
        "digitalSourceType": "https://schema.org/TrainedAlgorithmicMediaDigitalSource",
        "prov:wasDerivedFrom": {"@id": "recipe.toml"},
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": f"pictures from prompts, by {model}"},
        "prov:wasAttributedTo": {"@type": "prov:SoftwareAgent", "prov:label": model},
        **responsible_ai.fields(contents),
        "distribution": [file_set(name, some) for name, some in patterns.items()],
        "recordSet": [
            split_names(split for some in patterns.values() for split in some),
            *enumerations(columns.values()),
            *(record_set(name, columns[name], patterns[name], rows(configs[name])) for name in configs),
        ],
    }


def license_of(id: str) -> str:
    """Return the address of a licence where SPDX has one of this id, or else the id as the Hub knows it."""
    try:
        spdx = canonicalize_license_expression(id)
    except InvalidLicenseExpression:
        return id
    return id if spdx.startswith("LicenseRef-") else f"https://spdx.org/licenses/{spdx}.html"


def version_of(info: BuildInfo) -> str:
    """Return the version of a release: that of the dataset, and which rows it has of it."""
    return f"{AGFD30K.VERSION}+{info.rows.removeprefix('sha256:')[:12]}"


def file_set(config: str, patterns: dict[str, list[str]]) -> dict[str, Any]:
    """Return the Parquet files of a config, as globs from where croissant.json lies."""
    return {
        "@type": "cr:FileSet",
        "@id": _files(config),
        "name": _files(config),
        "description": f"The Parquet files of the config {config}.",
        "encodingFormat": PARQUET,
        "includes": [glob for globs in patterns.values() for glob in globs],
    }


def split_names(splits: Iterable[str]) -> dict[str, Any]:
    """Return the splits that any config has, with what Croissant calls them."""
    present = set(splits)
    return {
        "@type": "cr:RecordSet",
        "@id": "split-names",
        "name": "split-names",
        "description": "The splits.",
        "dataType": "cr:Split",
        "key": {"@id": "split-names/name"},
        "field": [_plain("split-names/name", "sc:Text"), _plain("split-names/url", ["sc:URL", "cr:Split"])],
        "data": [
            {"split-names/name": split, "split-names/url": CONTEXT["cr"] + SPLIT_URLS[split]}
            for split in SPLITS
            if split in present
        ],
    }


def enumerations(columns: Iterable[Features]) -> Iterator[dict[str, Any]]:
    """Yield the numbers and names of every column of labels; configs of a release share them."""
    labels = {name: kind for some in columns for name, kind in some.items() if isinstance(kind, ClassLabel)}
    for column, kind in labels.items():
        id = names_id(column)
        yield {
            "@type": "cr:RecordSet",
            "@id": id,
            "name": id,
            "description": f"What the numbers of the column {column} stand for.",
            "dataType": "sc:Enumeration",
            "key": {"@id": f"{id}/number"},
            "field": [_plain(f"{id}/number", "sc:Integer"), _plain(f"{id}/name", "sc:Text")],
            "data": [{f"{id}/number": number, f"{id}/name": name} for number, name in enumerate(kind.names)],
        }


def record_set(
    config: str,
    features: Features,
    patterns: dict[str, list[str]],
    description: str,
) -> dict[str, Any]:
    """Return a config: the split of every row, and its columns."""
    says = {**COLUMNS, **(OF_ANNOTATIONS if is_annotations(config) else {}), "source_sha256": SOURCE}
    columns = [column_field(config, name, kind, says.get(name, name)) for name, kind in features.items()]
    split = {
        **_plain(f"{config}/split", ["sc:Text", "cr:Split"]),
        "description": "The split that the row belongs to, as its file is named; see split-names.",
        "source": {
            "fileSet": {"@id": _files(config)},
            "extract": {"fileProperty": "filename"},
            "transform": {"regex": split_regex(patterns)},
        },
    }
    return {
        "@type": "cr:RecordSet",
        "@id": config,
        "name": config,
        "description": description,
        **({"key": {"@id": f"{config}/id"}} if "id" in features else {}),
        "field": [split, *columns],
    }


def split_regex(patterns: dict[str, list[str]]) -> str:
    r"""Return what tells a row's split by the name of its file, for the globs of a config.

    An ending that not all have is written as mlcroissant can make globs of it again, which its filters need:

    >>> split_regex({"train": ["first_page/train.parquet", "data/*/train-*-of-*.parquet"]})
    '(train)(?:-.*-of-.*)?\\.parquet$'
    >>> split_regex({"train": ["data/*/train-0*-of-*.parquet", "data/*/train-more001-*-of-*.parquet"]})
    '(train)-.*-of-.*\\.parquet$'
    >>> split_regex({"train": ["metadata/train-*.parquet"]})
    '(train)-.*\\.parquet$'
    """
    middles: dict[str, None] = {}
    for split, some in patterns.items():
        for glob in some:
            middle = Path(glob).name.removeprefix(split).removesuffix(".parquet")
            middles[(NUMBERED if middle.endswith("-of-*") else middle).replace("*", ".*")] = None
    parts = [middle for middle in middles if middle]
    middle = parts[0] if len(middles) == 1 and parts else f"(?:{'|'.join(parts)})?" if parts else ""
    return rf"({'|'.join(patterns)}){middle}\.parquet$"


def column_field(config: str, column: str, kind: Any, description: str) -> dict[str, Any]:
    """Return a column of a config. Raises ValueError for a type that Croissant has no word for."""
    field = {**_field(f"{config}/{column}", _files(config), column, kind, ()), "description": description}
    if isinstance(kind, ClassLabel):
        field["description"] += f"; a number, whose name stands in {names_id(column)}"
        if config == "metadata":
            field["references"] = {"field": {"@id": f"{names_id(column)}/number"}}
    return field


def _field(id: str, files: str, column: str, kind: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Return a field that is read from a column, or from the value at a path within it."""
    name = [column, *path][-1]
    if isinstance(kind, dict):
        parts = [_field(f"{id}/{part}", files, column, inner, (*path, part)) for part, inner in kind.items()]
        return {"@type": "cr:Field", "@id": id, "name": name, "subField": parts}
    inner = kind[0] if isinstance(kind, list) else getattr(kind, "feature", None)
    if inner is not None:
        length = -1 if isinstance(kind, list) else kind.length
        return {**_field(id, files, column, inner, path), "isArray": True, "arrayShape": str(length)}
    within = ".".join([*path, *(["bytes"] if isinstance(kind, Image) else [])])
    transform = {"transform": {"jsonPath": within}} if within else {}
    source = {"fileSet": {"@id": files}, "extract": {"column": column}, **transform}
    return {**_plain(id, data_type(name, kind)), "source": source}


def data_type(column: str, kind: Any) -> str | list[str]:
    """Return Croissant's word for the type of a column. Raises ValueError where it has none."""
    if isinstance(kind, Image):
        return "sc:ImageObject"
    if isinstance(kind, ClassLabel):
        return ["sc:Integer", "cr:Label"] if column in LABELS else "sc:Integer"
    if isinstance(kind, Value) and kind.dtype in TYPES:
        return TYPES[kind.dtype]
    raise ValueError(f"Croissant has no word for {column}'s type, {kind}")


def names_id(column: str) -> str:
    """Return where the names of a column's labels stand; no config and no column has a hyphen in its name."""
    return f"{column}-names"


def _files(config: str) -> str:
    return f"{config}-files"


def _plain(id: str, type: str | list[str]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": id, "name": id.rpartition("/")[2], "dataType": type}


def rows(config: Config) -> str:
    """Return how many rows a config has."""
    counts = ", ".join(f"{size.rows:,} in {split}" for split, size in config.splits.items())
    return f"{sum(size.rows for size in config.splits.values()):,} rows: {counts}."
