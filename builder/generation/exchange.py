"""What a run shares with others: a folder that all of them see, or, by `object_store`, a store that each sees from its
own machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from builder.generation import deduplication
from builder.generation.process import Rank
from builder.plan.plan import Plan, Shard
from builder.raw.build import RawBuild
from builder.raw.layout import REJECTED
from builder.raw.ownership import read_recipe
from builder.raw.recipe import BuildRecipe
from builder.raw.rejected_pictures import RejectedPictures
from builder.raw.row_count import RowCount

if TYPE_CHECKING:
    from builder.common.address import Address


class Folder:
    """A folder that every process sees: what is written there is shared."""

    def __init__(self, folder: Path, plan: Plan, rank: Rank, rejects: RejectedPictures):
        self.folder = folder
        self.plan = plan
        self.rank = rank
        self.rejects = rejects

    def recorded(self) -> BuildRecipe | None:
        """Return the recipe of what was made before, None where nothing was."""
        return read_recipe(self.folder)

    def build(self, recipe: BuildRecipe) -> RawBuild:
        """Return the raw build of a recipe."""
        self.raw = RawBuild(self.folder, recipe)
        return self.raw

    def begin(self) -> None:
        """Make the place this build's own."""
        RawBuild.begin(self.folder, self.raw.recipe).require_no_strangers()

    def order(self) -> Iterator[Shard]:
        """Yield all shards in the order in which this process takes them: its own, then others'."""
        shards, index, count = self.plan.shards, self.rank.index, self.rank.count
        yield from shards[index::count]
        yield from reversed([shard for n, shard in enumerate(shards) if n % count != index])

    def prepare(self, shard: Shard) -> bool:
        """Make ready what lies here of a shard that is to be opened; returns False where another process has it."""
        return True

    def deliver(self, shard: Shard) -> None:
        """Share a shard that has been finished."""

    def settle(self, stop: bool) -> None:
        """Return when all that was finished is shared; `stop`: soon."""

    def look(self) -> None:
        """See what others have shared since."""

    def resume(self) -> None:
        """Finish what a killed process has left half done; to be called before anything is made."""
        deduplication.resume(self.raw, self.plan, self.rejects)

    def take_back(self) -> int | None:
        """Take back duplicates; see `deduplication.take_back`."""
        return deduplication.take_back(self.raw, self.plan, self.rejects)

    def counter(self) -> Callable[[], tuple[int, int]]:
        """Return what counts the pictures of the plan that are there, and the rejected tries."""
        rows, rejected, shards = RowCount(self.folder), RowCount(self.folder, REJECTED), self.plan.shards
        return lambda: (rows(shards), rejected(shards))


def of(folder: Path, address: Address | None, plan: Plan, rank: Rank, rejects: RejectedPictures) -> Folder:
    """Return what a run shares: its folder, or the store at its address."""
    if address is None:
        return Folder(folder, plan, rank, rejects)
    from builder.generation.object_store import ObjectStore  # with the libraries that stores need

    return ObjectStore(address, folder, plan, rank, rejects)
