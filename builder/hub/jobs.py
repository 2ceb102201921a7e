"""Jobs on the Hub's own machines: what a build there will cost, the script that makes it, and its start."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import EntryNotFoundError
from packaging.requirements import Requirement

from builder.common.cli import NAME
from builder.common.errors import UserError
from builder.common.progress import counted, duration
from builder.common.retry import is_passing, one_line, status
from builder.generation.pace import FILE, Pace
from builder.hub.job import JobConfig
from builder.plan.plan import Plan
from builder.raw.layout import IMAGES, SHARDS

try:
    from huggingface_hub.errors import BucketNotFoundError
except ImportError:  # a client from before there were buckets

    class BucketNotFoundError(Exception):  # type: ignore[no-redef]
        """Raised by no one."""


ROOT = Path(__file__).parents[2]
CODE = ("builder/**/*", "dataset_card/*", "agfd30k.py")
SCRIPT, ARCHIVE, TABLE = "job.py", "agfd30k-code.zip", "table.toml"
BUCKET = re.compile(r"(?P<bucket>[\w][\w.-]*/[\w][\w.-]*)(/(?P<folder>[\w.-]+(/[\w.-]+)*))?/?")
TIMEOUT = re.compile(r"\d+(\.\d+)?[smhd]?")
TRIAL = 20
HOURS = {"second": 3600, "minute": 60, "hour": 1}
"""How many of a unit by which machines are paid are an hour."""
CLIENT = "needs huggingface_hub 2.4 or later: pip install -U huggingface_hub"

TEMPLATE = '''# /// script
# requires-python = ">=3.11"
# dependencies = [
{dependencies}
# ]
# ///
"""Makes {what} and keeps them in {address}. Written by `agfd30k jobs`; started by

    {command}

Started again it goes on: what is finished is fetched from the bucket first.
"""

import os
import sys
import zipfile

CONFIG = {config!r}

if __name__ == "__main__":
    zipfile.ZipFile(sys.argv[1]).extractall("{name}-code")
    os.environ["PYTHONPATH"] = os.path.abspath("{name}-code")
    table = sys.argv[2] if len(sys.argv) > 2 else ""
    config = CONFIG.replace("{table}", table)
    os.execv(sys.executable, [sys.executable, "-m", "builder.hub.job", config])
'''


@dataclass(frozen=True)
class JobsConfig:
    """Which build is made, where it is kept, and on what; `generate` and `upload` are flags of these commands."""

    plan: Plan
    bucket: str
    generate: tuple[str, ...]
    upload: tuple[str, ...] | None = None
    table: Path | None = None
    flavor: str = "a10g-small"
    timeout: str = "6h"
    attempts: int = 3
    rate: float | None = None
    price: float | None = None
    raw: Path | None = None

    def __post_init__(self) -> None:
        """Raise UserError for a bucket or time that is none."""
        if not BUCKET.fullmatch(self.bucket):
            raise UserError(f"--bucket: must be owner/name, or owner/name/folder, got {self.bucket!r}")
        if not TIMEOUT.fullmatch(self.timeout):
            raise UserError(f"--timeout: must be a number with s, m, h or d behind it, got {self.timeout!r}")

    @property
    def job(self) -> JobConfig:
        """What the job does."""
        parts = BUCKET.fullmatch(self.bucket)
        assert parts
        table = ("--spec", "{table}") if self.table else ()
        return JobConfig(parts["bucket"], parts["folder"] or "raw", (*self.generate, *table), self.upload)


@dataclass
class Jobs:
    """A job that may be started. `unknown` says why something could not be looked up."""

    config: JobsConfig
    api: Any = field(default_factory=lambda: HfApi(library_name=NAME))

    def __post_init__(self) -> None:
        """Raise UserError for a client that knows no buckets."""
        if not hasattr(self.api, "list_bucket_tree"):
            raise UserError(f"agfd30k jobs {CLIENT}")

    def lines(self) -> Iterator[str]:
        """Yield what the job will make and cost, as far as that is known. Nothing is guessed."""
        asked, job = self.config.plan.chosen, self.config.job
        there, unknown = self._there()
        where = f"not known how many are in {job.address} ({unknown})" if unknown else f"{there:,} in {job.address}"
        left = max(0, asked - there)
        yield f"pictures: {asked:,} asked for, {where}, {left:,} left"
        rate, says = self._rate()
        yield f"rate: {says}"
        price, says = self._price()
        yield f"price: {says}"
        if not rate or price is None:
            yield "cost: not known without a rate and a price"
            return
        hours = left / rate / 3600
        yield (
            f"cost: {duration(left / rate)} and ${hours * price:,.2f} for {counted(left, 'picture')}; the start, the "
            "download of the models, the search for duplicates and the upload come on top and were not measured"
        )
        if hours > self.config.attempts * _hours(self.config.timeout):
            yield (
                f"time-out: {self.config.attempts} × {self.config.timeout} are not enough; what is finished stays in "
                "the bucket, and the same command goes on"
            )

    def _there(self) -> tuple[int, str]:
        """Return how many pictures finished shards have in the bucket, or why that is not known."""
        job = self.config.job
        start = f"{job.folder}/{SHARDS}/"
        if not get_token():
            return 0, "no access token: log in with `hf auth login`, or set HF_TOKEN"
        try:
            files = self.api.list_bucket_tree(job.bucket, prefix=start.rstrip("/"), recursive=True)
            paths = [file.path.removeprefix(start).split("/") for file in files]
        except BucketNotFoundError:
            return 0, ""
        except Exception as error:  # the Hub's client raises many kinds
            return 0, _reason(error)
        return sum(len(path) == 3 and path[1] == IMAGES for path in paths), ""

    def _rate(self) -> tuple[float | None, str]:
        """Return kept pictures a second, and how that is known."""
        if self.config.rate:
            return self.config.rate, f"{self.config.rate:g} pictures/s, as --rate says"
        pace, where = self._noted_pace()
        if pace and pace.device != "cpu":
            on = f"{counted(pace.processes, 'process')} on {pace.device}"
            return (
                pace.pictures_per_second,
                f"{pace.pictures_per_second:.3g} pictures/s, measured by {on} and noted in {where}",
            )
        if self.config.plan.chosen <= TRIAL:
            return None, f"unknown: this run measures it, and notes it in {self.config.job.address}"
        why = f" (what {where} has noted was measured on a CPU)" if pace else ""
        return None, (
            f"unknown{why}: run {TRIAL} pictures first, with the same command, --limit {TRIAL} and --start but without "
            "--repo-id; it notes in the bucket how fast they were made. Or give a --rate that you have measured"
        )

    def _noted_pace(self) -> tuple[Pace | None, str]:
        """Return the pace that a raw build has noted, the local one or that in the bucket, and where."""
        job = self.config.job
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, FILE)
            if self.config.raw is None and get_token():
                with suppress(EntryNotFoundError, BucketNotFoundError):
                    self._download(job.bucket, f"{job.folder}/{FILE}", local)
            path = self.config.raw / FILE if self.config.raw else local
            where = str(self.config.raw) if self.config.raw else job.address
            try:
                return Pace.parse(path.read_bytes()), where
            except (OSError, ValueError):
                return None, where

    def _download(self, bucket: str, name: str, to: Path) -> None:
        try:
            self.api.download_bucket_files(bucket, [(name, to)], raise_on_missing_files=True)
        except (EntryNotFoundError, BucketNotFoundError):
            raise
        except Exception as error:  # the Hub's client raises many kinds
            _reason(error)

    def _price(self) -> tuple[float | None, str]:
        """Return US dollars an hour, and how that is known."""
        config = self.config
        if config.price is not None:
            return config.price, f"${config.price:.2f}/h for {config.flavor}, as --price-per-hour says"
        try:
            hardware = {machine.name: machine for machine in self._hardware()}
        except UserError as error:
            return None, f"unknown, because {error}; give --price-per-hour"
        if config.flavor not in hardware:
            raise UserError(f"--flavor: the Hub has no {config.flavor!r}; it has {', '.join(hardware)}")
        machine = hardware[config.flavor]
        if machine.unit_label not in HOURS:
            return None, f"unknown: the Hub tells it by the {machine.unit_label}; give --price-per-hour"
        price = machine.unit_cost_usd * HOURS[machine.unit_label]
        disk = f"{machine.pretty_name}, {machine.ram}, {machine.ephemeral_storage} of disk"
        return price, f"${price:.2f}/h for {config.flavor} ({disk}), as the Hub says"

    def _hardware(self) -> list[Any]:
        listing = getattr(self.api, "list_jobs_hardware", None)
        if listing is None:
            raise UserError(f"this {CLIENT}")
        try:
            return listing()
        except Exception as error:  # the Hub's client raises many kinds
            raise UserError(_reason(error)) from None

    @property
    def command(self) -> str:
        """How the script is started by hand, with the files beside it."""
        config = self.config
        flags = ["--flavor", config.flavor, "--secrets", "HF_TOKEN", "--timeout", config.timeout]
        files = [SCRIPT, ARCHIVE, *([TABLE] if config.table else [])]
        return shlex.join(["hf", "jobs", "uv", "run", "--detach", *flags, "--attempts", str(config.attempts), *files])

    @cached_property
    def script(self) -> str:
        """The script, whose header names what it depends on: what is installed here."""
        what = counted(self.config.plan.chosen, "picture")
        lines = "\n".join(f"#     {json.dumps(dependency)}," for dependency in dependencies())
        job = self.config.job
        return TEMPLATE.format(
            dependencies=lines,
            what=what,
            address=job.address,
            command=self.command,
            config=str(job),
            name=NAME,
            table="{table}",
        )

    def write(self, folder: Path) -> list[Path]:
        """Write the script, the tool's code and the table into a folder; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCRIPT).write_text(self.script, encoding="utf-8")
        archive(folder / ARCHIVE)
        paths = [folder / SCRIPT, folder / ARCHIVE]
        if self.config.table:
            paths.append(folder / TABLE)
            paths[-1].write_bytes(self.config.table.read_bytes())
        return paths

    def start(self) -> str:
        """Start the job; returns its address. Raises UserError where the Hub does not take it."""
        token = get_token()
        if not token:
            raise UserError("no access token: log in with `hf auth login`, or set HF_TOKEN to one that may write")
        if not hasattr(self.api, "run_uv_job"):
            raise UserError(f"--start {CLIENT}")
        config = self.config
        with tempfile.TemporaryDirectory(prefix="agfd30k-") as folder:
            script, *files = map(str, self.write(Path(folder)))
            try:
                return self.api.run_uv_job(
                    script,
                    script_args=files,
                    flavor=config.flavor,
                    timeout=config.timeout,
                    attempts=config.attempts,
                    secrets={"HF_TOKEN": token},
                ).url
            except TypeError:
                raise UserError(f"--start {CLIENT}") from None
            except Exception as error:  # the Hub's client raises many kinds
                raise UserError(f"the job was not started: {_reason(error)}") from None


def dependencies() -> list[str]:
    """Return what the tool needs, in the versions that are installed here."""
    try:
        wanted = [Requirement(line) for line in requires(NAME) or []]
    except PackageNotFoundError:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = [Requirement(line) for line in project["dependencies"]]
    needed = [need.name for need in wanted if not (need.marker and "extra" in str(need.marker))]
    return [f"{name}=={version(name).partition('+')[0]}" for name in needed]


def archive(path: Path) -> None:
    """Pack the tool's own code, and what it reads, into a file."""
    files = sorted({file for glob in CODE for file in ROOT.glob(glob) if file.is_file()})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as code:
        for file in files:
            if "__pycache__" not in file.parts:
                code.write(file, file.relative_to(ROOT))


def _hours(timeout: str) -> float:
    """Return a time-out in hours.

    >>> _hours("90m")
    1.5
    """
    number, unit = (timeout[:-1], timeout[-1]) if timeout[-1].isalpha() else (timeout, "s")
    return float(number) * {"s": 1 / 3600, "m": 1 / 60, "h": 1, "d": 24}[unit]


def _reason(error: Exception) -> str:
    """Return why the Hub gave no answer, in a line. Raises what no answer of the Hub is."""
    if not (isinstance(error, OSError) or status(error) or is_passing(error)):
        raise error
    return one_line(error)
