"""A raw folder, opened: its recipe, what it was asked for, and which of its shards are finished."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from filelock import FileLock

import agfd30k
from builder.common.errors import UserError
from builder.plan.plan import Plan, Shard, ShardsByName
from builder.raw import notes, ownership
from builder.raw.layout import ASKED, DECIDED, LINES_ONLY, LOCK, RECEIPT, RECIPE, SEARCHED, SHARDS, is_folder
from builder.raw.lines import ShardLines
from builder.raw.notes import Asked, Decided, Searched
from builder.raw.ownership import read_recipe
from builder.raw.receipts import Damaged, Summary, accounted, is_done, receipt, reopened, require_sound
from builder.raw.recipe import BuildRecipe
from builder.raw.rows import Rules
from builder.raw.shard_writer import ShardWriter
from builder.raw.signing import Signer
from builder.spec.spec import Spec

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What opening a file to write ends in on media that are read-only, or another user's."""


class RawBuild:
    """A raw folder of one recipe, which is read once. `open` one that is there, or `begin` one."""

    def __init__(self, folder: Path, recipe: BuildRecipe):
        self.folder = folder
        self.recipe = recipe

    @classmethod
    def open(cls, folder: Path) -> RawBuild:
        """Return the build in a folder. Raises UserError where there is none, or its recipe is damaged."""
        recipe = read_recipe(folder)
        if recipe is None:
            raise UserError(
                f"{folder}: no raw build here (no {RECIPE}); make one with `accelerate launch builder/generate.py`"
            )
        return cls(folder, recipe)

    @classmethod
    def begin(cls, folder: Path, recipe: BuildRecipe) -> RawBuild:
        """Make a folder this recipe's own, or make sure that it already is. Raises UserError telling what differs, and
        for pictures that no safety checker would have to pass.

        What changes no picture, the licence or a comment in the table, is taken over. A folder in which another recipe
        has made nothing yet becomes this one's.
        """
        ownership.take(folder, recipe)
        return cls(folder, recipe)

    def require_free(self) -> None:
        """Raise UserError where the folder is another build's, or holds anything else."""
        ownership.require_free(self.folder, self.recipe)

    @property
    def spec(self) -> Spec:
        """The table, with the models that it was built with."""
        return self.recipe.spec

    @property
    def fingerprint(self) -> str:
        """That of the recipe."""
        return self.recipe.fingerprint

    @cached_property
    def plan(self) -> Plan:
        """The plan of the whole table, with all twins."""
        return Plan(self.spec, shard_size=self.recipe.settings.shard_size, twins=True)

    @property
    def asked(self) -> Plan:
        """The plan of what the latest run was asked for. Raises UserError where that cannot be read."""
        path, size = self.folder / ASKED, self.recipe.settings.shard_size
        asked = notes.read(Asked, path)
        try:
            if asked is None:
                return Plan(self.spec, shard_size=size)
            return Plan(self.spec, asked.only, asked.scale, asked.limit, size, asked.twins)
        except UserError as error:
            raise notes.damaged(path, error) from None

    def note_asked(self, plan: Plan) -> None:
        """Remember what the latest run was asked to make."""
        with ownership.lock(self.folder):
            choice = {"only": list(plan.only), "scale": plan.scale, "limit": plan.limit, "twins": plan.twins}
            notes.write(self.folder / ASKED, **choice)

    @property
    def decided(self) -> Decided | None:
        """What goes back because it is a duplicate, None where nothing does. Raises UserError for what cannot be."""
        decided, shards = notes.read(Decided, self.folder / DECIDED), self.shards
        for name, losers in decided.losers.items() if decided else ():
            if name not in shards or not losers.keys() <= set(self.plan.ids(shards[name])):
                raise notes.damaged(self.folder / DECIDED, f"{name} is no shard of these pictures")
        return decided

    def note_faults(self) -> dict[Path, str]:
        """Return what is wrong with the notes beside the shards, by file."""
        faults = {}
        readers: dict[str, Callable[[], object]] = {
            ASKED: lambda: self.asked,
            SEARCHED: lambda: notes.read(Searched, self.folder / SEARCHED),
            DECIDED: lambda: self.decided,
        }
        for name, read in readers.items():
            try:
                read()
            except UserError as error:
                faults[self.folder / name] = str(error)
        return faults

    def lock(self) -> FileLock:
        """Held while the whole folder is read, or pictures are taken back."""
        return FileLock(self.folder / LOCK)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock, but where nothing can be written to the folder: there it can only be read."""
        try:
            held = self.lock().acquire()
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            yield
            return
        with held:
            yield

    def shard_folder(self, shard: Shard) -> Path:
        """Return where a shard lies."""
        return self.folder / SHARDS / shard.name

    def writer(
        self, plan: Plan, shard: Shard, patience: float = 0, anew: bool = True, signer: Signer | None = None
    ) -> ShardWriter:
        """Return the writer of a shard, not yet entered; unless `anew` it does not open a shard that is done, and knows
        which try a twin begins with. Raises Reopened where a shard is not finished whose twins it would make.
        """
        is_done = (lambda: False) if anew else (lambda: self.is_done(plan, shard))
        first_tries = self.first_tries(shard.of) if shard.of and not anew else None
        return ShardWriter(self.shard_folder(shard), self.rules(shard), patience, is_done, signer, first_tries)

    def first_tries(self, shard: Shard) -> dict[str, int]:
        """Return which try each twin of a finished shard's pictures begins with: that of the picture, whose seed it
        shares. Raises Reopened where another process opens the shard at this moment.
        """
        folder = self.shard_folder(shard)
        before = require_sound(folder)
        attempts = {row["id"]: row["attempt"] for row in agfd30k.read_rows(folder)}
        if receipt(folder) != before:
            raise reopened(folder)
        twins = self.plan.whole(shard.twins).values()
        return {twin.id: attempts[twin.twin_of.id] for twin in twins if twin.twin_of and twin.twin_of.id in attempts}

    def rules(self, shard: Shard) -> Rules:
        """Return what the lines of a shard must say."""
        recipe = self.recipe
        is_hashed = any(check.name == "duplicates" for check in recipe.checks)
        whole, of_twins = self.plan.whole(shard), shard.of is not None
        return Rules(whole, self.plan, recipe.settings.image_format, recipe.made_by, is_hashed, of_twins)

    def is_done(self, plan: Plan, shard: Shard) -> bool:
        """Return True when everything that a plan asks of a shard is accounted for."""
        return is_done(self.shard_folder(shard), plan.ids(shard))

    def unfinished(self) -> list[str]:
        """Shards that the latest run was asked for and that are not done."""
        plan = self.asked
        return [shard.name for shard in plan.shards if not self.is_done(plan, shard)]

    def finished(self) -> Finished:
        """Return every shard that has its receipt.

        Raises Damaged for one that was made by another recipe, and UserError for a folder that is no shard of the plan.
        """
        self.require_no_strangers()
        done = Finished()
        for folder in agfd30k.shards(self.folder):
            facts = receipt(folder)
            if facts is not None:
                done[folder] = Summary.of(facts)
                if facts.fingerprint != self.fingerprint:
                    raise Damaged(f"{folder}: was made by another recipe", folder)
        return done

    def lines(self, folder: Path) -> ShardLines:
        """Return the lines of a shard of the plan, finished or not. Raises Damaged where one is not sound, or its
        picture is not there, but in a folder of lines alone.
        """
        return self._sound(folder, self.rules(self.shards[folder.name]))

    def _sound(self, folder: Path, rules: Rules) -> ShardLines:
        lines = ShardLines.of(folder, rules)
        if faults := lines.faults or ([] if (self.folder / LINES_ONLY).exists() else lines.lost):
            raise Damaged(str(faults[0]), folder)
        return lines

    def sound_lines(self, folder: Path) -> ShardLines:
        """Return the lines of a finished shard of the plan. Raises Damaged where one is not sound, which is Reopened
        where another process has begun to add to them meanwhile.
        """
        facts, rules = require_sound(folder), self.rules(self.shards[folder.name])
        try:
            lines = self._sound(folder, rules)
            if accounted(lines.made, lines.tries, rules) != (facts.asked, facts.unfilled):
                raise Damaged(f"{folder / RECEIPT}: not what the lines say", folder)
        except Damaged:
            if receipt(folder) != facts:
                raise reopened(folder) from None
            raise
        return lines

    @cached_property
    def shards(self) -> ShardsByName:
        """Every shard of the plan, by name."""
        return ShardsByName(self.plan.shards)

    def require_done(self, finished: Finished, plan: Plan | None) -> None:
        """Raise Reopened where something of a plan is not among finished shards."""
        if plan is None:
            return
        for shard in plan.shards:
            if not plan.ids(shard):  # a limit can leave nothing of it, and then nobody makes it
                continue
            if self.shard_folder(shard) not in finished or not self.is_done(plan, shard):
                raise reopened(self.shard_folder(shard))

    def strangers(self) -> list[Path]:
        """Return what is named like a shard and is none of the plan's, such as a copy of one, or is a link."""
        named = [path for path in (self.folder / SHARDS).glob("*-*") if agfd30k.SHARD.fullmatch(path.name)]
        return sorted(path for path in named if path.name not in self.shards or not is_folder(path))

    def require_no_strangers(self) -> None:
        """Raise UserError for a folder that is no shard of the plan: its rows would stand twice."""
        if strangers := self.strangers():
            raise UserError(
                f"{strangers[0]}: is no shard of this build's plan, perhaps a copy of one, or a link; move it elsewhere"
            )

    def require_complete(self) -> None:
        """Raise UserError where something that was asked for is not done, or duplicates were not looked for."""
        if left := self.unfinished():
            raise UserError(
                f"{self.folder}: {len(left)} shards are not done ({left[0]} first); run the builder again to finish "
                "them, or release what is done with --partial"
            )
        if not self.is_searched(self.finished(), self.asked.twins):
            raise UserError(
                f"{self.folder}: duplicates have not been looked for since the last picture was made; run the builder "
                "again, or release what is there with --partial"
            )

    def note_searched(self, shards: Finished, twins: bool = True) -> None:
        """Remember that no two pictures of these shards, which are all there are, show the same; and where `twins` were
        looked at, that they are those of the pictures that are there now.
        """
        notes.write(self.folder / SEARCHED, rows=shards.digest, twins=twins)

    def is_searched(self, shards: Finished, twins: bool = False) -> bool:
        """Return True when duplicates, and `twins` where they matter, were looked for in these very shards, or the
        table asks for no such search.
        """
        if self.spec.checks.duplicates is None:
            return True
        try:
            searched = notes.read(Searched, self.folder / SEARCHED)
        except UserError:
            return False
        return searched is not None and searched.rows == shards.digest and (searched.twins or not twins)


class Finished(dict[Path, Summary]):
    """Finished shards' folders, in the order of `agfd30k.shards`, each with what is kept of its receipt."""

    @property
    def digest(self) -> str:
        """One digest of all that they hold."""
        lines = "".join(f"{folder.name} {facts.sha256}\n" for folder, facts in self.items())
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
