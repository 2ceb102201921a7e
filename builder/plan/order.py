"""The order of a plan: every prefix of it, and so every shard, is a fair sample of an attribute's cells."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from builder.plan.cells import Cell


class Order:
    """Plan order within an attribute: rounds to which every cell adds its share, so that any prefix is a fair sample.

    A cell of the largest quota adds a picture to every round, the others now and then, first of all to the first.
    """

    def __init__(self, cells: list[Cell]):
        self.cells = cells
        self.rounds = max(cell.quota for cell in cells)

    def __len__(self) -> int:
        return sum(cell.quota for cell in self.cells)

    def before(self, turn: int) -> int:
        """Return how many pictures come before a round."""
        return sum(self._index(cell, turn) for cell in self.cells)

    def walk(self, start: int, stop: int) -> Iterator[tuple[Cell, int]]:
        """Yield the cell, and the index within it, of every picture from place `start` to before `stop`."""
        first = bisect_right(range(self.rounds), start, key=self.before) - 1
        place = self.before(first)
        for turn in range(first, self.rounds):
            for cell in self.cells:
                for index in range(self._index(cell, turn), self._index(cell, turn + 1)):
                    if place >= stop:
                        return
                    if place >= start:
                        yield cell, index
                    place += 1

    def reach(self) -> int:
        """Return the place behind the last round in which something is chosen."""
        last = max(((cell.chosen - 1) * self.rounds // cell.quota for cell in self.cells if cell.chosen), default=-1)
        return self.before(last + 1)

    def _index(self, cell: Cell, turn: int) -> int:
        """Return how many pictures a cell has added before a round."""
        return -(-turn * cell.quota // self.rounds)
