"""Check a raw build against its plan, picture by picture: `python -m builder.verify agfd30k-raw`.

Every row must say what the plan and the recipe say, every picture must be the one that was committed and decode, every
receipt must fit its shard. Exit status 0 for a sound build, 1 where there are faults that --repair has not set aside, 2
where nothing could be checked.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm

import agfd30k
from builder.common import cli
from builder.raw.build import RawBuild
from builder.raw.receipts import Damaged
from builder.raw.shard_writer import lock
from builder.raw.verification import SET_ASIDE, Check


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = cli.parser(
        "python -m builder.verify",
        "Check every row, picture and digest of a raw build, and list every fault.",
        "python -m builder.verify agfd30k-raw --repair",
    )
    parser.add_argument("raw", type=Path, nargs="?", default=Path("agfd30k-raw"), help="the raw build")
    parser.add_argument(
        "--repair",
        action="store_true",
        help=f"move what is faulty into {SET_ASIDE}/ of its shard, so that the next run makes it again",
    )
    args = parser.parse_args(argv)
    return cli.status("verify", lambda: _verify(args.raw, args.repair))


def _verify(folder: Path, repair: bool) -> int:
    raw = RawBuild.open(folder)
    plan = raw.plan
    known = {shard.name: shard for shard in plan.shards}
    rows = faults = strangers = 0
    for path in tqdm(agfd30k.shards(folder), unit="shard", disable=not sys.stderr.isatty()):
        if path.name not in known:
            print(f"{path}: not a shard of this plan")
            strangers += 1
            continue
        held = lock(path) if repair else None
        shard = Check(path, plan.whole(known[path.name]), plan, raw.recipe.made_by, raw.fingerprint)
        rows += shard.rows
        faults += len(shard.faults)
        for fault in shard.faults:
            print(fault)
        if held:
            if shard.faults:
                shard.repair()
            held.release()
    print(f"{rows} rows, {faults} faults" + (", set aside" if repair and faults else ""))
    if strangers:
        print(f"folders that are not shards of this plan: {strangers}; they must be moved away by hand")
    if left := _unfinished(raw):
        print(f"shards of the latest run that are not done: {left}; run the builder again to go on")
    return 1 if strangers or (faults and not repair) else 0


def _unfinished(raw: RawBuild) -> int:
    """How many shards of the latest run are not done; 0 while a damaged receipt, which is a fault, cannot tell."""
    try:
        return len(raw.unfinished())
    except Damaged:
        return 0


if __name__ == "__main__":
    sys.exit(main())
