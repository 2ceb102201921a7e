"""The labels of a published dataset, without its pictures: downloaded once, then from the client's cache."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import is_offline_mode, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from builder.common.errors import UserError
from builder.common.retry import one_line, with_retries

FILES = "metadata/*.parquet"
WITH_CHECKS = (FILES, "README.md", "recipe.toml", "assets/checks.json")
"""The labels, the card, which says whether the pictures are a preview, the table that they were made from, and what the
checks were.
"""


def download(repo_id: str, revision: str | None = None, files: Sequence[str] = (FILES,)) -> Path:
    """Return a folder that holds some files of a dataset at a revision, globs; the labels, unless others are given.

    Raises UserError where there is no such dataset, or the Hub does not answer and it was never downloaded.
    """
    is_offline = is_offline_mode()
    where = functools.partial(snapshot_download, repo_id, repo_type="dataset", revision=revision)
    call = functools.partial(where, allow_patterns=[*files], local_files_only=is_offline)
    try:
        return Path(with_retries("download", call))
    except HFValidationError as error:
        raise UserError(f"{repo_id}: no such folder, and no name of a dataset: {one_line(error)}") from None
    except RepositoryNotFoundError:
        raise UserError(f"{repo_id}: no such folder, and no such dataset on the Hub that your token may see") from None
    except LocalEntryNotFoundError as error:
        reason = "the Hub's client is offline: unset HF_HUB_OFFLINE" if is_offline else one_line(error)
        raise UserError(f"{repo_id}: was never downloaded, and {reason}") from None
    except HfHubHTTPError as error:
        raise UserError(f"{repo_id}: {one_line(error)}") from None
