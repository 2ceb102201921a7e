"""A dataset repository on the Hub: what lies there, what is missing, and how it gets there whole.

Bytes are sent first and become visible later, by commits of which the last brings the card. A commit whose answer is
lost is looked for at the branch's head before it is made again.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    RepoFile,
    get_token,
    is_offline_mode,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from builder import UserError, patience
from builder.outgoing import is_same
from builder.patience import is_passing, one_line, patient, status
from builder.release import MARK

FILES_AT_ONCE = 4
"""Files in flight: what a kill can make to be sent again."""
OURS = re.compile(r"^# built with .*fingerprint \w+")
TITLE = re.compile(r"Release|Data, part \d+ of \d+")
"""What this tool's commits are called, and so the pull requests that they open."""


class Remote:
    """A branch of a dataset repository; with `asks`, a pull request to it, found by `resume` or opened by a commit.

    `name` is the user's, once it is known.
    """

    def __init__(self, repo_id: str, revision: str = "main", asks: bool = False):
        self.api = HfApi(library_name="agfd30k")
        self.repo_id = repo_id
        self.revision = revision
        self.asks = asks
        self.staged = False
        self.pull_request = self.name = ""
        self.where = {"repo_id": repo_id, "repo_type": "dataset"}

    def user(self) -> str:
        """The name behind the token. Raises UserError where there is no token, or it is not known, or no network."""
        if is_offline_mode():
            raise UserError("the Hub's client is offline: unset HF_HUB_OFFLINE")
        if not get_token():
            raise UserError("no access token: log in with `hf auth login`, or set HF_TOKEN to one that may write")
        try:
            self.name = patient("who am I", lambda: self.api.whoami()["name"])
            return self.name
        except HfHubHTTPError as error:
            if status(error) in (401, 403):
                raise UserError("the access token is not valid: log in with `hf auth login`, or set HF_TOKEN") from None
            raise

    def head(self) -> str | None:
        """The branch's last commit; None where there is no repository, or no such branch, that the token may see."""
        try:
            return patient("read", lambda: self.api.repo_info(**self.where, revision=self.revision)).sha
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None

    def exists(self) -> bool:
        """True when the repository is there and the token may see it."""
        return patient("read", lambda: self.api.repo_exists(**self.where))

    def require_writable(self) -> None:
        """Raise UserError unless the token may write."""
        try:
            patient("check the token", lambda: self.api.auth_check(**self.where, write=True))
        except HfHubHTTPError as error:
            if status(error) in (401, 403, 404):
                raise UserError(f"{self.repo_id}: the access token may not write there") from None
            raise

    def create(self) -> None:
        """Make the repository, private."""
        try:
            patient("create", lambda: self.api.create_repo(**self.where, private=True, exist_ok=True))
        except HfHubHTTPError as error:
            if status(error) in (401, 403):
                raise UserError(
                    f"{self.repo_id}: the access token may not create this dataset ({one_line(error)})"
                ) from None
            raise

    def validate_card(self, path: Path) -> None:
        """Raise UserError where the Hub does not accept the card's YAML; nothing was sent then."""
        card = DatasetCard(path.read_text(encoding="utf-8"))
        try:
            patient("check the card", card.validate)
        except ValueError as error:
            raise UserError(f"{self.repo_id}: the Hub refuses the card: {one_line(error)}") from None

    def create_branch(self) -> None:
        """Make the branch where there is none."""
        patient("branch", lambda: self.api.create_branch(**self.where, branch=self.revision, exist_ok=True))

    def tree(self, revision: str | None = None) -> dict[str, RepoFile]:
        """Every file at a commit, or at the head."""
        entries = patient(
            "read",
            lambda: list(self.api.list_repo_tree(**self.where, recursive=True, revision=revision or self.revision)),
        )
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def is_ours(self, tree: dict[str, RepoFile]) -> bool:
        """True when nothing lies there, or a release of this tool, or the beginning of one."""
        if set(tree) <= {".gitattributes"}:
            return True
        card, recipe = self._text("README.md", tree), self._text("recipe.toml", tree)
        return bool(MARK.search(card) or (not card and OURS.match(recipe)))

    def require_unedited(self, tree: dict[str, RepoFile], card: CommitOperationAdd) -> None:
        """Raise UserError where the card there is of the same release, by its mark, with a text that would be lost."""
        if is_same(card, tree.get("README.md")):
            return
        there = MARK.search(self._text("README.md", tree))
        here = MARK.search(Path(card.path_or_fileobj).read_text(encoding="utf-8", errors="replace"))
        if there and here and there[0] == here[0]:
            raise UserError(
                f"{self.repo_id}: the card there has another text, of the same release: bring what was edited there "
                "into README.md here, or replace it with --force"
            )

    def _text(self, name: str, tree: dict[str, RepoFile]) -> str:
        if name not in tree:
            return ""
        try:
            wanted = {**self.where, "filename": name, "revision": self.revision}
            path = patient("read", lambda: self.api.hf_hub_download(**wanted))
        except RemoteEntryNotFoundError:
            return ""
        return Path(path).read_text(encoding="utf-8", errors="replace")

    def send_bytes(self, operations: Sequence[CommitOperationAdd]) -> None:
        """Send what the files hold, without a commit: nobody sees them yet, and what has arrived is not sent again."""
        patient("send", lambda: self._send(operations))

    def _send(self, operations: Sequence[CommitOperationAdd]) -> None:
        self.api.preupload_lfs_files(
            **self.where,
            additions=operations,
            revision=self.revision,
            create_pr=self.asks,
            num_threads=FILES_AT_ONCE,
            free_memory=False,
        )

    def commit(self, adds: Sequence[CommitOperationAdd], deletes: Sequence[str], message: str) -> str:
        """Make one commit of files whose bytes are sent; returns its id.

        An answer that was lost, and a head that somebody else moved meanwhile (412), are settled by reading the head:
        if all is there as wanted the commit was made, else it is made on the new head. A pull request that may
        have been opened is looked for; where it is not found, another is opened only if it is one to `merge`.
        """
        parent = self.head()
        for pause in (*patience.PAUSES, None):
            try:
                return self._commit(adds, deletes, message, parent)
            except Exception as error:
                if not (is_passing(error) or status(error) == 412):
                    raise
                failure = error
            if pause is not None:
                patience.rest("commit", failure, pause)
            if self.asks and status(failure) != 429 and not self.resume() and not self.staged:
                raise self._lost_request(failure)
            parent, tree = self.head(), self.tree()
            there = all(is_same(add, tree.get(add.path_in_repo)) for add in adds)
            if parent and there and not set(deletes) & set(tree):
                return parent
            deletes = [name for name in deletes if name in tree]
        raise failure

    def _commit(self, adds: Sequence[CommitOperationAdd], deletes: Sequence[str], message: str, parent: str | None):
        made = self.api.create_commit(
            **self.where,
            operations=[*adds, *(CommitOperationDelete(name) for name in deletes)],
            commit_message=message,
            revision=self.revision,
            parent_commit=parent,
            create_pr=self.asks,
        )
        if self.asks:
            self._go_on(made.pr_revision, made.pr_url, "opened")
        return made.oid

    def _go_on(self, revision: str, url: str, how: str) -> None:
        self.asks, self.revision, self.pull_request = False, revision, url
        print(f"{how} {url}" + ", to be merged when all is there" * self.staged, file=sys.stderr, flush=True)

    def stage(self) -> bool:
        """From now on commit to a pull request, which `merge` shows as a whole; True where one is resumed."""
        self.asks = self.staged = True
        return self.resume()

    def resume(self) -> bool:
        """Go on in the pull request that an earlier run of the user's left open; True where there is one.

        It begins at the branch's head and holds commits of this tool alone. Any other that this tool may have opened is
        named and left alone.
        """
        head, asked = self.head(), {"author": self.name, "discussion_type": "pull_request", "discussion_status": "open"}
        for found in patient("read", lambda: list(self.api.get_repo_discussions(**self.where, **asked))):
            if not TITLE.fullmatch(found.title):
                continue
            if self._may_resume(head, found.num, found.git_reference):
                self._go_on(found.git_reference, found.url, "going on in")
                return True
            print(f"{found.url} is still open; close it unless it is wanted", file=sys.stderr, flush=True)
        return False

    def _may_resume(self, head: str | None, number: int, revision: str) -> bool:
        known = patient("read", lambda: self.api.get_discussion_details(**self.where, discussion_num=number))
        commits = patient("read", lambda: list(self.api.list_repo_commits(**self.where, revision=revision)))
        own = list(itertools.takewhile(lambda commit: commit.commit_id != head, commits))
        ours = len(own) < len(commits) and all(TITLE.fullmatch(commit.title) for commit in own)
        return ours and known.target_branch == f"refs/heads/{self.revision}"

    def merge(self) -> str:
        """Merge what was staged; returns the commit. A lost answer is settled by reading what is there."""
        number, wanted = int(self.pull_request.rpartition("/")[2]), self._names(self.revision)
        patient(
            "merge",
            lambda: self.api.merge_pull_request(**self.where, discussion_num=number),
            lambda: True if self._names("main") == wanted else None,
        )
        self.revision, self.pull_request, self.staged = "main", "", False
        return self.head() or ""

    def _names(self, revision: str) -> dict[str, str]:
        return {path: file.blob_id for path, file in self.tree(revision).items()}

    def _lost_request(self, error: Exception) -> UserError:
        """A pull request that was not found may be opened yet: the user has to look."""
        place = f"{self.api.endpoint}/datasets/{self.repo_id}/discussions"
        return UserError(
            f"{self.repo_id}: {one_line(error)}; see whether the pull request was opened all the same, at {place}, "
            "before you run it again"
        )

    def tag_commit(self, tag: str) -> str | None:
        """The commit that a tag stands for, None where there is no such tag."""
        refs = patient("read", lambda: self.api.list_repo_refs(**self.where))
        return next((ref.target_commit for ref in refs.tags if ref.name == tag), None)

    def tag(self, tag: str, commit: str) -> None:
        """Tag a commit; a tag that already stands for it is left alone."""
        if self.tag_commit(tag) != commit:
            patient(
                "tag",
                lambda: self.api.create_tag(**self.where, tag=tag, revision=commit),
                lambda: True if self.tag_commit(tag) == commit else None,
            )

    def is_private(self) -> bool:
        """True while only those who may write can see the dataset."""
        return bool(patient("read", lambda: self.api.repo_info(**self.where)).private)

    def publish(self) -> None:
        """Let everyone see it."""
        patient("publish", lambda: self.api.update_repo_settings(**self.where, private=False))
