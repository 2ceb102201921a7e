"""A dataset repository on the Hub: who may write to it, which files a branch of it holds, and whether it is public."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, DatasetCard, HfApi, RepoFile, get_token, is_offline_mode
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from builder.common.errors import UserError
from builder.common.retry import one_line, status, with_retries
from builder.dataset.build_info import BuildInfo
from builder.hub.changes import is_same

OWN_RECIPE = re.compile(r"^# built with .*fingerprint \w+")


class Repository:
    """A dataset repository, read at the branch `revision`. `user_name` is empty until `user` was called."""

    def __init__(self, repo_id: str, revision: str = "main"):
        self.api = HfApi(library_name="agfd30k")
        self.repo_id = repo_id
        self.revision = revision
        self.user_name = ""
        self.repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": "dataset"}

    def user(self) -> str:
        """Return the name of the token's user. Raises UserError where there is no valid token, or no network."""
        if is_offline_mode():
            raise UserError("the Hub's client is offline: unset HF_HUB_OFFLINE")
        if not get_token():
            raise UserError("no access token: log in with `hf auth login`, or set HF_TOKEN to one that may write")
        try:
            self.user_name = with_retries("who am I", lambda: self.api.whoami()["name"])
            return self.user_name
        except HfHubHTTPError as error:
            if status(error) in (401, 403):
                raise UserError("the access token is not valid: log in with `hf auth login`, or set HF_TOKEN") from None
            raise

    def head(self) -> str | None:
        """Return the branch's last commit; None where there is no repository or branch that the token may see."""
        try:
            return with_retries("read", lambda: self.api.repo_info(**self.repo, revision=self.revision)).sha
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None

    def exists(self) -> bool:
        """Return True when there is a repository that the token may see."""
        return with_retries("read", lambda: self.api.repo_exists(**self.repo))

    def require_writable(self) -> None:
        """Raise UserError unless the token may write."""
        try:
            with_retries("check the token", lambda: self.api.auth_check(**self.repo, write=True))
        except HfHubHTTPError as error:
            if status(error) in (401, 403, 404):
                raise UserError(f"{self.repo_id}: the access token may not write there") from None
            raise

    def create(self) -> None:
        """Create the repository, as a private one."""
        try:
            with_retries("create", lambda: self.api.create_repo(**self.repo, private=True, exist_ok=True))
        except HfHubHTTPError as error:
            if status(error) in (401, 403):
                raise UserError(
                    f"{self.repo_id}: the access token may not create this dataset ({one_line(error)})"
                ) from None
            raise

    def validate_card(self, path: Path) -> None:
        """Raise UserError where the Hub does not accept the card's YAML."""
        card = DatasetCard(path.read_text(encoding="utf-8"))
        try:
            with_retries("check the card", card.validate)
        except ValueError as error:
            raise UserError(f"{self.repo_id}: the Hub refuses the card: {one_line(error)}") from None

    def create_branch(self) -> None:
        """Create the branch unless there is one."""
        with_retries("branch", lambda: self.api.create_branch(**self.repo, branch=self.revision, exist_ok=True))

    def tree(self, revision: str | None = None) -> dict[str, RepoFile]:
        """Return every file at a commit, by default at the branch's head, by path."""
        entries = with_retries(
            "read",
            lambda: list(self.api.list_repo_tree(**self.repo, recursive=True, revision=revision or self.revision)),
        )
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def is_own_release(self, tree: dict[str, RepoFile]) -> bool:
        """Return True when the repository is empty, or holds a release of this tool or the beginning of one."""
        if set(tree) <= {".gitattributes"}:
            return True
        card, recipe = self._text("README.md", tree), self._text("recipe.toml", tree)
        return bool(BuildInfo.parse(card) or (not card and OWN_RECIPE.match(recipe)))

    def require_unedited(self, tree: dict[str, RepoFile], card: CommitOperationAdd) -> None:
        """Raise UserError where the repository's card is of the same release, but was edited there.

        A card here that has all of its lines, and more, such as those of annotations, loses nothing of it.
        """
        if is_same(card, tree.get("README.md")):
            return
        there = self._text("README.md", tree)
        here = Path(str(card.path_or_fileobj)).read_text(encoding="utf-8", errors="replace")
        remote, lines = BuildInfo.parse(there), iter(here.splitlines())
        if remote and remote == BuildInfo.parse(here) and not all(line in lines for line in there.splitlines()):
            raise UserError(
                f"{self.repo_id}: the card there has another text, of the same release: bring what was edited there "
                "into README.md here, or replace it with --force"
            )

    def _text(self, name: str, tree: dict[str, RepoFile]) -> str:
        if name not in tree:
            return ""
        try:
            file = {**self.repo, "filename": name, "revision": self.revision}
            path = with_retries("read", lambda: self.api.hf_hub_download(**file))
        except RemoteEntryNotFoundError:
            return ""
        return Path(path).read_text(encoding="utf-8", errors="replace")

    def tag_commit(self, tag: str) -> str | None:
        """Return the commit of a tag, None where there is no such tag."""
        refs = with_retries("read", lambda: self.api.list_repo_refs(**self.repo))
        return next((ref.target_commit for ref in refs.tags if ref.name == tag), None)

    def tag(self, tag: str, commit: str) -> None:
        """Tag a commit, unless it has the tag already."""
        if self.tag_commit(tag) != commit:
            with_retries(
                "tag",
                lambda: self.api.create_tag(**self.repo, tag=tag, revision=commit),
                lambda error: True if self.tag_commit(tag) == commit else None,
            )

    def is_private(self) -> bool:
        """Return True when the dataset is private."""
        return bool(with_retries("read", lambda: self.api.repo_info(**self.repo)).private)

    def publish(self) -> None:
        """Make the dataset public."""
        with_retries("publish", lambda: self.api.update_repo_settings(**self.repo, private=False))
