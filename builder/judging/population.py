"""How many pictures of each kind a build has: what the judged ones are a sample of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from builder.judging.pictures import Entry


@dataclass(frozen=True)
class Population:
    """The pictures of a build, counted by feature, sex, ethnicity, and whether they are verified."""

    counts: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)

    def counted(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the same entries, and count them."""
        for entry in entries:
            self.counts[entry.feature, entry.sex, entry.ethnicity, bool(entry.verified)] += 1
            yield entry

    @property
    def total(self) -> int:
        """All pictures."""
        return self.counts.total()

    def size(self, feature: str, own: bool, **labels: str | bool) -> int:
        """Return the pictures that were asked to show a feature, or all others, of those with `sex`, `ethnicity` or
        `verified` where that is given.
        """
        names = ("feature", "sex", "ethnicity", "verified")
        rows = ((dict(zip(names, kind)), number) for kind, number in self.counts.items())
        return sum(
            number
            for row, number in rows
            if (row["feature"] == feature) == own and all(row[key] == value for key, value in labels.items())
        )
