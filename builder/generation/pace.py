"""How fast pictures were made in a raw folder: noted at a run's end, told before the next one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from builder.common.files import atomic
from builder.generation.process import Rank

FILE = ".pace.json"


class Pace(BaseModel):
    """Kept pictures a second of all processes together, and what they were made on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    processes: int
    pictures_per_second: float

    @classmethod
    def last(cls, raw: Path, rank: Rank) -> Pace | None:
        """Return what the last run on as many devices of this kind measured; None where none did."""
        try:
            pace = cls.model_validate_json((raw / FILE).read_bytes())
        except (OSError, ValueError):
            return None
        return pace if (pace.device, pace.processes) == (rank.device.type, rank.count) else None

    @classmethod
    def note(cls, raw: Path, rank: Rank, pictures_per_second: float) -> None:
        """Remember a measured rate; a folder that takes no more is no reason to fail."""
        if pictures_per_second > 0:
            pace = cls(device=rank.device.type, processes=rank.count, pictures_per_second=pictures_per_second)
            with suppress(OSError), atomic(raw / FILE) as file:
                file.write(pace.model_dump_json().encode())
