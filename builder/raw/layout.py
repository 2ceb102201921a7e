"""The names of a raw folder's files."""

from __future__ import annotations

RECIPE = "recipe.json"

ASKED = "asked.json"

SHARDS = "shards"

LOCK = ".release.lock"
"""Held while the whole folder is read, or pictures are taken back."""

SEARCHED = "searched.json"
"""Which rows are known to hold no duplicates."""

ROWS = "metadata.jsonl"

REJECTED = "rejected.jsonl"

RECEIPT = "receipt.json"
