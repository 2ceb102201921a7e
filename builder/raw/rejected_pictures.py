"""Rejected pictures, a few of each reason, for a look: `rejected/<reason>/<id>-<attempt>.png` in the raw folder.

They are no part of the build: nothing reads them again, and losing them loses nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from builder.common.errors import UserError, shortened
from builder.common.files import atomic, sync_folder
from builder.raw.layout import REJECTS, is_folder

PATIENCE = 5
"""Seconds to wait for another process that is keeping a picture of the same reason."""
LONGEST = 60
"""Letters of a folder's name."""


class RejectedPictures:
    """The first `most` rejected pictures of each reason, over all processes and runs in a raw folder.

    What fails here, a full disk for one, is said once, and from then on this process keeps none: the build goes on.
    """

    def __init__(self, raw: Path, most: int):
        self.folder = raw / REJECTS
        self.most = most
        self.full: set[str] = set()

    def wants(self, reason: str) -> bool:
        """Return whether a picture that was rejected for this reason would be kept, as far as this process knows."""
        return self.most > 0 and slug(reason) not in self.full

    def keep(self, reason: str, name: str, picture: Callable[[], bytes]) -> None:
        """Keep a picture's file, which is made only where there is room for it. Another of that name stays.

        A lock for each reason makes their number exact; a crash lets it go.
        """
        if not self.wants(reason):
            return
        place = self.folder / slug(reason)
        try:
            self._require_folder(place)
            with FileLock(place / ".lock", timeout=PATIENCE):
                self._keep(place, name, picture)
        except (OSError, UserError) as error:  # a lock that is not let go in time is an OSError too
            self.most = 0
            line = f"no more rejected pictures are kept, the build goes on: {place}: {' '.join(str(error).split())}"
            print(shortened(line), file=sys.stderr, flush=True)

    def _require_folder(self, place: Path) -> None:
        """Make the folder of a reason. Raises UserError where it would lie elsewhere, by a link."""
        for folder in (self.folder, place):
            folder.mkdir(parents=True, exist_ok=True)
            if not is_folder(folder):
                raise UserError(f"{folder.name} is a link or no folder")

    def _keep(self, place: Path, name: str, picture: Callable[[], bytes]) -> None:
        for torn in place.glob(".*.tmp"):  # whoever made it is gone: the lock is ours
            torn.unlink(missing_ok=True)
        names = {path.name for path in place.iterdir() if not path.name.startswith(".")}
        if len(names) < self.most and name not in names:
            with atomic(place / name) as file:
                file.write(picture())
            sync_folder(place)
            names.add(name)
        if len(names) >= self.most:
            self.full.add(place.name)


def slug(reason: str) -> str:
    """Return a reason as the name of a folder: small letters, digits and hyphens alone.

    >>> slug("looks like a minor")
    'looks-like-a-minor'
    >>> slug("../../etc/passwd")
    'etc-passwd'
    >>> slug("…")
    'other'
    """
    return re.sub(r"[^a-z0-9]+", "-", reason.lower()).strip("-")[:LONGEST].strip("-") or "other"
