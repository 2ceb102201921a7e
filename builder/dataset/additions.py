"""What is added to a release that is there: files in a folder of their own, and what card and croissant.json say.

An addition is written beside the release. Once it is whole, one rename decides that it is to be: from then on whoever
works on the release next brings it in, should this process not live to do so. Until then the release is as it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import yaml_dump

from agfd30k import SPLITS
from builder.common.errors import UserError
from builder.common.files import atomic, sync_folder
from builder.dataset import annotations_section, croissant
from builder.dataset.card import info
from builder.dataset.folder import CARD, Release, addition, bring_in
from builder.dataset.parquet import METADATA, Config

NEXT = ("\n## Uses\n", "\n<!-- built from ")
"""Before which part of the card the annotations' section stands; the second one is in every card, and its end."""


@contextmanager
def staged(release: Path) -> Iterator[Path]:
    """Give a folder for what is added, laid out like the release; at the end it is brought into the release.

    For who holds the release's lock. An error leaves the release as it was, and nothing else behind.
    """
    stage, ready = addition(release)
    shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.mkdir()
        yield stage
        sync_folder(stage)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    os.rename(stage, ready)
    sync_folder(release.parent)
    bring_in(release)


def describe(release: Release, stage: Path, name: str, config: Config, model: str, digest: str) -> None:
    """Write card and croissant.json as they are with a config of annotations, in the place of one of that name.

    Raises UserError for a card that cannot be read.
    """
    with atomic(stage / "README.md") as file:
        text = (release.folder / "README.md").read_text(encoding="utf-8")
        parts = CARD.fullmatch(text)
        if not parts or not release.card[0] or release.info is None:
            raise UserError(f"{release.folder / 'README.md'}: is none that the builder made; `agfd30k lint` says more")
        body = with_rows(parts[2], name, config, annotations_section.row(name, config, model, digest))
        file.write(f"---\n{_with_config(release.card[0], name, config)}\n---\n{body}".encode())
    if (release.folder / croissant.NAME).exists():
        with atomic(stage / croissant.NAME) as file:
            document = json.loads((release.folder / croissant.NAME).read_bytes())
            file.write(croissant.text(_with_records(document, name, config)).encode())


def _with_config(metadata: dict[str, Any], name: str, config: Config) -> str:
    """Return the card's YAML with a config more; what else it says stays word for word."""
    said = dict(metadata)
    for key, entry in (("configs", config_entry(name, config)), ("dataset_info", info(name, config, True))):
        others = [other for other in said.get(key) or [] if other.get("config_name") != name]
        said[key] = [*others, entry]
    return yaml_dump(said, sort_keys=False).strip()


def config_entry(name: str, config: Config) -> dict[str, Any]:
    """Return what the card's YAML says of the files of a config."""
    files = [{"split": split, "path": globs[0]} for split, globs in config.patterns.items()]
    return {"config_name": name, "data_files": files}


def with_rows(body: str, name: str, config: Config, line: str) -> str:
    """Return the card's text with a row in its two tables, in the place of those of the same config."""
    lines = [each for each in body.split("\n") if not each.startswith(f"| `{name}` |")]
    counts = [f"{config.splits[split].rows if split in config.splits else 0:,}" for split in SPLITS]
    _after(lines, f"| `{METADATA}` |", f"| `{name}` | {' | '.join(counts)} |")
    if annotations_section.HEADING not in lines:
        text = "\n".join(lines)
        place = next(place for start in NEXT if (place := text.rfind(start)) >= 0)
        return f"{text[:place]}\n{annotations_section.section([line])}\n{text[place:]}"
    _after(lines, "| ", line, lines.index(annotations_section.HEADING))
    return "\n".join(lines)


def _after(lines: list[str], start: str, line: str, first: int = 0) -> None:
    """Insert a line at the end of the first table with a row that begins so; nothing where there is none."""
    place = next((place for place in range(first, len(lines)) if lines[place].startswith(start)), None)
    if place is not None:
        end = next(
            place for place in range(place, len(lines) + 1) if not "".join(lines[place : place + 1]).startswith("|")
        )
        lines.insert(end, line)


def _with_records(document: dict[str, Any], name: str, config: Config) -> dict[str, Any]:
    """Return croissant.json's object with a config more."""
    files = croissant.file_set(name, config.patterns)
    names = list(croissant.enumerations([config.features]))
    record = croissant.record_set(name, config.features, config.patterns, croissant.rows(config))
    added = {entry["@id"] for entry in (files, *names, record)}
    distribution = [entry for entry in document["distribution"] if entry["@id"] not in added]
    records = [entry for entry in document["recordSet"] if entry["@id"] not in added]
    return {**document, "distribution": [*distribution, files], "recordSet": [*records, *names, record]}
