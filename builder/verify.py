"""Check a raw build against its plan, picture by picture: `python -m builder.verify agfd30k-raw`.

Every row must say what the plan and the recipe say, every picture must be the one that was committed and decode, every
receipt must fit its shard. Exit status 0 for a sound build, 1 where there are faults that --repair has not set aside, 2
where nothing could be checked.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

import agfd30k
from builder import cli, raw
from builder.files import atomic, sha256
from builder.plan import Plan, Sample
from builder.receipts import RECEIPT, REJECTED, ROWS, Damaged, receipt, require_sound
from builder.rows import picture_fault, rejection_fault, row_fault
from builder.shards import IMAGES, lock

SET_ASIDE = "faulty"


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
    recipe = raw.require(folder)
    made_by = {"model": recipe["model"]["name"], "model_revision": recipe["model"]["revision"]}
    plan = Plan(raw.spec_of(recipe), shard_size=recipe["settings"]["shard_size"])
    return _report(folder, plan, made_by, recipe["fingerprint"], repair)


def _report(folder: Path, plan: Plan, made_by: dict[str, str], fingerprint: str, repair: bool) -> int:
    known = {shard.name: shard for shard in plan.shards}
    rows = faults = strangers = 0
    for path in tqdm(agfd30k.shards(folder), unit="shard", disable=not sys.stderr.isatty()):
        if path.name not in known:
            print(f"{path}: not a shard of this plan")
            strangers += 1
            continue
        held = lock(path) if repair else None
        shard = Check(path, plan.whole(known[path.name]), plan, made_by, fingerprint)
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
    if left := _unfinished(folder):
        print(f"shards of the latest run that are not done: {left}; run the builder again to go on")
    return 1 if strangers or (faults and not repair) else 0


def _unfinished(folder: Path) -> int:
    """How many shards of the latest run are not done; 0 while a damaged receipt, which is a fault, cannot tell."""
    try:
        return len(raw.unfinished(folder))
    except Damaged:
        return 0


class Check:
    """All faults of one shard: `faults` in words; what is faulty is kept for `repair`."""

    def __init__(self, folder: Path, whole: dict[str, Sample], plan: Plan, made_by: dict[str, str], fingerprint: str):
        self.folder = folder
        self.fingerprint = fingerprint
        self.faults: list[str] = []
        self.bad: dict[str, set[int]] = {ROWS: set(), REJECTED: set()}
        self.named: set[str] = set()
        self.sound: set[str] = set()
        seen: set[str] = set()
        lines = _lines(folder / ROWS)
        self.rows = len(lines)
        for number, row in enumerate(lines, 1):
            if isinstance(row, dict):
                self.named.add(Path(str(row.get("file_name"))).name)
            fault = row_fault(row, whole, plan, made_by) or self._picture(row)
            if fault is None and row["id"] in seen:
                fault = f"{row['id']} stands twice"
            if fault:
                self._bad_line(ROWS, number, fault)
            else:
                seen.add(row["id"])
                self.sound.add(Path(row["file_name"]).name)
        for number, row in enumerate(_lines(folder / REJECTED), 1):
            if fault := rejection_fault(row, whole):
                self._bad_line(REJECTED, number, fault)
        self._receipt(seen)

    def _bad_line(self, name: str, number: int, fault: str) -> None:
        self.faults.append(f"{self.folder / name}, line {number}: {fault}")
        self.bad[name].add(number)

    def _picture(self, row: dict[str, Any]) -> str | None:
        """What is wrong with a row's picture, or None."""
        if fault := picture_fault(self.folder, row):
            return fault
        path = agfd30k.picture(self.folder, row)
        if sha256(path) != row["sha256"]:
            return f"{row['id']}: {row['file_name']} is not the picture that was committed"
        try:
            Image.open(io.BytesIO(path.read_bytes())).load()
        except (OSError, SyntaxError) as error:
            return f"{row['id']}: {row['file_name']} does not decode: {error}"
        return None

    def _receipt(self, seen: set[str]) -> None:
        """Hold the shard against its receipt. Without one it is not done, and pictures may be ahead of their rows."""
        try:
            found = receipt(self.folder)
            if found is None:
                return
            if found["fingerprint"] != self.fingerprint:
                self.faults.append(f"{self.folder}: was made by another recipe")
            if missing := set(found["asked"]) - seen - set(found["unfilled"]):
                first = min(missing)
                self.faults.append(f"{self.folder}: {len(missing)} rows of the receipt are missing, {first} first")
            require_sound(self.folder)
        except Damaged as error:
            self.faults.append(error.fault)
        for path in self._pictures_but(self.named):
            self.faults.append(f"{path}: a picture without a row")

    def _pictures_but(self, names: set[str]) -> list[Path]:
        images = self.folder / IMAGES
        return sorted(path for path in images.iterdir() if path.name not in names) if images.is_dir() else []

    def repair(self) -> None:
        """Keep what is sound, move the rest aside, and take the receipt back: the next run completes the shard."""
        aside = self.folder / SET_ASIDE
        aside.mkdir(exist_ok=True)
        for path in self._pictures_but(self.sound):
            path.rename(_free(aside / path.name))
        for name, bad in self.bad.items():
            if bad:
                lines = (self.folder / name).read_bytes().splitlines(keepends=True)
                with open(aside / name, "ab") as file:
                    file.writelines(line for number, line in enumerate(lines, 1) if number in bad)
                with atomic(self.folder / name) as file:
                    file.writelines(line for number, line in enumerate(lines, 1) if number not in bad)
        if (self.folder / RECEIPT).exists():
            (self.folder / RECEIPT).rename(_free(aside / RECEIPT))


def _free(path: Path) -> Path:
    """The path, or the first with a number that nothing has: what was set aside before stays."""
    numbered = (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(2))
    return next(place for place in itertools.chain([path], numbered) if not os.path.lexists(place))


def _lines(path: Path) -> list[Any]:
    """The lines of a file, parsed, None for one that is not JSON; half a line at the end is left to the next run."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append(None)
    return found


if __name__ == "__main__":
    sys.exit(main())
