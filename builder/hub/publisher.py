"""Publish a release: lint it, send it, load it back, then tag it and make it public."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import agfd30k
from builder.common.errors import UserError
from builder.dataset.folder import Release
from builder.hub import branch as hub_branch
from builder.hub import changes as hub_changes
from builder.hub import readback
from builder.hub.changes import say
from builder.linting import lint


@dataclass(frozen=True)
class PublishConfig:
    """What is published, where and how; the names are those of the command's flags. `repo_id` is owner/name."""

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


class Publisher:
    """Publishes one release."""

    def __init__(self, config: PublishConfig):
        self.config = config
        self.release = Release(config.folder, config.repo_id.partition("/")[2])
        self.remote = hub_branch.Remote(config.repo_id, config.revision, asks=config.create_pr)

    def run(self) -> None:
        """Lint, send, verify, tag, publish; raises UserError at the first thing that is not right."""
        state = self._lint()
        if self.config.dry_run:
            print(self._would_send())
            return
        say(f"reading {len(self.release.files)} files")
        try:
            self._publish(hub_changes.Local(state))
        except Exception:
            state.require_same()  # a file that has changed or is gone makes many things fail
            raise

    def _publish(self, local: hub_changes.Local) -> None:
        infos = self.release.card[0]["dataset_info"]
        unpacked = max(info.get("dataset_size") or 0 for info in infos)
        readback.require_room(local.bytes(self.release.parquet) + unpacked)
        user = self.remote.user()
        if self.config.verify_only:
            commit = self.remote.head()
            if commit is None:
                raise UserError(f"{self.config.repo_id}: there is no such dataset or branch that {user} may see")
            self._require_tag(commit)
        else:
            self._prepare(user, local)
            self._require_tag(self.remote.head(), changes=any(hub_changes.differences(local, self.remote.tree())))
            commit = self._send(local)
        self._verify(local, commit)
        self._finish(commit)

    def _lint(self) -> hub_changes.State:
        """The files as they are checked. Raises UserError for a fault."""
        if not self.release.folder.is_dir():
            raise UserError(f"{self.release.folder}: there is no such folder; make it with builder/generate.py")
        if agfd30k.is_raw(self.release.folder):
            make = f"python -m builder.release --raw {self.release.folder}"
            raise UserError(f"{self.release.folder}: a raw build, not a release; run `{make}` first")
        config, faults, state = self.config, [], hub_changes.State(self.release.folder, self.release.files)
        for fault in lint.check(self.release, config.thorough, config.allow_preview, config.allow_incomplete):
            print(f"  {fault}", file=sys.stderr)
            faults.append(fault)
        if faults:
            count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
            raise UserError(f"{self.release.folder}: {count}, nothing was sent")
        for note in lint.notes(self.release):
            say(f"note: {note}")
        say(f"{self.release.folder}: no faults")
        return state

    def _would_send(self) -> str:
        names = self.release.files
        sizes = {name: (self.release.folder / name).stat().st_size for name in names}
        commits = len(hub_changes.batches(names, first=True))
        lines = [f"  {size:>15,}  {name}" for name, size in sizes.items()]
        made = f"{len(names)} files, {sum(sizes.values()):,} bytes, {commits} commit{'s' * (commits > 1)}"
        return "\n".join([*lines, f"would send to {self.config.repo_id} at most {made}; nothing was sent"])

    def _prepare(self, user: str, local: hub_changes.Local) -> None:
        """The repository is there, may be written to, is ours or empty, and holds nothing that keeps the release from
        loading; all known before a byte is sent.
        """
        remote, config = self.remote, self.config
        remote.validate_card(self.release.folder / "README.md")
        if not remote.exists():
            remote.create()
            say(f"{user} made {config.repo_id}, private")
        if not config.create_pr:
            remote.require_writable()
        if remote.head() is None:
            remote.create_branch()
        if config.create_pr:
            remote.resume()
        tree = remote.tree()
        if not (config.force or remote.is_ours(tree)):
            raise UserError(
                f"{config.repo_id}: holds a dataset that this tool did not make; choose another name, or replace it "
                "with --force"
            )
        if not config.force:
            remote.require_unedited(tree, local.files["README.md"])
        globs = [glob for splits in self.release.configs().values() for glob in splits.values()]
        hub_changes.require_loadable(config.repo_id, local, tree, globs)

    def _require_tag(self, head: str | None, changes: bool = False) -> None:
        """The tag is free, or stands for the head, which then must be what is published."""
        tag = self.config.tag
        tagged = self.remote.tag_commit(tag) if tag else None
        if tagged and (changes or tagged != head):
            raise UserError(f"{self.config.repo_id}: the tag {tag} stands for another commit already; choose a new one")

    def _send(self, local: hub_changes.Local) -> str:
        """Send what is missing; returns the commit that holds the release."""
        tree = self.remote.tree()
        missing, old = hub_changes.differences(local, tree)
        # A card that is there would show old and new files side by side.
        parted = len(missing) > hub_changes.FILES_A_COMMIT and "README.md" in tree
        if parted and self.remote.revision == "main" and not self.config.create_pr and self.remote.stage():
            tree = self.remote.tree()
            missing, old = hub_changes.differences(local, tree)
        kept = len(local.files) - len(missing)
        say(f"{kept} of {len(local.files)} files are there; {len(missing)} to send, {local.bytes(missing):,} bytes")
        commit, parts = self.remote.head(), hub_changes.batches(missing, first="README.md" not in tree)
        pace = hub_changes.Pace(local.bytes(missing))
        for number, names in enumerate(parts, 1):
            for start in range(0, len(names), hub_branch.FILES_AT_ONCE):
                some = names[start : start + hub_branch.FILES_AT_ONCE]
                self.remote.send_bytes([local.files[name] for name in some])
                pace.after(local.bytes(some))
            local.state.require_same()
            last = number == len(parts)
            title = "Release" if last else f"Data, part {number} of {len(parts)}"
            commit = self.remote.commit([local.files[name] for name in names], old if last else (), title)
        if old and not parts:
            commit = self.remote.commit((), old, "Release")
        if not self.remote.staged:
            return commit
        local.state.require_same()
        return self.remote.merge()

    def _verify(self, local: hub_changes.Local, commit: str) -> None:
        """Raises UserError unless the commit holds the files that were checked, and loads."""
        local.state.require_same()
        wrong, old = hub_changes.differences(local, self.remote.tree(commit))
        if wrong or old:
            others = [*wrong, *old]
            count = f"{len(others)} files differ" if len(others) > 1 else "one file differs"
            raise UserError(f"{self.config.repo_id}: {others[0]} is not what is here ({count})")
        say(f"verified: {len(local.files)} files are the same there, by size and digest; loading them back")
        infos = self.release.card[0]["dataset_info"]
        expected = {i["config_name"]: {split["name"]: split["num_examples"] for split in i["splits"]} for i in infos}
        readback.read_back(self.config.repo_id, commit, expected)

    def _finish(self, commit: str) -> None:
        if self.config.tag:
            self.remote.tag(self.config.tag, commit)
            say(f"tagged {self.config.tag}")
        if self.config.public and self.remote.is_private():
            self.remote.publish()
        place = self.remote.pull_request or f"{self.remote.api.endpoint}/datasets/{self.config.repo_id}"
        seen = "private" if self.remote.is_private() else "public"
        branch = self.remote.revision
        where = "" if branch == "main" else f', revision="{branch}"'
        print(f'{place} ({seen}) holds the release: load_dataset("{self.config.repo_id}", "all"{where})')
