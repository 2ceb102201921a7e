"""What a run will take, said before its first byte: download, disk, device and time; too little of it ends the run."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.common.errors import UserError
from builder.common.progress import counted, duration
from builder.generation.build_models import BuildModels
from builder.generation.config import GenerateConfig
from builder.generation.pace import Pace
from builder.generation.process import Rank
from builder.generation.worker import Run
from builder.models import download
from builder.models.repository import cache_folder
from builder.plan.plan import Plan
from builder.raw import signing

BYTES_PER_PIXEL = {"png": 1.9, "webp": 1.4, "jpg": 0.5}
"""What a photograph takes on disk by format, and a little more; `python benchmarks encoding` measures it."""
FULL_SIZE = 1_000_000_000
"""Bytes of weights from which a model is too large for a CPU, unless somebody wants it so."""
CPU_SECONDS = 25
"""Seconds that a core takes for a step of Stable Diffusion 1.5 at 512 by 512 pixels, in float32."""
PIXELS = 512 * 512


@dataclass(frozen=True)
class Preflight:
    """What a run of this process and its fellows will take: `left` pictures are not there yet, `batch_size` of them are
    made at once on each, `out` is where the release goes.
    """

    config: GenerateConfig
    plan: Plan
    models: BuildModels
    rank: Rank
    batch_size: int
    left: int
    out: Path

    @classmethod
    def of(cls, run: Run, out: Path) -> Preflight:
        """Return that of a run."""
        return cls(run.config, run.plan, run.models, run.rank, run.maker.batch_size, run.count_left(), out)

    def lines(self) -> Iterator[str]:
        """Yield what is said before anything is done."""
        model = self.models.model
        yield f"model     {model.id}"
        for name, each in (("vae", self.models.vae), ("safety", self.models.safety_checker)):
            if each:
                yield f"{name:<10}{each.id}"
        for name, each in self.models.checks.items():
            yield f"{name:<10}{each.id}"
        if self.config.signer:
            yield f"signed    by {self.config.signer}, without time stamp"
        missing = download.missing(self.models)
        count = sum(map(len, missing.values()))
        what = (
            f"{counted(count, 'file')}, {download.size(self._to_download)}, to {cache_folder()}" if count else "nothing"
        )
        yield f"download  {what}"
        places = ", ".join(f"{download.size(need)} on the disk of {place}" for place, need, _ in self._disk())
        yield f"disk      {places or 'nothing more'}"
        dtype = "float16" if self.rank.device.type == "cuda" else "float32"
        processes, batch = counted(self.rank.count, "process"), counted(self.batch_size, "picture")
        yield f"device    {self.rank.device}, {dtype}, {processes}, {batch} at once on each"
        yield f"left      {self.left:,} of {self.plan.chosen:,} pictures{self._time}"
        yield from (f"not seen  {line}" for line in self._unseen())

    def require(self) -> None:
        """Raise UserError where a disk has too little room, or a CPU would take days that nobody asked for."""
        for place, need, free in self._disk():
            if need > free:
                raise UserError(
                    f"{place}: {download.size(need)} are needed and {download.size(free)} are free: make room, choose "
                    "another folder (--raw, --out; HF_HOME for models), or make fewer pictures (--scale, --limit)"
                )
        if self.left and self._is_slow and not self.config.cpu:
            minutes, hours = self._seconds / 60, self.left * self._seconds / 3600 / self.rank.count
            raise UserError(
                f"on this CPU a picture takes about {minutes:.1f} min, all {self.left:,} about {hours:,.1f} h; --cpu "
                "does it all the same, --limit N makes fewer, --model preview draws"
            )

    @property
    def _time(self) -> str:
        """How long it will take, once that was measured."""
        pace = Pace.last(self.config.raw, self.rank)
        if pace is None or not self.left:
            return ""
        rate = pace.pictures_per_second
        return f", {duration(self.left / rate)} at {rate:.2f} pictures/s, as measured in the last run"

    @property
    def _to_download(self) -> int:
        return sum(file.size for files in download.missing(self.models).values() for file in files)

    @property
    def _is_slow(self) -> bool:
        model = self.models.model
        weights = os.path.getsize(model.location) if model.kind == "file" else sum(file.size for file in model.files)
        return self.rank.device.type == "cpu" and weights >= FULL_SIZE

    @property
    def _seconds(self) -> float:
        """Seconds a picture on this machine's cores, which its processes share."""
        recipe = self.plan.spec.recipe
        cores = (os.cpu_count() or 1) / self.rank.neighbours
        return CPU_SECONDS * recipe.steps * recipe.width * recipe.height / PIXELS / max(cores, 1)

    def _disk(self) -> Iterator[tuple[Path, float, float]]:
        """Yield what is needed and what is free, in bytes, for each disk that something goes to."""
        recipe = self.plan.spec.recipe
        picture = recipe.width * recipe.height * BYTES_PER_PIXEL[self.config.image_format]
        picture += signing.BYTES if self.config.signer else 0
        release = picture * self.plan.chosen if self.left and not self.config.store else 0
        needs: Counter[int] = Counter()
        places: dict[int, Path] = {}
        wanted = ((self.config.raw, picture * self.left), (self.out, release), (cache_folder(), self._to_download))
        for place, need in wanted:
            disk = _there(place).stat().st_dev
            needs[disk] += int(need)
            places.setdefault(disk, place)
        for disk, need in needs.items():
            if need:
                yield places[disk], need, shutil.disk_usage(_there(places[disk])).free

    def _unseen(self) -> Iterator[str]:
        """Yield what no check of the table can judge."""
        criteria = self.plan.spec.checks
        if criteria.attribute is None:
            yield "whether a picture shows its feature, or a minor who was not asked for (no attribute check)"
        elif self.models.checks["attribute"].kind != "preview":
            features = {cell.feature.name: cell.feature for cell in self.plan.cells if cell.chosen}
            mesh = criteria.face is not None and criteria.face.detector.endswith(".task")
            blind = [name for name, f in features.items() if not (f.check.shows or f.check.is_measured(mesh))]
            if blind:
                yield f"whether a picture shows {', '.join(blind)}"
        if criteria.face is None:
            yield "whether there is exactly one face (no face check)"


def _there(path: Path) -> Path:
    """Return the innermost folder of a path that is there already."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
