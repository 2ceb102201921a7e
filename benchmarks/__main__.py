"""Measure everything and print it as tables, each row beside its peer or its limit: `make bench`.

python benchmarks                        # every topic, about ten minutes on two cores
python benchmarks release scaling        # some
python benchmarks --scale 0.2            # quick and rough
python benchmarks --results benchmarks/RESULTS.md --json results.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from harness import Table, machine

TOPICS = ("host", "encoding", "checks", "release", "report", "growth", "scaling", "generation")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual work (default: 1.0)")
    parser.add_argument(
        "--results", metavar="FILE", type=Path, help="Markdown; its tables of this machine are replaced"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="the numbers as JSON")
    args = parser.parse_args()
    if unknown := set(args.topics) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    found, facts = [], machine()
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n", flush=True)
    for topic in args.topics or TOPICS:
        started = time.perf_counter()
        for table in importlib.import_module(topic).run(args.scale):
            print(table, flush=True)
            found.append(table)
        print(f"({topic}: {time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    if args.json:
        args.json.write_text(json.dumps({"machine": facts, "tables": [table.as_dict() for table in found]}, indent=1))
    if args.results:
        write_results(args.results, facts, found, args.scale)
    return 0


def write_results(path: Path, facts: dict[str, str], tables: list[Table], scale: float = 1.0) -> None:
    """Put each table in the place of the one of its title and kind of machine; leave all others as they are.

    Every table says when it was measured, and with how much of the usual work.
    """
    title = facts["accelerator"] if facts["accelerator"] != "none" else f"CPU: {facts['processor']}"
    head, *sections = ("\n" + path.read_text()).split("\n## ") if path.exists() else ["\n# Results\n"]
    by_machine = {section.splitlines()[0]: section for section in sections}
    kept = {part.splitlines()[0]: part for part in by_machine.get(title, "").split("\n### ")[1:]}
    when = f"\nMeasured {time.strftime('%Y-%m-%d', time.gmtime())}" + (f", --scale {scale:g}." if scale != 1 else ".")
    kept |= {table.title: str(table).removeprefix("### ") + when for table in tables}
    body = [title, "", ", ".join(f"{key} {value}" for key, value in facts.items())]
    by_machine[title] = "\n".join([*body, *(f"\n### {part.strip()}" for part in kept.values())])
    path.write_text("\n\n## ".join(part.strip() for part in (head, *by_machine.values())) + "\n")


if __name__ == "__main__":
    sys.exit(main())
