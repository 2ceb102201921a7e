"""How a release gets whole to a branch of a repository on the Hub, or to a pull request.

Bytes are sent first and become visible later, by commits of which the last brings the card. A commit whose answer is
lost is looked for at the branch's head before it is made again.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from builder.common.errors import UserError
from builder.common.retry import is_passing, one_line, status, with_retries
from builder.hub.changes import is_same
from builder.hub.repository import Repository

FILES_AT_ONCE = 4
"""Files in flight: a kill can make these be sent again."""
TITLE = re.compile(r"Release|Data, part \d+ of \d+")
"""The titles of this tool's commits, and so of the pull requests that they open."""


@dataclass
class PendingCommit:
    """A commit to be made on `parent`, of files whose bytes are sent."""

    adds: Sequence[CommitOperationAdd]
    deletes: Sequence[str]
    message: str
    parent: str | None


class Branch(Repository):
    """A branch to send to. With `opens_pull_request` a commit opens a pull request, unless `resume` found one.

    With a `base` its head must still be that commit when something is committed to it, or merged.
    """

    def __init__(self, repo_id: str, revision: str = "main", opens_pull_request: bool = False):
        super().__init__(repo_id, revision)
        self.opens_pull_request = opens_pull_request
        self.is_staged = False
        self.pull_request = ""
        self.base: str | None = None

    def send_bytes(self, operations: Sequence[CommitOperationAdd]) -> None:
        """Send the files' bytes without a commit: nobody sees them yet, and what has arrived is not sent again."""
        with_retries(
            "send",
            lambda: self.api.preupload_lfs_files(
                **self.repo,
                additions=operations,
                revision=self.revision,
                create_pr=self.opens_pull_request,
                num_threads=FILES_AT_ONCE,
                free_memory=False,
            ),
        )

    def commit(self, adds: Sequence[CommitOperationAdd], deletes: Sequence[str], message: str) -> str:
        """Make one commit of files whose bytes are sent; return its id.

        A lost answer, and a head that somebody else moved meanwhile (412), are settled by reading the head: the commit
        was made if all its changes are there, else it is made on the new head. A pull request that may have been
        opened is looked for; where it is not found, another is opened only if it is one to `merge`.
        """
        pending = PendingCommit(adds, deletes, message, self._based_head())
        commit = with_retries(
            "commit",
            lambda: self._create_commit(pending),
            lambda error: self._find_commit(pending, error),
            is_retryable=lambda error: is_passing(error) or status(error) == 412,
        )
        self.base = commit if self.base and not self.pull_request else self.base
        return commit

    def _create_commit(self, pending: PendingCommit) -> str:
        info = self.api.create_commit(
            **self.repo,
            operations=[*pending.adds, *(CommitOperationDelete(name) for name in pending.deletes)],
            commit_message=pending.message,
            revision=self.revision,
            parent_commit=pending.parent,
            create_pr=self.opens_pull_request,
        )
        if self.opens_pull_request:
            self._continue_in(info.pr_revision or "", info.pr_url or "", "opened")
        return info.oid

    def _find_commit(self, pending: PendingCommit, error: BaseException) -> str | None:
        """Return the head where it has the commit's changes already; else prepare the commit for the new head."""
        if self.opens_pull_request and status(error) != 429 and not self.resume() and not self.is_staged:
            raise self._unknown_pull_request(error)
        head, tree = self.head(), self.tree()
        has_adds = all(is_same(add, tree.get(add.path_in_repo)) for add in pending.adds)
        if head and has_adds and not set(pending.deletes) & set(tree):
            return head
        pending.parent = self._based(head)
        pending.deletes = [name for name in pending.deletes if name in tree]
        return None

    def _based_head(self) -> str | None:
        return self._based(self.head())

    def _based(self, head: str | None) -> str | None:
        """Return the branch's head. Raises UserError where somebody else has moved it since it was read."""
        is_own = self.opens_pull_request or not self.pull_request
        if self.base and is_own and head != self.base:
            raise UserError(f"{self.repo_id}: was changed by somebody else meanwhile; run it again")
        return head

    def _continue_in(self, revision: str, url: str, verb: str) -> None:
        self.opens_pull_request, self.revision, self.pull_request = False, revision, url
        print(f"{verb} {url}" + ", to be merged when all is there" * self.is_staged, file=sys.stderr, flush=True)

    def stage(self) -> bool:
        """Commit to a pull request from now on, until `merge`; return True where an open one is continued."""
        self.opens_pull_request = self.is_staged = True
        return self.resume()

    def resume(self) -> bool:
        """Continue the pull request that an earlier run of the user's left open; return True where there is one.

        It begins at the branch's head and holds commits of this tool alone. Any other that this tool may have opened is
        named and left alone.
        """
        head = self.head()
        requests = with_retries(
            "read",
            lambda: list(
                self.api.get_repo_discussions(
                    **self.repo,
                    author=self.user_name,
                    discussion_type="pull_request",
                    discussion_status="open",
                )
            ),
        )
        for request in requests:
            if not (request.git_reference and TITLE.fullmatch(request.title)):
                continue
            if self._may_resume(head, request.num, request.git_reference):
                self._continue_in(request.git_reference, request.url or "", "going on in")
                return True
            print(f"{request.url} is still open; close it unless it is wanted", file=sys.stderr, flush=True)
        return False

    def _may_resume(self, head: str | None, number: int, revision: str) -> bool:
        details = with_retries("read", lambda: self.api.get_discussion_details(**self.repo, discussion_num=number))
        commits = with_retries("read", lambda: list(self.api.list_repo_commits(**self.repo, revision=revision)))
        own = list(itertools.takewhile(lambda commit: commit.commit_id != head, commits))
        begins_at_head = len(own) < len(commits)
        is_own = begins_at_head and all(TITLE.fullmatch(commit.title) for commit in own)
        return is_own and details.target_branch == f"refs/heads/{self.revision}"

    def merge(self) -> str:
        """Merge the staged pull request; return the commit. A lost answer is settled by comparing the files."""
        if (
            self.base
            and with_retries("read", lambda: self.api.repo_info(**self.repo, revision="main")).sha != self.base
        ):
            raise UserError(f"{self.repo_id}: was changed by somebody else meanwhile; run it again")
        number, files = int(self.pull_request.rpartition("/")[2]), self._blob_ids(self.revision)
        with_retries(
            "merge",
            lambda: self.api.merge_pull_request(**self.repo, discussion_num=number),
            lambda error: True if self._blob_ids("main") == files else None,
        )
        self.revision, self.pull_request, self.is_staged = "main", "", False
        return self.head() or ""

    def _blob_ids(self, revision: str) -> dict[str, str]:
        return {path: file.blob_id for path, file in self.tree(revision).items()}

    def _unknown_pull_request(self, error: BaseException) -> UserError:
        """Return the error for a pull request that may or may not have been opened: the user has to look."""
        place = f"{self.api.endpoint}/datasets/{self.repo_id}/discussions"
        return UserError(
            f"{self.repo_id}: {one_line(error)}; see whether the pull request was opened all the same, at {place}, "
            "before you run it again"
        )
