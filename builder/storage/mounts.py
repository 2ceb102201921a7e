"""Object stores that are mounted as folders: there locks hold nobody and renames are copies, so a build would break."""

from __future__ import annotations

import os
import re
from pathlib import Path

from builder.common.errors import UserError

MOUNTS = Path("/proc/self/mountinfo")
STORES = {
    **dict.fromkeys(["fuse.s3fs", "fuse.mount-s3", "fuse.mountpoint-s3", "fuse.goofys", "fuse.geesefs"], "s3://"),
    **dict.fromkeys(["fuse.gcsfuse"], "gs://"),
    **dict.fromkeys(["fuse.blobfuse", "fuse.blobfuse2"], "az://"),
    **dict.fromkeys(["fuse.hf-mount", "fuse.hfmount", "fuse.hf"], "hf://buckets/"),
    **dict.fromkeys(["fuse.rclone"], "s3://"),
}
"""What mounts stores, by the kind of file system, and how an address there begins."""


def require_unmounted(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raise UserError where a folder lies in a mounted store; only Linux tells."""
    kind = _kind(folder, mounts)
    if kind in STORES:
        raise UserError(
            f"{folder}: is a mounted bucket ({kind}), where locks and renames do not work; give its address instead, "
            f"--raw {STORES[kind]}BUCKET/PLACE"
        )


def _kind(folder: Path, mounts: Path) -> str:
    """Return the kind of the file system that a folder lies in, or will."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    place, best, kind = os.path.realpath(folder), "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        words = before.split(" ")
        if len(words) < 5 or not after:
            continue
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), words[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # the last of two mounts on one point hides the other
            best, kind = point, after.split(" ")[0]
    return kind
