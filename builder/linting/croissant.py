"""Rules for a release's croissant.json: it says of configs, columns, splits and files what the card says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from builder.dataset import responsible_ai
from builder.dataset.croissant import (
    CONFORMS_TO,
    NAME,
    enumerations,
    file_set,
    license_of,
    record_set,
    split_names,
    version_of,
)
from builder.dataset.folder import Release
from builder.linting.parquet import stated


def croissant(release: Release) -> Iterator[str]:
    """croissant.json is sound, of this very release, and describes its configs; older releases have none."""
    if NAME not in release.files:
        if release.info and release.info.format != "1":
            yield f"{NAME} is missing: make the release again"
        return
    try:
        document = json.loads((release.folder / NAME).read_bytes())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        yield f"{NAME} is not a JSON object"
        return
    yield from _head(release, document)
    yield from _configs(release, document)


def _head(release: Release, document: dict[str, Any]) -> Iterator[str]:
    """Yield where it says something else of the whole release than the card."""
    card, info = release.card[0], release.info
    if not isinstance(document.get("@context"), dict) or CONFORMS_TO[0] not in document.get("conformsTo", ()):
        yield f"{NAME} does not say with a context of its own that it is {CONFORMS_TO[0]}"
    for key in ("description", *responsible_ai.FIELDS):
        if not document.get(key):
            yield f"{NAME} has no `{key}`"
    said = {
        "name": card.get("pretty_name"),
        "license": card.get("license") and license_of(card["license"]),
        "version": info and version_of(info),
    }
    for key, value in said.items():
        if value and document.get(key) != value:
            yield f"{NAME}: `{key}` is {document.get(key)!r}, by README.md it is {value!r}"
    if release.preview and not str(document.get("description")).startswith(responsible_ai.PREVIEW):
        yield f"{NAME} does not begin by saying that these are preview pictures"


def _configs(release: Release, document: dict[str, Any]) -> Iterator[str]:
    """Yield where it describes other configs, or a config otherwise, than the card."""
    patterns = release.configs()
    features = {config: stated(release, config) for config in patterns}
    files = {entry["@id"]: entry for entry in document["distribution"]}
    records = {entry["@id"]: entry for entry in document["recordSet"]}
    shared = [split_names(split for some in patterns.values() for split in some), *enumerations(features.values())]
    for expected in shared:
        actual = records.pop(expected["@id"], {})
        if any(actual.get(key) != expected[key] for key in ("data", "dataType", "key")):
            yield f"{NAME}: {expected['@id']} are not the names that README.md has"
    for config, some in patterns.items():
        expected = file_set(config, some)
        includes = files.pop(expected["@id"], {}).get("includes")
        if includes != expected["includes"]:
            yield f"{config}: {NAME} means the files {includes}, README.md {expected['includes']}"
        fields = records.pop(config, {}).get("field") or []
        yield from _fields(config, record_set(config, features[config], some, "")["field"], fields)
    for id in [*files, *records]:
        yield f"{NAME}: {id} is nothing that README.md has"


def _fields(config: str, expected: list[dict[str, Any]], actual: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the columns of a config that are described otherwise than they should be, whatever their description."""
    right, there = ({field["@id"]: field | {"description": ""} for field in some} for some in (expected, actual))
    for id in dict.fromkeys([*right, *there]):
        if id not in there:
            yield f"{config}: {NAME} has no column {id}"
        elif id not in right:
            yield f"{config}: README.md has no column {id}, {NAME} has"
        elif right[id] != there[id]:
            yield f"{config}: {NAME} says something else of {id} than README.md"
