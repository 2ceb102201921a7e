"""How even a plan is: `python -m builder.balance` prints by how much counts that should be equal differ."""

from __future__ import annotations

import sys
from pathlib import Path

from builder.common import cli
from builder.plan.balance import spread
from builder.plan.plan import Plan
from builder.plan.sample import seed
from builder.spec import table
from builder.spec.spec import Spec

PARTS = ("all", "train", "validation", "test")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = cli.parser(
        "python -m builder.balance",
        "Print how evenly a plan spreads ethnicity, age and phrase, and whether ids and seeds repeat.",
        "python -m builder.balance --spec my.toml",
    )
    parser.add_argument("--spec", metavar="FILE", type=Path, default=table.DEFAULT, help="the table, TOML")
    args = parser.parse_args(argv)
    return cli.status("balance", lambda: _print(table.load(args.spec)))


def _print(spec: Spec) -> None:
    plan = Plan(spec)
    samples = [plan.sample(number) for number in range(len(plan))]
    print("largest count minus smallest, over every (feature, sex):\n")
    print(f"{'':<22}" + "".join(f"{part:>12}" for part in PARTS))
    spreads = {part: spread(spec, (s for s in samples if part in ("all", s.split))) for part in PARTS}
    for name in spreads["all"]:
        print(f"{name:<22}" + "".join(f"{spreads[part][name]:>12}" for part in PARTS))
    seeds = [seed(spec.release, sample.id, 0) for sample in samples]
    print(f"\n{len(samples):,} pictures, repeated ids {len(samples) - len({s.id for s in samples})}", end=", ")
    print(f"repeated seeds {len(seeds) - len(set(seeds))}", end=", ")
    print(f"in the 32 bits that torch uses {len(seeds) - len({number % 2**32 for number in seeds})}")


if __name__ == "__main__":
    sys.exit(main())
