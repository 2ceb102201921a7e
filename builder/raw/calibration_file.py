"""calibration.json: how far people agree with the checks of a raw build."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.common.errors import UserError

NAME = "calibration.json"
VERSION = 2
"""Of what a calibration says: since 2 its shares are estimates for the build, before they were those of the sample."""

CONTENT = {*["judgements", "judges", "disputed", "target", "sha256", "recipe"], *["features", "groups", "agreement"]}
"""What a calibration says."""

KEYS = {
    *["feature", "judged", "verified_judged", "verified_precision", "verified_precision_interval"],
    *["recall", "recall_interval", "false_positive_rate", "false_positive_rate_interval", "threshold"],
}
"""What the card reads of a feature."""


@dataclass(frozen=True)
class Kept:
    """A calibration that lies in a raw build: its file, and what that says."""

    data: bytes
    content: dict[str, Any]

    @property
    def digest(self) -> str:
        """The digest of the file, which says which calibration it is."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


def load(raw: Path, fingerprint: str) -> Kept | None:
    """Return a raw build's calibration; None where there is none.

    Raises UserError for one that cannot be read or belongs to another build.
    """
    try:
        data = (raw / NAME).read_bytes()
    except FileNotFoundError:
        return None
    content = parsed(data)
    if content is not None and content.get("version") != VERSION:
        raise UserError(f"{raw / NAME}: made by another version; run `agfd30k calibrate` again, or remove it")
    if content is None or content["recipe"] != fingerprint or not _is_sound(content):
        raise UserError(f"{raw / NAME}: damaged, or of another build; run `agfd30k calibrate` again, or remove it")
    return Kept(data, content)


def _is_sound(content: dict[str, Any]) -> bool:
    counted = all(isinstance(content.get(key), int) for key in ("judges", "judgements", "pictures"))
    try:
        return counted and all(set(feature) >= KEYS for feature in content["features"])
    except TypeError:
        return False


def parsed(data: bytes) -> dict[str, Any] | None:
    """Return what a file says that is a calibration; None for any other file."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and set(content) >= CONTENT else None
