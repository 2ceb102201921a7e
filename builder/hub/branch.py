"""How a release gets whole to a branch of a repository on the Hub, or to a pull request.

Bytes are sent first and become visible later, by commits of which the last brings the card. A commit whose answer is
lost is looked for at the branch's head before it is made again.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from builder.common.errors import UserError
from builder.hub import retry
from builder.hub.changes import is_same
from builder.hub.repository import Repository
from builder.hub.retry import is_passing, one_line, patient, status

FILES_AT_ONCE = 4
"""Files in flight: what a kill can make to be sent again."""
TITLE = re.compile(r"Release|Data, part \d+ of \d+")
"""What this tool's commits are called, and so the pull requests that they open."""


class Remote(Repository):
    """A branch to send to; with `asks`, a pull request to it, found by `resume` or opened by a commit."""

    def __init__(self, repo_id: str, revision: str = "main", asks: bool = False):
        super().__init__(repo_id, revision)
        self.asks = asks
        self.staged = False
        self.pull_request = ""

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
        for pause in (*retry.PAUSES, None):
            try:
                return self._commit(adds, deletes, message, parent)
            except Exception as error:
                if not (is_passing(error) or status(error) == 412):
                    raise
                failure = error
            if pause is not None:
                retry.rest("commit", failure, pause)
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
