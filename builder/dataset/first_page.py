"""The rows that `all` begins with: of every split as many of each feature as is fair, in an order that follows no plan.

The files of `all` are those of the attributes, one after the other, and a page that shows the first of them alone would
show one attribute alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agfd30k
from agfd30k import SPLITS

PAGE = 100
"""Rows of the viewer's page. Source: dataset-viewer, libcommon constants, MAX_NUM_ROWS_PER_PAGE."""


@dataclass
class Candidates:
    """Rows that may come to stand on a first page: of every split and feature the PAGE ids of the smallest digests.

    `of` maps split and feature to (digest of the id, id, shard).
    """

    of: dict[tuple[str, str], list[tuple[bytes, str, Path]]] = field(default_factory=dict)

    def add(self, shard: Path, row: dict[str, Any]) -> None:
        """Take in a row."""
        some = [(hashlib.sha256(row["id"].encode()).digest(), row["id"], shard)]
        self._take((row["split"], row["feature"]), some)

    def merge(self, other: Candidates) -> None:
        """Take in those of other rows."""
        for key, some in other.of.items():
            self._take(key, some)

    def _take(self, key: tuple[str, str], some: list[tuple[bytes, str, Path]]) -> None:
        known = self.of.setdefault(key, [])
        known += some
        if len(known) >= 2 * PAGE:
            self.of[key] = sorted(known)[:PAGE]

    def first_page(self, made: Counter) -> FirstPage:
        """Choose the rows; `made` counts all rows by (attribute, feature, split)."""
        chosen = {}
        for split in SPLITS if len({attribute for attribute, _, _ in made}) > 1 else ():
            counts: Counter = Counter()
            for (_, feature, place), count in made.items():
                if place == split:
                    counts[feature] += count
            if counts.total() > PAGE:
                fair = shares(counts, PAGE)
                rows = [row for feature in counts for row in sorted(self.of[split, feature])[: fair[feature]]]
                chosen[split] = [(shard, id) for _, id, shard in sorted(rows)]
        return FirstPage(chosen)


@dataclass(frozen=True)
class FirstPage:
    """The rows of each split's first page, (shard, id), in their order; a split that is one page long has none."""

    of: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)

    def ids(self, split: str) -> set[str]:
        """Return the ids on a split's page."""
        return {id for _, id in self.of.get(split, [])}

    def rows(self, split: str) -> list[tuple[Path, dict[str, Any]]]:
        """Read the rows of a split's page, each with its shard, in the page's order."""
        shards = {shard for shard, _ in self.of.get(split, [])}
        ids = self.ids(split)
        rows = {row["id"]: row for shard in shards for row in agfd30k.read_rows(shard) if row["id"] in ids}
        return [(shard, rows[id]) for shard, id in self.of.get(split, []) if id in rows]


def shares(counts: Counter, total: int) -> dict[Any, int]:
    """Return how much of a `total` is each one's share, in whole numbers, by the method of the largest remainder."""
    exact = {key: total * count / counts.total() for key, count in counts.items()}
    given = {key: int(share) for key, share in exact.items()}
    by_remainder = sorted(exact, key=lambda key: given[key] - exact[key])
    return given | {key: given[key] + 1 for key in by_remainder[: total - sum(given.values())]}
