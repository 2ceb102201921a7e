"""Which commit of a dataset a downloaded folder is."""

from __future__ import annotations

import re
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")
NOTES = ".cache/huggingface/download"
"""Where the client notes, in a folder that it downloaded into, what each file is of."""


def of(folder: Path) -> str | None:
    """Return the commit that a folder was downloaded from, of the client's cache or by `snapshot.download`.

    None where that is not known, or files of several commits lie side by side.
    """
    if folder.parent.name == "snapshots":
        return folder.name if COMMIT.fullmatch(folder.name) else None
    commits = {_first_line(path) for path in (folder / NOTES).rglob("*.metadata")}
    commit = commits.pop() if len(commits) == 1 else ""
    return commit if COMMIT.fullmatch(commit) else None


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
