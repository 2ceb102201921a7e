"""Publish a release: lint it, send it, load it back, then tag it and make it public."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import RepoFile
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

import agfd30k
from builder.common import retry
from builder.common.errors import UserError
from builder.dataset.folder import Release
from builder.hub import branch as hub_branch
from builder.hub import changes as hub_changes
from builder.hub import readback
from builder.hub.changes import say
from builder.linting import lint

REPO_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]{0,95}")


@dataclass(frozen=True)
class PublishConfig:
    """Which release is published, where and how; the fields are the command's flags. `repo_id` is owner/name."""

    folder: Path
    repo_id: str
    revision: str = "main"
    create_pr: bool = False
    tag: str | None = None
    public: bool = False
    dry_run: bool = False
    verify_only: bool = False
    thorough: bool = False
    allow_preview: bool = False
    allow_incomplete: bool = False
    force: bool = False
    append: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for a name that the Hub does not allow, or wishes that contradict each other."""
        if fault := repo_id_fault(self.repo_id):
            raise UserError(f"--repo-id: {fault}")
        if self.create_pr and (self.tag or self.public):
            raise UserError(
                "--create-pr goes with neither --tag nor --public: merge it first, then --verify-only --tag"
            )


def repo_id_fault(text: str) -> str:
    """Return why this is no name of a dataset on the Hub, "" for one that is."""
    if not REPO_ID.fullmatch(text):
        return f"must be owner/name, got {text!r}"
    try:
        validate_repo_id(text)
    except HFValidationError as error:
        return f"must be owner/name: {error}"
    return ""


class Publisher:
    """Publishes one release."""

    def __init__(self, config: PublishConfig):
        self.config = config
        self.release = Release(config.folder, config.repo_id.partition("/")[2])
        self.branch = hub_branch.Branch(config.repo_id, config.revision, opens_pull_request=config.create_pr)

    @property
    def default_config(self) -> str:
        """The config that is loaded where none is named."""
        return self.release.default_config

    def run(self) -> None:
        """Lint, send, verify, tag and publish. Raises UserError at the first fault, also for what the Hub answers."""
        try:
            self._run()
        except UserError:
            raise
        except Exception as error:  # the Hub's client raises many kinds
            if not (isinstance(error, OSError) or retry.status(error) or retry.is_passing(error)):
                raise
            again = "; run it again to go on" if retry.is_passing(error) else ""
            raise UserError(f"{self.config.repo_id}: {retry.one_line(error)}{again}") from error

    def _run(self) -> None:
        snapshot = self._lint()
        if self.config.dry_run:
            print(self._would_send())
            return
        say(f"reading {len(self.release.files)} files")
        try:
            self._publish(hub_changes.LocalFiles(snapshot))
        except Exception:
            snapshot.require_same()  # a file that has changed or is gone makes many things fail
            raise

    def _publish(self, local: hub_changes.LocalFiles) -> None:
        infos = self.release.card[0]["dataset_info"]
        unpacked = max(info.get("dataset_size") or 0 for info in infos)
        readback.require_room(local.bytes(self.release.parquet) + unpacked)
        user = self.branch.user()
        if self.config.verify_only:
            commit = self.branch.head()
            if commit is None:
                raise UserError(f"{self.config.repo_id}: there is no such dataset or branch that {user} may see")
            self._require_tag(commit)
        else:
            self._prepare(user, local)
            self._require_tag(self.branch.head(), changes=any(hub_changes.differences(local, self.branch.tree())))
            commit = self._send(local)
        self._verify(local, commit)
        self._finish(commit)

    def _lint(self) -> hub_changes.Snapshot:
        """Check the release; return a snapshot of its files, made before. Raises UserError for a fault."""
        if not self.release.folder.is_dir():
            raise UserError(f"{self.release.folder}: there is no such folder; make it with builder/generate.py")
        if agfd30k.is_raw(self.release.folder):
            make = f"agfd30k release --raw {self.release.folder}"
            raise UserError(f"{self.release.folder}: a raw build, not a release; run `{make}` first")
        config, faults = self.config, []
        snapshot = hub_changes.Snapshot(self.release.folder, self.release.files)
        for fault in lint.check(self.release, config.thorough, config.allow_preview, config.allow_incomplete):
            print(f"  {fault}", file=sys.stderr)
            faults.append(fault)
        if faults:
            count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
            raise UserError(f"{self.release.folder}: {count}, nothing was sent")
        for note in lint.notes(self.release):
            say(f"note: {note}")
        say(f"{self.release.folder}: no faults")
        return snapshot

    def _would_send(self) -> str:
        names = self.release.files
        sizes = {name: (self.release.folder / name).stat().st_size for name in names}
        commits = len(hub_changes.commit_batches(names, first=True))
        lines = [f"  {size:>15,}  {name}" for name, size in sizes.items()]
        amount = f"{len(names)} files, {sum(sizes.values()):,} bytes, {commits} commit{'s' * (commits > 1)}"
        return "\n".join([*lines, f"would send to {self.config.repo_id} at most {amount}; nothing was sent"])

    def _prepare(self, user: str, local: hub_changes.LocalFiles) -> None:
        """Create the repository if need be, and refuse it before a byte is sent.

        Raises UserError unless it may be written to, is empty or holds a release of this tool, and has no file that
        would keep the release from loading.
        """
        branch, config = self.branch, self.config
        branch.validate_card(self.release.folder / "README.md")
        if not branch.exists():
            branch.create()
            say(f"{user} made {config.repo_id}, private")
        if not config.create_pr:
            branch.require_writable()
        if branch.head() is None:
            branch.create_branch()
        if config.create_pr:
            base = branch.tree()
            if branch.resume():
                self._require_own(local, base)
        tree = branch.tree()
        if not (config.force or branch.is_own_release(tree)):
            raise UserError(
                f"{config.repo_id}: holds a dataset that this tool did not make; choose another name, or replace it "
                "with --force"
            )
        if not config.force:
            branch.require_unedited(tree, local.files["README.md"])
        globs = [glob for splits in self.release.configs().values() for globs in splits.values() for glob in globs]
        hub_changes.require_loadable(config.repo_id, local, tree, globs)

    def _require_tag(self, head: str | None, changes: bool = False) -> None:
        """Raise UserError unless the tag is free, or stands for a head that needs no changes."""
        tag = self.config.tag
        tagged = self.branch.tag_commit(tag) if tag else None
        if tagged and (changes or tagged != head):
            raise UserError(f"{self.config.repo_id}: the tag {tag} stands for another commit already; choose a new one")

    def _send(self, local: hub_changes.LocalFiles) -> str:
        """Send the missing files; return the commit that holds the release."""
        tree = self.branch.tree()
        missing, old = self._differences(local, tree)
        # A card that is there would show old and new files side by side.
        base, needs_staging = tree, len(missing) > hub_changes.FILES_A_COMMIT and "README.md" in tree
        if needs_staging and self.branch.revision == "main" and not self.config.create_pr and self.branch.stage():
            tree = self._require_own(local, base)
            missing, old = self._differences(local, tree)
        kept = len(local.files) - len(missing)
        say(f"{kept} of {len(local.files)} files are there; {len(missing)} to send, {local.bytes(missing):,} bytes")
        commit, parts = self.branch.head() or "", hub_changes.commit_batches(missing, first="README.md" not in tree)
        progress = hub_changes.UploadProgress(local.bytes(missing))
        for number, names in enumerate(parts, 1):
            for start in range(0, len(names), hub_branch.FILES_AT_ONCE):
                group = names[start : start + hub_branch.FILES_AT_ONCE]
                self.branch.send_bytes([local.files[name] for name in group])
                progress.add(local.bytes(group))
            local.snapshot.require_same()
            last = number == len(parts)
            title = "Release" if last else f"Data, part {number} of {len(parts)}"
            commit = self.branch.commit([local.files[name] for name in names], old if last else (), title)
        if old and not parts:
            commit = self.branch.commit((), old, "Release")
        if not self.branch.is_staged:
            return commit
        local.snapshot.require_same()
        self._require_own(local, base, is_whole=True)
        return self.branch.merge()

    def _require_own(
        self, local: hub_changes.LocalFiles, base: dict[str, RepoFile], is_whole: bool = False
    ) -> dict[str, RepoFile]:
        """Return the files of the pull request that is gone on with; `base` are those that it began with.

        Raises UserError where it changes any file that this upload does not, or, once it `is_whole`, lacks a change.
        """
        tree = self.branch.tree()
        missing, old = self._differences(local, tree)
        changed = hub_changes.foreign(local, base, tree, [*old, *self._differences(local, base)[1]])
        if is_whole:
            changed = [*changed, *missing, *old]
        if changed:
            raise UserError(
                f"{self.config.repo_id}: {changed[0]} is not of this upload: close the pull request "
                f"{self.branch.pull_request}, and run it again"
            )
        return tree

    def _differences(self, local: hub_changes.LocalFiles, tree: dict[str, RepoFile]) -> tuple[list[str], list[str]]:
        """Return the files to send and those to delete."""
        return hub_changes.differences(local, tree)

    def _verify(self, local: hub_changes.LocalFiles, commit: str) -> None:
        """Raise UserError unless the commit holds the files that were checked, and loads."""
        local.snapshot.require_same()
        missing, old = hub_changes.differences(local, self.branch.tree(commit))
        if missing or old:
            differing = [*missing, *old]
            count = f"{len(differing)} files differ" if len(differing) > 1 else "one file differs"
            raise UserError(f"{self.config.repo_id}: {differing[0]} is not what is here ({count})")
        say(f"verified: {len(local.files)} files are the same there, by size and digest; loading them back")
        infos = self.release.card[0]["dataset_info"]
        expected = {i["config_name"]: {split["name"]: split["num_examples"] for split in i["splits"]} for i in infos}
        readback.read_back(self.config.repo_id, commit, expected)

    def _finish(self, commit: str) -> None:
        """Tag the commit and make it public, as far as that was asked for, and say where it is."""
        if self.config.tag:
            self.branch.tag(self.config.tag, commit)
            say(f"tagged {self.config.tag}")
        if self.config.public and self.branch.is_private():
            self.branch.publish()
        place = self.branch.pull_request or f"{self.branch.api.endpoint}/datasets/{self.config.repo_id}"
        visibility = "private" if self.branch.is_private() else "public"
        name = self.branch.revision
        argument = "" if name == "main" else f', revision="{name}"'
        loads = f'load_dataset("{self.config.repo_id}", "{self.default_config}"{argument})'
        print(f"{place} ({visibility}) holds the release: {loads}")
