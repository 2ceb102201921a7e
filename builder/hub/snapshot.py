"""A whole published dataset as a folder, downloaded so that it goes on after a stop and appears when it is whole."""

from __future__ import annotations

import functools
from pathlib import Path

from huggingface_hub import is_offline_mode, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from builder.common.errors import UserError
from builder.common.retry import is_passing, one_line, with_retries


def download(repo_id: str, revision: str | None, folder: Path) -> Path:
    """Download a dataset at a revision into a new folder; returns it.

    Raises UserError where the folder is there already, where there is no such dataset, or the Hub does not answer.
    """
    folder = folder.resolve()
    if folder.exists():
        raise UserError(f"{folder}: is there already; annotate that, or choose another place with --out")
    if is_offline_mode():
        raise UserError("the Hub's client is offline: unset HF_HUB_OFFLINE")
    partial = folder.parent / f".{folder.name}.download"
    call = functools.partial(snapshot_download, repo_id, repo_type="dataset", revision=revision, local_dir=partial)
    try:
        with_retries("download", call)
    except RepositoryNotFoundError:
        raise UserError(f"{repo_id}: no such folder, and no such dataset on the Hub that your token may see") from None
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        again = "; run it again to go on" if is_passing(error) or isinstance(error, LocalEntryNotFoundError) else ""
        raise UserError(f"{repo_id}: {one_line(error)}{again}") from None
    partial.rename(folder)
    return folder
