"""Append rows to a published dataset: find those that it lacks, send them as new files, let them be seen in one commit.

Nothing that is there is renamed, changed or deleted but the small files that describe it, and of it nothing is
downloaded but these and the labels. The commit is made on the head that was compared, or not at all.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import HfFileSystem, RepoFile, get_token
from PIL import Image

from builder.common.errors import UserError
from builder.common.retry import with_retries
from builder.dataset import appended, appending, folder
from builder.dataset.appending import Comparison
from builder.dataset.parquet import ALIGNED, Written, default_config
from builder.dataset.recount import Told
from builder.hub import changes as hub_changes
from builder.hub import metadata, readback
from builder.hub.changes import LocalFiles, Snapshot, say
from builder.hub.publisher import Publisher

SMALL = ("README.md", "recipe.toml", "croissant.json", "assets/*.json", metadata.FILES)
"""What is downloaded of what is published: labels and what describes it."""
SHEETS = "assets/*.webp"
BLOCK = 2**16
"""Bytes that are asked for at once of a file of which little is read."""


class Appender(Publisher):
    """Appends what a release has, and a published one lacks, to that."""

    default = ""

    @property
    def default_config(self) -> str:
        """The config that is loaded where none is named."""
        return self.default

    def _run(self) -> None:
        snapshot = self._lint()
        release = self.release.folder.resolve()
        stage = release.parent / f".{release.name}.append"
        with folder.alone(stage):
            shutil.rmtree(stage, ignore_errors=True)  # of a run that was killed
            try:
                self._append(stage, snapshot)
            finally:
                shutil.rmtree(stage, ignore_errors=True)

    def _append(self, stage: Path, snapshot: Snapshot) -> None:
        """Append what is new; `stage` is where its files are written."""
        tree = self._require_published(self.branch.user())
        published, comparison = self._compare(tree)
        for line in self._found(comparison):
            say(line)
        if not comparison.rows:
            self._end(published)
            return
        if self.config.verify_only:
            raise UserError(f"{self.config.repo_id}: {comparison.rows:,} rows of this release are not there")
        self._require_tag(self.branch.base, changes=True)
        self._require_room(stage.parent, comparison)
        stage.mkdir()
        written = self._write(stage, tree, published, comparison)
        local = LocalFiles(Snapshot(stage, sorted(p.relative_to(stage).as_posix() for p in _files(stage))))
        snapshot.require_same()
        self._require_one_commit(local, tree)
        if self.config.dry_run:
            print(self._would_append(local, tree))
            return
        self._send_all(local, tree, written)

    def _require_published(self, user: str) -> dict[str, RepoFile]:
        """Return the files that are published. Raises UserError where there is no release, or it may not be written."""
        branch, config = self.branch, self.config
        head = branch.head()
        if head is None:
            raise UserError(f"{config.repo_id}: there is no such dataset or branch that {user} may see")
        if not (config.create_pr or config.dry_run or config.verify_only):
            branch.require_writable()
        branch.base = head
        tree = branch.tree(head)
        if "README.md" not in tree or not branch.is_own_release(tree):
            raise UserError(
                f"{config.repo_id}: holds no release of this tool to append to; send one first, without --append"
            )
        self._require_whole_batches(tree)
        return tree

    def _require_whole_batches(self, tree: dict[str, RepoFile]) -> None:
        """Raise UserError where a batch has pictures without labels, or the other way round."""
        pictures, labels = (
            {folder.batch_of(name) for name in tree if name.startswith(place)} - {0} for place in ("data/", "metadata/")
        )
        if pictures != labels:
            part = f"more{min(pictures ^ labels):03d}"
            raise UserError(
                f"{self.config.repo_id}: of the batch -{part}- only a part is there, of an append that was "
                f"stopped: delete all files with -{part}- in their names there, and run it again"
            )

    def _require_one_commit(self, local: LocalFiles, tree: dict[str, RepoFile]) -> None:
        """Raise UserError where the append would be half visible between its commits."""
        most, config = hub_changes.FILES_A_COMMIT, self.config
        count = len(self._differences(local, tree)[0])
        if count > most and config.revision != "main" and not config.create_pr:
            raise UserError(
                f"--revision {config.revision}: {count} files are more than the {most} of one commit, and would be "
                "seen in part: append with --create-pr too, and merge that"
            )

    def _compare(self, tree: dict[str, RepoFile]) -> tuple[appended.Published, Comparison]:
        """Compare the release with what is published. Raises UserError where it cannot be appended."""
        name, here = self.config.repo_id, Told.of(self.release.folder)
        say(f"{name}: reading the labels that are there")
        there = metadata.download(name, self.branch.base, SMALL)
        told = Told.of(there, name)
        published = appended.Published(folder.Release(there), list(tree), told)
        appended.require_same_recipe(told, here, name)
        appended.require_same_configs(published.release, self.release, name)
        comparison = Comparison.of(there, self.release.folder, here.duplicates, name)
        if comparison.rows and not self.config.force:
            own = appended.own_lines(published, comparison, self.release)
            if own:
                raise UserError(
                    f"{name}: the card there was edited, or is another version's: {own[0][:60]!r} would be lost; write "
                    "it anew all the same with --force"
                )
        if comparison.rows:
            self._require_same_sides(tree)
        return published, comparison

    def _require_same_sides(self, tree: dict[str, RepoFile]) -> None:
        """Raise UserError unless aligned faces are as large as those that are published, by the first one of each."""
        names = [min(filter(_is_aligned, some), default=None) for some in (tree, self.release.parquet)]
        if None in names:
            return
        address = f"datasets/{self.config.repo_id}@{self.branch.base}/{names[0]}"
        hub = HfFileSystem(endpoint=self.branch.api.endpoint, token=get_token(), skip_instance_cache=True)
        there = with_retries("read", lambda: _first_size(hub.open(address, block_size=BLOCK)))
        here = _first_size((self.release.folder / str(names[1])).open("rb"))
        if there != here:
            sides = "{}×{}".format(*here), "{}×{}".format(*there)
            raise UserError(
                f"{self.release.folder}: its aligned faces are of {sides[0]} pixels, those of {self.config.repo_id} of "
                f"{sides[1]}; make the release anew with --aligned {there[0]}"
            )

    def _found(self, comparison: Comparison) -> Iterator[str]:
        total = sum(comparison.published.values())
        yield f"{total:,} rows are there; {comparison.rows:,} of this release are new"
        if comparison.copies:
            count, first = len(comparison.copies), min(comparison.copies)
            which = f"first {first}, in {comparison.copies[first]} of 64 bits"
            yield f"{count:,} more look like a picture that is there ({which}): they are left out, and count as missing"

    def _require_room(self, place: Path, comparison: Comparison) -> None:
        """Raise UserError unless the disk has room for the new files, by the mean of the release's rows."""
        data = sum((self.release.folder / name).stat().st_size for name in self.release.parquet)
        rows = comparison.rows + sum(comparison.shared.values())
        needed, free = data * comparison.rows // rows, shutil.disk_usage(place).free
        if free < needed:
            raise UserError(f"{place}: {free / 1e9:,.2f} GB are free, and the new files take {needed / 1e9:,.2f} GB")

    def _write(
        self, stage: Path, tree: dict[str, RepoFile], published: appended.Published, comparison: Comparison
    ) -> list[Written]:
        """Write the new files, and what describes all."""
        batch = appending.next_batch(tree)
        say(f"writing {comparison.rows:,} rows into files of their own (-more{batch:03d}-)")
        written = appending.written_rows(self.release, stage, comparison.new, batch)
        found = comparison.recount.found
        both = appended.contents(published, Told.of(self.release.folder), comparison, stage)
        self.configs = appended.configs(published, self.release, written, found)
        self.default = default_config(self.configs)
        if appended.lacks_pictures(published, self.release):
            metadata.download(self.config.repo_id, self.branch.base, [*SMALL, SHEETS])
        appended.describe(stage, both, self.configs, published, self.release, self.release.folder.resolve().name)
        return written

    def _would_append(self, local: LocalFiles, tree: dict[str, RepoFile]) -> str:
        missing, _ = self._differences(local, tree)
        lines = [f"  {local.bytes([name]):>15,}  {name}" for name in missing]
        amount = f"{len(missing)} files, {local.bytes(missing):,} bytes"
        return "\n".join([*lines, f"would append to {self.config.repo_id} {amount}; nothing was sent"])

    def _differences(self, local: LocalFiles, tree: dict[str, RepoFile]) -> tuple[list[str], list[str]]:
        """Return the files to send: nothing is deleted."""
        return hub_changes.differences(local, tree)[0], []

    def _send_all(self, local: LocalFiles, tree: dict[str, RepoFile], written: list[Written]) -> None:
        self.branch.validate_card(local.snapshot.folder / "README.md")
        globs = [glob for config in self.configs.values() for some in config.patterns.values() for glob in some]
        strangers = {name: file for name, file in tree.items() if name not in self._meant(tree)}
        hub_changes.require_loadable(self.config.repo_id, local, strangers, globs)
        if self.config.create_pr and self.branch.resume():
            self._require_own(local, tree)
        commit = self._send(local)
        self._require_kept(local, tree, commit)
        expected = {
            name: {split: size.rows for split, size in config.splits.items()} for name, config in self.configs.items()
        }
        new = {f"{file.place}/{file.name}": file.rows for file in written}
        say(f"verified: {len(tree)} files are there as before, {len(new)} Parquet files are new; loading them back")
        files = {name: _meant(config.patterns, {*tree, *new}) for name, config in self.configs.items()}
        readback.look_back(self.config.repo_id, commit, expected, files, new)
        self._finish(commit)

    def _meant(self, tree: Iterable[str]) -> set[str]:
        return {name for name in tree if folder.DATA.fullmatch(name) or folder.FIRST.fullmatch(name)}

    def _require_kept(self, local: LocalFiles, tree: dict[str, RepoFile], commit: str) -> None:
        """Raise UserError unless a commit has all that was there before, and all that was sent."""
        now = self.branch.tree(commit)
        lost = [name for name in tree if name not in local.files and _id(now.get(name)) != tree[name].blob_id]
        lost += self._differences(local, now)[0]
        if lost:
            raise UserError(f"{self.config.repo_id}: {lost[0]} is not as it should be after the append")

    def _end(self, published: appended.Published) -> None:
        """Nothing is to be sent, since an earlier run has: look at what is there, tag it and make it public."""
        say("nothing to append: every row is there")
        configs, sizes = published.release.configs(), published.sizes()
        self.default = published.release.default_config
        if self.config.dry_run:
            return
        base = self.branch.base or ""
        self._require_tag(base)
        if lost := sorted(configs.keys() - sizes.keys()):
            raise UserError(
                f"{self.config.repo_id}: its card does not say how many rows {lost[0]} has; send the whole anew, "
                "without --append"
            )
        expected = {name: {split: size.rows for split, size in sizes[name][0].items()} for name in configs}
        files = {name: _meant(patterns, published.files) for name, patterns in configs.items()}
        last = max(map(folder.batch_of, published.files), default=0)
        new = dict.fromkeys(name for name in self._meant(published.files) if folder.batch_of(name) == last)
        say(f"counting the rows of {len(self._meant(published.files))} Parquet files there")
        readback.look_back(self.config.repo_id, base, expected, files, new, count_all=True)
        self._finish(base)


def _files(stage: Path) -> Iterator[Path]:
    return (path for path in stage.rglob("*") if path.is_file())


def _is_aligned(name: str) -> bool:
    return name.startswith(f"{ALIGNED}/") and bool(folder.DATA.fullmatch(name))


def _first_size(file: Any) -> tuple[int, int]:
    """Return width and height of the first picture of an open Parquet file, of which little more than that is read."""
    with file, pq.ParquetFile(file, buffer_size=BLOCK, pre_buffer=False) as rows:
        batch = next(rows.iter_batches(1, row_groups=[0], columns=["image.bytes"]))
        with Image.open(io.BytesIO(batch["image"][0].as_py()["bytes"])) as image:
            return image.size


def _id(file: RepoFile | None) -> str | None:
    return file.blob_id if file else None


def _meant(patterns: dict[str, list[str]], names) -> dict[str, list[str]]:
    """Return the files that globs stand for, in their order."""
    return {
        split: [name for glob in globs for name in sorted(names) if PurePosixPath("/", name).match(f"/{glob}")]
        for split, globs in patterns.items()
    }
