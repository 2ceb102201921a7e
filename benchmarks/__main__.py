"""Measure everything and print it as tables, each row beside its peer or its limit: `make bench`.

python benchmarks                        # every topic, seven or eight minutes on two cores
python benchmarks release scaling        # some
python benchmarks --scale 0.2            # quick and rough
python benchmarks --results benchmarks/RESULTS.md --json results.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import time
from pathlib import Path

import cv2
from harness import LIBRARIES, Table, machine

MEASURED = re.compile(r"Measured with `python benchmarks (?P<topic>\w+)")
TOPICS = (
    *("host", "encoding", "checks", "duplicates", "release", "loading", "report", "growth", "scaling", "generation"),
    "roofline",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual work (default: 1.0)")
    parser.add_argument(
        "--results",
        metavar="FILE",
        type=Path,
        help="Markdown; these topics' tables of this machine are replaced",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="the numbers as JSON")
    args = parser.parse_args()
    if unknown := set(args.topics) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    found, facts = [], machine()
    cv2.setNumThreads(1)  # as the builder's own threads, each of which checks another picture
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n", flush=True)
    for topic in args.topics or TOPICS:
        started = time.perf_counter()
        tables = []
        for table in importlib.import_module(topic).run(args.scale):
            print(table, flush=True)
            tables.append(table)
        found += tables
        if args.results:
            write_results(args.results, facts, topic, tables, args.scale)
        if args.json:
            lines = {"machine": facts, "tables": [table.as_dict() for table in found]}
            args.json.write_text(json.dumps(lines, indent=1))
        print(f"({topic}: {time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    return 0


def write_results(path: Path, facts: dict[str, str], topic: str, tables: list[Table], scale: float = 1.0) -> None:
    """Put a topic's tables in the place of those it had on this kind of machine; leave all others as they are.

    Every table says when it was measured, by which command and with which libraries.
    """
    title = facts["accelerator"] if facts["accelerator"] != "none" else f"CPU: {facts['processor']}"
    command = f"`python benchmarks {topic}{f' --scale {scale:g}' if scale != 1 else ''}`"
    libraries = ", ".join(f"{name} {facts[name]}" for name in ("python", *LIBRARIES) if name in facts)
    measured = f"Measured with {command} on {facts.get('date')}: {libraries}."
    head, *sections = ("\n" + path.read_text()).split("\n## ") if path.exists() else ["\n# Results\n"]
    by_machine = {section.splitlines()[0]: section.split("\n### ")[1:] for section in sections}
    others = [part.strip() for part in by_machine.get(title, []) if f"Measured with {command} " not in part]
    new = [f"{str(table).removeprefix('### ').strip()}\n\n{measured}" for table in tables]
    by_machine[title] = sorted([*others, *new], key=_place)
    parts = ["\n\n### ".join([name, *(one.strip() for one in found)]) for name, found in by_machine.items()]
    path.write_text("\n\n## ".join([head.strip(), *parts]) + "\n")


def _place(part: str) -> int:
    """Where a table stands: in the order of the topics."""
    found = MEASURED.search(part)
    return TOPICS.index(found["topic"]) if found else -1


if __name__ == "__main__":
    sys.exit(main())
