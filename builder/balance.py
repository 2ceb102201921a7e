"""How even a plan is: by how much counts that should be equal differ."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from builder.common import cli

if TYPE_CHECKING:
    from builder.spec.spec import Spec

PARTS = ("all", "train", "validation", "test")


def balance(spec: cli.Table = None) -> None:
    """Print how evenly a plan spreads ethnicity, age and phrase, and whether ids and seeds repeat."""
    from builder.spec import table

    _print(table.load(spec or table.DEFAULT))


def _print(spec: Spec) -> None:
    import numpy as np

    from builder.plan.balance import spread
    from builder.plan.plan import Plan

    plan = Plan(spec)
    samples = [plan.sample(number) for number in range(len(plan))]
    print("largest count minus smallest, over every (feature, sex):\n")
    print(f"{'':<22}" + "".join(f"{part:>12}" for part in PARTS))
    spreads = {part: spread(spec, (s for s in samples if part in ("all", s.split))) for part in PARTS}
    for name in spreads["all"]:
        print(f"{name:<22}" + "".join(f"{spreads[part][name]:>12}" for part in PARTS))
    tries = len(samples) * spec.recipe.max_attempts
    seeds = (plan.seed(sample.id, number) for number in range(spec.recipe.max_attempts) for sample in samples)
    distinct = len(np.unique(np.fromiter(seeds, np.uint32, tries)))
    print(f"\n{len(samples):,} pictures, repeated ids {len(samples) - len({s.id for s in samples})}", end=", ")
    print(f"{tries:,} tries, repeated seeds {tries - distinct:,}")


COMMAND = cli.Command(balance, ["agfd30k balance --spec my.toml"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
