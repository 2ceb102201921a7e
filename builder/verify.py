"""Check a raw build against its plan, picture by picture: `python -m builder.verify agfd30k-raw`.

Every row must say what the plan says, every picture must be the one that was committed and decode, every receipt must
fit its shard. Exit status 0 for a sound build, 1 where there are faults, 2 where nothing could be checked.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

import agfd30k
from builder import UserError, cli, raw
from builder.files import atomic, sha256
from builder.plan import Plan, Sample
from builder.shards import IMAGES, LOCK, RECEIPT, ROWS, Locked, picture_fault, receipt, row_fault

SET_ASIDE = "faulty.jsonl"


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
        help=f"set faulty rows aside in {SET_ASIDE} of their shard, so that the next run makes them again",
    )
    args = parser.parse_args(argv)
    try:
        recipe = raw.require(args.raw)
        plan = Plan(raw.spec_of(recipe), shard_size=recipe["settings"]["shard_size"])
        return _report(args.raw, plan, args.repair)
    except (UserError, OSError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2


def _report(folder: Path, plan: Plan, repair: bool) -> int:
    known = {shard.name: shard for shard in plan.shards}
    rows = faults = 0
    for path in tqdm(raw.shard_folders(folder), unit="shard", disable=not sys.stderr.isatty()):
        if path.name not in known:
            print(f"{path}: not a shard of this plan")
            faults += 1
            continue
        lines, found = check(path, plan.whole(known[path.name]), plan)
        rows += lines
        faults += len(found)
        for number, fault in found:
            print(f"{path / ROWS}, line {number}: {fault}" if number else f"{path}: {fault}")
        if repair and found:
            _repair(path, {number for number, _ in found})
    print(f"{rows} rows, {faults} faults" + (", faulty rows set aside" if repair and faults else ""))
    return 1 if faults and not repair else 0


def check(folder: Path, whole: dict[str, Sample], plan: Plan) -> tuple[int, list[tuple[int, str]]]:
    """Every fault of a shard as (line, what), line 0 for the shard as a whole, and how many lines there are."""
    found, seen, named, number = [], set(), set(), 0
    for number, row in enumerate(_lines(folder / ROWS), 1):
        named.add(Path(str(row.get("file_name"))).name if isinstance(row, dict) else None)
        fault = "not a row" if row is None else row_fault(row, whole, plan) or _picture_fault(folder, row)
        if fault is None and row["id"] in seen:
            fault = f"{row['id']} stands twice"
        if fault:
            found.append((number, fault))
        else:
            seen.add(row["id"])
    if found_receipt := receipt(folder):
        if found_receipt["sha256"] != sha256(folder / ROWS):
            found.append((0, f"{ROWS} is not what the receipt was written for"))
        if missing := set(found_receipt["asked"]) - seen - set(found_receipt["unfilled"]):
            found.append((0, f"{len(missing)} rows of the receipt are missing, {min(missing)} first"))
        strangers = {path.name for path in (folder / IMAGES).iterdir()} - named
        found += [(0, f"{IMAGES}/{name}: a picture without a row") for name in sorted(strangers)]
    return number, found


def _lines(path: Path) -> Iterator[dict | None]:
    """The rows of a file, None for a line that is none."""
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield None


def _picture_fault(folder: Path, row: dict) -> str | None:
    fault = picture_fault(folder, row)
    if fault:
        return fault
    path = agfd30k.picture(folder, row)
    if sha256(path) != row["sha256"]:
        return f"{row['id']}: {row['file_name']} is not the picture that was committed"
    try:
        Image.open(io.BytesIO(path.read_bytes())).load()
    except (OSError, SyntaxError) as error:
        return f"{row['id']}: {row['file_name']} does not decode: {error}"
    return None


def _repair(folder: Path, faulty: set[int]) -> None:
    """Keep the sound rows, set the others aside, and take the receipt back: the next run completes the shard."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Locked(f"{folder}: a run is writing here; stop it before --repair") from None
    with lock:
        lines = (folder / ROWS).read_bytes().splitlines(keepends=True)
        with open(folder / SET_ASIDE, "ab") as file:
            file.writelines(line for number, line in enumerate(lines, 1) if number in faulty)
        with atomic(folder / ROWS) as file:
            file.writelines(line for number, line in enumerate(lines, 1) if number not in faulty)
        (folder / RECEIPT).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
