"""A dataset repository on the Hub: who may change it, what lies at a branch of it, and whether all may see it."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import CommitOperationAdd, DatasetCard, HfApi, RepoFile, get_token, is_offline_mode
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from builder.common.errors import UserError
from builder.dataset.build_info import BuildInfo
from builder.hub.changes import is_same
from builder.hub.retry import one_line, patient, status

OURS = re.compile(r"^# built with .*fingerprint \w+")


class Repository:
    """A dataset repository, read at the branch `revision`. `name` is the user's, once it is known."""

    def __init__(self, repo_id: str, revision: str = "main"):
        self.api = HfApi(library_name="agfd30k")
        self.repo_id = repo_id
        self.revision = revision
        self.name = ""
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
        return bool(BuildInfo.parse(card) or (not card and OURS.match(recipe)))

    def require_unedited(self, tree: dict[str, RepoFile], card: CommitOperationAdd) -> None:
        """Raise UserError where the card there is of the same release, by its mark, with a text that would be lost."""
        if is_same(card, tree.get("README.md")):
            return
        there = BuildInfo.parse(self._text("README.md", tree))
        here = BuildInfo.parse(Path(card.path_or_fileobj).read_text(encoding="utf-8", errors="replace"))
        if there and there == here:
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
