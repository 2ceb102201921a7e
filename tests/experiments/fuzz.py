"""Change tables, raw builds and releases in every way that an editor, a disk or an enemy can, and watch the commands.

    python tests/experiments/fuzz.py --mutations 20000            # of all three kinds together
    python tests/experiments/fuzz.py --seed 17 --only builds --number 4711     # one mutation again, and what was said

prints a row for every kind of mutation; exit status 1 where anything is in a column that must be empty. A model's
stand-in makes the pictures. What must never happen:

    traceback    a command ends in an exception, or in more than a line of fewer than 300 characters
    hangs        it does not end within 20 seconds
    lost         a sound row, or its picture, is neither in its place nor set aside
    believed     status 0, and what is there is not what an undisturbed run has made
    not as new   after `verify --repair` and another run, the build is not the undisturbed one, byte for byte

`by hand` counts what only the user can put right, as the one line says: restore a recipe, move a folder away.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq

from builder.generate import main as generate
from builder.generation import deduplication
from builder.lint import main as lint
from builder.release import main as release
from builder.verify import main as verify
from tests.fixtures import builds, standin
from tests.fixtures.mutations import clear, edit_lines, mutate

ROWS = "metadata.jsonl"
PATIENCE = 20
"""Seconds after which a command hangs."""
LONGEST = 300
BAD = ("traceback", "hangs", "lost", "believed", "not as new")
BUILD = ["--shard-size", "8", "--batch-size", "4"]
"""Of a table of 40 pictures: three shards of drinks, three of fruit."""


class Hangs(BaseException):
    """A command does not end."""


@dataclass
class Said:
    """How a command ended: its exit status, None after an exception, and what it printed."""

    status: int | None
    out: str
    errors: str


@dataclass
class Mutation:
    """One mutation: what it was, and what was wrong then, by column."""

    name: str
    faults: dict[str, str] = field(default_factory=dict)
    by_hand: bool = False
    said: list[str] = field(default_factory=list)

    def fault(self, column, text):
        """Something that must not happen; the first of each column is told."""
        self.faults.setdefault(column, text)

    def run(self, name, main, *arguments, most=1, **options):
        """Run a command in this process; its ways to end badly are faults. An error has at most `most` lines."""
        said = command(main, *map(str, arguments), **options)
        self.said.append(f"$ {name} {' '.join(map(str, arguments))}\n{said.out}{said.errors}[{said.status}]")
        if said.status is None:
            self.fault(
                "hangs" if "Hangs" in said.errors else "traceback", f"{name}: {said.errors.splitlines()[-1][:200]}"
            )
        lines = said.errors.splitlines()
        lines = lines[next((n for n, line in enumerate(lines) if line.startswith(f"{name}: ")), len(lines)) :]
        if said.status == 2 and (not 0 < len(lines) <= most or max(map(len, lines)) >= LONGEST):
            self.fault("traceback", f"{name}: {len(lines)} lines, the longest of {max(map(len, lines), default=0)}")
        return said


def command(main, *arguments, **options):
    """Run a command's main in this process."""
    out, errors = io.StringIO(), io.StringIO()
    status = None

    def hang(*_):
        raise Hangs

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    signal.signal(signal.SIGALRM, hang)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            status = main([*arguments], **options)
    except BaseException:
        errors.write(traceback.format_exc())
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    return Said(status, out.getvalue(), errors.getvalue())


# ---------------------------------------------------------------------------------------------------------------------
# raw builds


def content(raw):
    """The files of a raw build's shards, but for what tells the time or guards a folder."""
    found = {}
    for path in raw.glob("shards/*/**/*"):
        own = path.parent.name == "images" or path.name in (ROWS, "rejected.jsonl", "receipt.json")
        shard = re.fullmatch(r"[a-z]+-\d{5}", path.relative_to(raw).parts[1])
        if path.is_file() and shard and own and "faulty" not in path.parts and not path.name.startswith("."):
            data = path.read_bytes()
            if path.name == "receipt.json":
                data = receipt(path)
            found[path.relative_to(raw).as_posix()] = data
    return found


def receipt(path):
    """What a receipt says, but for what tells the time."""
    if not path.is_file():
        raise OSError(f"{path}: no file")
    return json.dumps(
        {**json.loads(path.read_bytes()), "finished": "", "versions": {}, "digest": ""}, sort_keys=True
    ).encode()


class Model(standin.StandIn):
    """A stand-in whose pictures have the table's size; every fifth try shows one of two of them."""

    def __init__(self, source, recipe, device, **options):
        super().__init__(source, recipe, device, **options)
        self.size = (recipe.width, recipe.height)

    def generate(self, attempts):
        for result in super().generate(attempts):
            if image := result.image:
                seed = result.attempt.seed
                image = builds.picture_of(seed // 5 % 2) if seed % 5 == 1 else image
                result = replace(result, image=image.resize(self.size))
            yield result


class Stopped(Model):
    """A stand-in that is told to stop after its twelfth try."""

    def generate(self, attempts):
        for result in super().generate(attempts):
            if self.made == 12:
                signal.raise_signal(signal.SIGTERM)
            yield result


class Builds:
    """Raw builds to be mutated, in states that a run can leave: `states` are folders with a raw build, and perhaps its
    release; `whole` is what an undisturbed run has made.
    """

    def __init__(self, folder):
        self.folder = folder / "builds"
        self.folder.mkdir()
        self.table = self.folder / "fruit.toml"
        self.table.write_text(builds.OWN_TABLE + "\n[checks.duplicates]\n")
        self.arguments = ["--spec", str(self.table), *BUILD]
        self.states = [self.folder / name for name in ("released", "finished", "half", "deciding")]
        for state in self.states:
            self._make(state)
        self.whole = content(self.states[0] / "raw")
        self.release = tables(self.states[0] / "release")
        reasons = Counter(json.loads(line)["reason"] for line in self._lines("rejected.jsonl"))
        assert set(reasons) == {"refused", "black", "duplicate"}, reasons
        assert (self.states[3] / "raw" / "duplicates.json").exists()

    def _make(self, state):
        state.mkdir()
        load = Stopped if state.name == "half" else Model
        stop = mock.patch.object(deduplication, "_take_back", side_effect=KeyboardInterrupt)
        with stop if state.name == "deciding" else contextlib.nullcontext():
            said = self.generate(state, load=load)
        assert said.status == {"half": 143, "deciding": 130}.get(state.name, 0), said
        if state.name != "released":
            shutil.rmtree(state / "release", ignore_errors=True)

    def _lines(self, name):
        return [line for path, data in self.whole.items() if path.endswith(name) for line in data.splitlines()]

    def generate(self, place, load=Model, mutation=None):
        run = mutation.run if mutation else lambda name, *rest, **options: command(*rest, **options)
        arguments = [*self.arguments, "--raw", place / "raw", "--out", place / "release"]
        return run("generate", generate, *map(str, arguments), load=load, build_checks=standin.checks)

    def mutate(self, rng, folder):
        """Mutate a copy of a state, and run the commands over it."""
        state = rng.choice(self.states)
        place, elsewhere = folder / "build", folder / "elsewhere"
        shutil.copytree(state, place)
        elsewhere.mkdir()
        target = rng.choice(self._targets(place / "raw"))
        relative = target.relative_to(place / "raw").as_posix()
        kind = target.name if target.suffix in (".json", ".jsonl") else "a picture" if target.suffix else "a folder"
        mutation = Mutation(f"{kind}: {mutate(target, rng, elsewhere)}")
        mutation.said.append(f"{state.name}: {relative}: {mutation.name}")
        Cycle(self, place, elsewhere, mutation).run(rng)
        return mutation

    @staticmethod
    def _targets(raw):
        """Every kind of thing in a build, about equally often."""
        by_kind = {}
        for path in sorted(raw.rglob("*")):
            if not path.name.startswith(".") and path.name != "faulty":
                by_kind.setdefault(path.suffix and (path.suffix if path.suffix == ".png" else path.name), []).append(
                    path
                )
        return [path for paths in by_kind.values() for path in (paths * 12)[:12]]


class Cycle:
    """What a user does with a build that something happened to: a run or a release, a repair, and another run."""

    def __init__(self, world, place, elsewhere, mutation):
        self.world, self.place, self.raw, self.elsewhere, self.mutation = (
            world,
            place,
            place / "raw",
            elsewhere,
            mutation,
        )
        self.sound = self._sound()
        self.loose = {path.parent.name for path in self._receipts() if not self._is_receipt(path)}
        self.outside = sorted(self.elsewhere.rglob("*"))

    def _receipts(self):
        return [self.raw / path for path in self.world.whole if path.endswith("receipt.json")]

    def _is_receipt(self, path):
        """Whether a shard's receipt says what it said: without it nobody can know what the checks have found."""
        try:
            return receipt(path) == self.world.whole[path.relative_to(self.raw).as_posix()]
        except (OSError, ValueError, RecursionError):
            return False

    def _sound(self):
        """Rows that are in their place as an undisturbed run writes them, with their pictures: (shard, id, row)."""
        found = set()
        for path, data in self.world.whole.items():
            if path.endswith(ROWS):
                shard = self.raw / Path(path).parent
                with contextlib.suppress(OSError):
                    if not any(map(Path.is_symlink, (shard, shard / "images"))) and (shard / ROWS).is_file():
                        there = (shard / ROWS).read_bytes().split(b"\n")
                        found |= {
                            (shard, row) for row in data.splitlines() if row in there and self._picture(shard, row)
                        }
        return found

    def _picture(self, shard, row):
        name = json.loads(row)["file_name"]
        own = self.world.whole[f"shards/{shard.name}/{name}"]
        spots = [shard / name, *shard.glob(f"faulty/**/{Path(name).stem}*")]
        return any(spot.is_file() and spot.read_bytes() == own for spot in spots)

    def run(self, rng):
        """All steps, with their oracles."""
        restored = not self._recipe_is_there()
        self._first(rng)
        self._require_kept()
        self._repair()
        self._require_kept()
        if restored:
            clear(self.raw / "recipe.json")
            shutil.copy(self.world.states[0] / "raw" / "recipe.json", self.raw / "recipe.json")
            self._repair()
        self._again()

    def _recipe_is_there(self):
        path = self.raw / "recipe.json"
        return path.is_file() and path.read_bytes() == (self.world.states[0] / "raw" / "recipe.json").read_bytes()

    def _first(self, rng):
        """A run, or a release: status 0 means that the release is the undisturbed one's."""
        if rng.random() < 0.3:
            out = self.place / "own"
            said = self.mutation.run("release", release, "--raw", str(self.raw), "--out", str(out))
        else:
            out, said = self.place / "release", self.world.generate(self.place, mutation=self.mutation)
        if said.status == 0:
            self._require_release(out)

    def _repair(self):
        said = self.mutation.run("verify", verify, str(self.raw), "--repair")
        if said.status != 0:
            self.mutation.by_hand = True
            self._move_strangers()

    def _move_strangers(self):
        planned = {Path(path).parts[1] for path in self.world.whole}
        with contextlib.suppress(OSError):
            for path in (self.raw / "shards").iterdir():
                if path.name not in planned:
                    path.rename(self.elsewhere / f"stranger-{path.name}")

    def _again(self):
        """After the repair everything is made again, as if nothing had happened."""
        said = self.world.generate(self.place, mutation=self.mutation)
        if said.status != 0:
            self.mutation.by_hand = True
            if not self.mutation.by_hand:
                self.mutation.fault("not as new", said.errors)
            return
        self._require_release(self.place / "release")
        if not self.loose:
            different = [name for name, data in self._differing()]
            if different:
                self.mutation.fault("not as new", ", ".join(different[:3]))
        elif self._rows() != self._rows(self.world.whole):
            self.mutation.fault("not as new", "rows")
        if self.mutation.run("verify", verify, str(self.raw)).status != 0:
            self.mutation.fault("not as new", "verify finds faults")

    def _differing(self):
        now = content(self.raw)
        return [
            (name, now.get(name))
            for name in sorted({*now, *self.world.whole})
            if now.get(name) != self.world.whole.get(name)
        ]

    def _rows(self, files=None):
        """Rows and rejected tries, without what nobody can know when a receipt is gone."""
        files = files or content(self.raw)
        rows = [
            json.loads(line) for path, data in files.items() if path.endswith(".jsonl") for line in data.splitlines()
        ]
        return sorted(json.dumps({key: row.get(key) for key in ("id", "attempt", "seed", "sha256")}) for row in rows)

    def _require_release(self, out):
        if (here := tables(out)) != self.world.release and not (
            self.loose and plain(here) == plain(self.world.release)
        ):
            self.mutation.fault("believed", "the release is another one")

    def _require_kept(self):
        """Every sound row and its picture are in their place, or set aside; nothing outside the build has changed."""
        for shard, row in self.sound:
            kept = b"".join(
                path.read_bytes() for path in [shard / ROWS, *shard.glob("faulty/**/*.jsonl")] if path.is_file()
            )
            if row not in kept or not self._picture(shard, row):
                self.mutation.fault("lost", f"{shard.name}: {json.loads(row)['id']}")
        if not set(self.outside) <= set(self.elsewhere.rglob("*")):
            self.mutation.fault("lost", "something outside the build")


def tables(folder):
    """What the Parquet files of a release hold, by name: rows, pictures too."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    return {name: pq.read_table(folder / name).to_pylist() for name in names}


def plain(release):
    """A release without what nobody can know when a receipt is gone."""
    unknown = ("checks", "verified")
    return {
        name: [{key: value for key, value in row.items() if key not in unknown} for row in rows]
        for name, rows in release.items()
    }


# ---------------------------------------------------------------------------------------------------------------------
# releases


class Releases:
    """A release to be mutated."""

    def __init__(self, world):
        self.release = world.states[0] / "release"
        self.whole = tables(self.release)

    def mutate(self, rng, folder):
        """Mutate a copy, and lint it: status 0 means that every row and picture is as it was."""
        place, elsewhere = folder / "release", folder / "elsewhere"
        shutil.copytree(self.release, place)
        elsewhere.mkdir()
        by_kind = {}
        for path in sorted(place.rglob("*")):
            by_kind.setdefault(path.suffix, []).append(path)
        target = rng.choice([path for paths in by_kind.values() for path in (paths * 12)[:12]])
        name = mutate_parquet(target, rng) if target.suffix == ".parquet" and rng.random() < 0.5 else None
        mutation = Mutation(f"{target.suffix or 'a folder'}: {name or mutate(target, rng, elsewhere)}")
        mutation.said.append(f"{target.relative_to(place)}: {mutation.name}")
        said = mutation.run("lint", lint, str(place), "--allow-preview", "--thorough")
        if said.status == 0 and tables(place) != self.whole:
            mutation.fault("believed", "rows or pictures are others")
        mutation.run("lint", lint, str(place), "--allow-preview")
        return mutation


def mutate_parquet(path, rng):
    """Write a Parquet file anew, as datasets would, with another value in it; returns what was done."""
    rows = pq.read_table(path)
    column = rng.choice(rows.column_names)
    what = rng.choice(["other rows' values", "null", "rows gone", "rows twice", "column gone"])
    place = rows.column_names.index(column)
    if what == "other rows' values":
        order = [*range(1, len(rows)), 0]
        rows = rows.set_column(place, rows.schema.field(place), rows.column(place).take(order))
    elif what == "null":
        values = rows.column(place).to_pylist()
        values[rng.randrange(len(values))] = None
        import pyarrow as pa

        rows = rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))
    elif what == "rows gone":
        rows = rows.slice(0, rng.randrange(len(rows)))
    elif what == "rows twice":
        rows = rows.take([*range(len(rows)), rng.randrange(len(rows))])
    else:
        rows = rows.drop_columns([column])
    pq.write_table(rows, path, write_page_index=True)
    return what


# ---------------------------------------------------------------------------------------------------------------------
# tables

VALUES = [
    *["0", "-1", "1", "2", "1e999", "nan", "99999999999999999999", "true", '""', '" "', "[]", "{}", "[[]]", '[""]'],
    *["'a'", '"{age}"', '"{phrase}"', '"{phrase"', '"{0.__class__}"', '"((((a"', '"a\\nb"', '"---"', '"<b>x</b>"'],
    *['"a" ' + "# " + "x" * 500, "[" * 5000 + "]" * 5000, '"\\u202e"', '"\\u0000"', "1979-05-27", "'../x'", "[1, 'a']"],
    *['"' + "long " * 2000 + '"', '["a", "b", "c"]', "[18, 30]", "{ male = ['man'] }", "{ a = 'b' }", "16", "1000000"],
]


class Tables:
    """Tables to be mutated: the one that is shipped, and a user's own."""

    def __init__(self, world):
        self.world = world
        self.texts = [builds.small_table().read_text(encoding="utf-8"), world.table.read_text()]

    def mutate(self, rng, folder):
        """Mutate a table: it is refused, a line for each fault, or a build of some pictures is made and sound."""
        path = folder / "own.toml"
        path.write_text(rng.choice(self.texts), encoding="utf-8")
        name = self._edit(path, rng)
        mutation = Mutation(name)
        if path.is_file():
            mutation.said.append(path.read_bytes().decode("utf-8", "replace"))
        arguments = ["--spec", str(path), "--model", "preview", "--without", "attribute,face"]
        self._build(arguments, folder, mutation)
        return mutation

    @staticmethod
    def _edit(path, rng):
        if rng.random() < 0.3:
            return mutate(path, rng, path.parent.parent) if rng.random() < 0.05 else Tables._edit_text(path, rng)
        lines = path.read_text(encoding="utf-8").split("\n")
        number = rng.choice([n for n, line in enumerate(lines) if "=" in line and not line.startswith("#")])
        key, _, value = lines[number].partition("=")
        if rng.random() < 0.2:
            lines[number] = f"{rng.choice(['other', 'name', 'phrases', 'check', 'male'])} ={value}"
            name = "another key"
        else:
            lines[number] = f"{key}= {rng.choice(VALUES)}"
            name = f"{key.strip()}: another value"
        path.write_text("\n".join(lines), encoding="utf-8")
        return name

    @staticmethod
    def _edit_text(path, rng):
        from tests.fixtures.mutations import BYTES, LINES, edit_bytes

        if rng.random() < 0.5:
            name = rng.choice(sorted(BYTES))
            edit_bytes(path, rng, BYTES[name])
        else:
            name = rng.choice(sorted(LINES))
            edit_lines(path, rng, LINES[name])
        return name

    def _build(self, arguments, folder, mutation):
        """What is accepted can be built: four pictures, whose raw build and release are found sound."""
        raw, out = folder / "raw", folder / "release"
        arguments = [*arguments, "--limit", "4", "--raw", raw, "--out", out, *BUILD]
        stand_ins = {"load": Model, "build_checks": standin.checks}
        if mutation.run("generate", generate, *map(str, arguments), most=1000, **stand_ins).status != 0:
            mutation.by_hand = True
            return
        if mutation.run("verify", verify, str(raw)).status != 0:
            mutation.fault("believed", "the build that was made of it is not sound")
        said = mutation.run("lint", lint, str(out), "--allow-preview", "--allow-incomplete")
        if said.status != 0:
            mutation.fault("believed", f"its release has faults: {said.out[:200]}")


# ---------------------------------------------------------------------------------------------------------------------
# the whole

KINDS = ("tables", "builds", "releases")


class World:
    """What is mutated, made once in each process."""

    def __init__(self, folder):
        self.builds = Builds(folder)
        self.tables = Tables(self.builds)
        self.releases = Releases(self.builds)
        self.folder = folder

    def mutate(self, kind, seed, number):
        """The mutation of this number; the same for the same seed."""
        rng = random.Random(f"{seed}/{kind}/{number}")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return getattr(self, kind).mutate(rng, Path(folder))


def work(kind, seed, number):
    """A task of a pool's process."""
    return kind, number, WORLD[0].mutate(kind, seed, number)


WORLD = []


def begin(folder):
    """Make what is mutated, in a folder of a pool's process's own."""
    WORLD.append(World(Path(tempfile.mkdtemp(dir=folder))))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=600, help="in all, a third of each kind (default: 600)")
    parser.add_argument("--only", choices=KINDS, help="of this kind alone")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: 0)")
    parser.add_argument("--number", type=int, help="the mutation of this number alone, and all that was said")
    parser.add_argument("--processes", type=int, default=2, help="at once (default: 2)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args(arguments)
    kinds = [options.only] if options.only else KINDS
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.number is not None:
            begin(folder)
            for kind in kinds:
                mutation = WORLD[0].mutate(kind, options.seed, options.number)
                print(*mutation.said, mutation.faults or "no fault", sep="\n\n")
            return 0
        each = options.mutations // len(kinds)
        tasks = [(kind, options.seed, number) for number in range(each) for kind in kinds]
        found = run(tasks, Path(folder), options.processes)
    return print_table(found)


def run(tasks, folder, processes):
    """Do every task; returns (kind, number, mutation) of each."""
    found, began = [], time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, begin, (folder,)) as pool:
        for each in pool.map(work, *zip(*tasks), chunksize=4):
            found.append(each)
            kind, number, mutation = each
            for column, text in mutation.faults.items():
                print(f"{kind} {number} ({mutation.name}): {column}: {text}"[:400], flush=True)
            if len(found) % 500 == 0:
                rate = len(found) / (time.monotonic() - began)
                print(
                    f"{len(found):,} of {len(tasks):,}, {rate:.1f}/s, {(len(tasks) - len(found)) / rate / 60:.0f} min left"
                )
    return found


def print_table(found):
    """A row for every kind and target; returns the exit status."""
    rows = {}
    for kind, _, mutation in found:
        target = mutation.name.partition(":")[0] if kind != "tables" else "all"
        rows.setdefault((kind, target), []).append(mutation)
    names = ["mutations", *BAD, "by hand"]
    print(f"{'kind':<10}{'of':<18}" + "".join(f"{name:>12}" for name in names))
    for (kind, target), some in [*sorted(rows.items()), (("all", ""), [each for _, _, each in found])]:
        counts = [len(some), *(sum(column in each.faults for each in some) for column in BAD)]
        counts.append(sum(each.by_hand for each in some))
        print(f"{kind:<10}{target:<18}" + "".join(f"{count:>12,}" for count in counts))
    return 1 if any(mutation.faults for _, _, mutation in found) else 0


if __name__ == "__main__":
    sys.exit(main())
