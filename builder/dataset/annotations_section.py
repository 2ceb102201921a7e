"""The card's section of annotations: which models looked at the pictures, and on how many they found something."""

from __future__ import annotations

from builder.dataset.markdown import Markdown, cell, code
from builder.dataset.parquet import Config

HEADING = "## Annotations"
TABLE = """
What models saw on the pictures, as they said it: pseudo-labels, which nobody has looked at. A config of annotations
has every picture's row, joined to the others by `id` and `sha256`, and no pictures; where a model found nothing, its
columns are null. `model` and `model_digest` say in every row which model it was.

| config | model | digest | found |
| --- | --- | --- | --- |
"""


def row(name: str, config: Config, model: str, digest: str) -> str:
    """Return what the table says of a config, by a model of this name and digest."""
    rows = sum(size.rows for size in config.splits.values())
    return f"| {cell(code(name))} | {cell(code(model))} | {cell(code(digest))} | {config.found or 0:,} of {rows:,} |"


def section(rows: list[str]) -> Markdown:
    """Return the card's section of annotations."""
    return Markdown("\n".join([HEADING + "\n" + TABLE.rstrip("\n"), *rows]))
