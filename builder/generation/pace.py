"""How fast pictures were made in a raw folder: noted at a run's end, told before the next one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field

from builder.common.documents import Document
from builder.generation.process import Rank

FILE = ".pace.json"


class Pace(Document):
    """Kept pictures a second of all processes together, and what they were made on."""

    device: str
    processes: int
    pictures_per_second: Annotated[float, Field(gt=1e-6, lt=1e6)]

    @classmethod
    def last(cls, raw: Path, rank: Rank) -> Pace | None:
        """Return what the last run on as many devices of this kind measured; None where none did."""
        try:
            pace = cls.parse((raw / FILE).read_bytes())
        except (OSError, ValueError):
            return None
        return pace if (pace.device, pace.processes) == (rank.device.type, rank.count) else None

    @classmethod
    def note(cls, raw: Path, rank: Rank, pictures_per_second: float) -> None:
        """Remember a measured rate; a folder that takes no more is no reason to fail.

        Written in place, since a torn note is no note: it leaves no temporary file where the process is killed.
        """
        if pictures_per_second > 1e-6:
            pace = cls(device=rank.device.type, processes=rank.count, pictures_per_second=pictures_per_second)
            with suppress(OSError):
                (raw / FILE).write_text(pace.model_dump_json(), encoding="utf-8")
