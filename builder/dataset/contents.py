"""What goes into a release, gathered once from its raw build."""

from __future__ import annotations

from dataclasses import dataclass, replace

from builder.common.errors import UserError
from builder.dataset.build_info import BuildInfo, recipe_toml, table_digest
from builder.dataset.statistics import Statistics
from builder.engine.engine import Engine
from builder.raw import calibration_file
from builder.raw.build import Finished, RawBuild
from builder.raw.calibration_file import Kept
from builder.raw.recipe import BuildRecipe


@dataclass(frozen=True)
class Contents:
    """A release's recipe, its shards with their counts, how far people agree with the checks, and its build info.

    Where there are twins, the recipe's table has a row of them.
    """

    recipe: BuildRecipe
    shards: Finished
    statistics: Statistics
    calibration: Kept | None
    info: BuildInfo

    @classmethod
    def of(cls, raw: RawBuild, engine: Engine | None = None) -> Contents:
        """Count what is finished, by `engine`, see `Statistics.of`. Raises UserError where there is no picture, or a
        row says anything else than the plan and the recipe.
        """
        calibration = calibration_file.load(raw.folder, raw.fingerprint)
        shards = raw.finished()
        statistics = Statistics.of(raw, shards, engine)
        if not statistics.made:
            raise UserError(f"{raw.folder}: {statistics.nothing()}")
        recipe = replace(raw.recipe, spec=statistics.table(raw.spec))
        return cls(recipe, shards, statistics, calibration, build_info(raw, shards, calibration))


def build_info(raw: RawBuild, shards: Finished, calibration: Kept | None) -> BuildInfo:
    """Return what a release of these shards says of itself; of them only the receipts are read."""
    return BuildInfo(
        rows=shards.digest,
        recipe=raw.fingerprint,
        kind=raw.recipe.model.kind,
        table=table_digest(recipe_toml(raw.recipe)),
        calibration=calibration.digest if calibration else "",
        searched=raw.is_searched(shards),
        checker=raw.recipe.made_by["safety_checker"],
    )
