"""Writes the table of columns in docs/labels.md, from the loader's schema.

python docs/columns.py
"""

from __future__ import annotations

from pathlib import Path

import agfd30k
from builder.dataset.card import columns

DOCS = Path(__file__).with_name("labels.md")
BEGIN, END = "<!-- what follows is written by `make docs` -->\n", "<!-- end -->\n"


def table() -> str:
    """Return the table in Markdown."""
    rows = [f"| {row['names']} | {row['type']} | {row['text']} |\n" for row in columns(agfd30k.features())]
    return "".join(["| column | type | what it holds |\n| --- | --- | --- |\n", *rows])


def current(text: str) -> str:
    """Return the page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    DOCS.write_text(current(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
