"""A build in a job on the Hub: pictures on its own disk, finished shards in a bucket, and at the end the upload.

    python -m builder.hub.job CONFIG

Locks do not work on a bucket that is mounted, so nothing is mounted: what an earlier attempt has finished is fetched
first, and what this one finishes is sent every minute. The receipt of a shard travels last, so that one that is torn by
the end of a job is seen as such, and is made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from builder.common import cli, retry
from builder.common.retry import with_retries
from builder.raw.layout import ASKED, IMAGES, RECEIPT, RECIPE, REJECTED, ROWS, SHARDS

BUCKETS = "hf://buckets/"
NOTES = (RECIPE, ASKED, ".pace.json")
"""Files beside the shards that an attempt takes over from the one before."""
EVERY = 60.0
"""Seconds between two times at which finished shards are sent."""
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class JobConfig:
    """What a job does: the flags of `generate`, those of `upload` (None: nothing is published), and the bucket, owner/
    name, with the folder in it where the raw build is kept.
    """

    bucket: str
    folder: str
    generate: tuple[str, ...]
    upload: tuple[str, ...] | None = None
    every: float = EVERY

    @classmethod
    def parse(cls, text: str) -> JobConfig:
        """Return what `str` has written."""
        values = json.loads(text)
        upload = values["upload"]
        return cls(
            values["bucket"],
            values["folder"],
            tuple(values["generate"]),
            None if upload is None else tuple(upload),
            values["every"],
        )

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @property
    def address(self) -> str:
        """Where the raw build is kept."""
        return f"{BUCKETS}{self.bucket}/{self.folder}"


class Job:
    """Makes a build in `place`, and keeps its finished shards in a bucket."""

    def __init__(self, config: JobConfig, place: Path, api: Any = None):
        self.config = config
        self.raw = place / "agfd30k-raw"
        self.out = place / "agfd30k"
        self.api = api or HfApi(library_name="agfd30k")
        self.sent: dict[str, str] = {}
        self.notes: dict[str, str] = {}

    def run(self) -> int:
        """Go on where the bucket ends; returns the exit status of the first command that fails, or 0."""
        self.fetch()
        status = self._generate()
        if status or self.config.upload is None:
            return status
        return subprocess.run([*_command("upload"), str(self.out), *self.config.upload]).returncode

    def fetch(self) -> None:
        """Fetch what earlier attempts have finished, and leave out what is not whole."""
        with_retries("bucket", lambda: self.api.create_bucket(self.config.bucket, private=True, exist_ok=True))
        self.raw.mkdir(parents=True, exist_ok=True)
        with_retries("fetch", lambda: self.api.sync_bucket(self.config.address, str(self.raw), quiet=True))
        for shard in sorted((self.raw / SHARDS).glob("*")):
            if is_whole(shard):
                self.sent[shard.name] = _digest(shard / RECEIPT)
            else:
                shutil.rmtree(shard)
        self.notes = {name: _digest(self.raw / name) for name in NOTES}
        print(f"{len(self.sent)} finished shards are fetched from {self.config.address}", flush=True)

    def send(self) -> None:
        """Send the notes beside the shards, and the shards that were finished since, each with its receipt last.

        One that cannot be sent keeps none of the others back; the first error is raised at the end.
        """
        failures: list[Exception] = []
        before = dict(self.sent)
        shards = [receipt.parent for receipt in sorted((self.raw / SHARDS).glob(f"*/{RECEIPT}"))]
        steps: list[Callable[[], None]] = [self._send_notes, *(partial(self._send_shard, shard) for shard in shards)]
        for step in steps:
            try:
                step()
            except Exception as error:  # the Hub's client raises many kinds
                if not _is_of_hub(error):
                    raise
                failures.append(error)
        if self.sent != before:
            print(f"{len(self.sent)} finished shards are in {self.config.address}", flush=True)
        if failures:
            raise failures[0]

    def _send_shard(self, shard: Path) -> None:
        """Send a shard unless it was sent. One that is opened again meanwhile is left for later."""
        digest = _digest(shard / RECEIPT)
        if not digest or self.sent.get(shard.name) == digest:
            return
        try:
            self._sync(shard, delete=True, exclude=[RECEIPT, ".*"])
            self._sync(shard, include=[RECEIPT])
        except FileNotFoundError:
            if _digest(shard / RECEIPT) == digest:
                raise
        if _digest(shard / RECEIPT) == digest:
            self.sent[shard.name] = digest

    def _sync(self, shard: Path, **options: Any) -> None:
        address = f"{self.config.address}/{SHARDS}/{shard.name}"
        send = partial(self.api.sync_bucket, str(shard), address, quiet=True, **options)
        with_retries("send", send, is_retryable=_is_retryable)

    def _send_notes(self) -> None:
        digests = {name: digest for name in NOTES if (digest := _digest(self.raw / name)) != self.notes.get(name, "")}
        notes: list[Any] = [(str(self.raw / name), f"{self.config.folder}/{name}") for name in digests]
        if notes:
            send = partial(self.api.batch_bucket_files, self.config.bucket, add=notes)
            with_retries("send", send, is_retryable=_is_retryable)
        self.notes |= digests

    def _generate(self) -> int:
        flags = [*self.config.generate, "--raw", str(self.raw), "--out", str(self.out)]
        process = subprocess.Popen([*_generate_command(), *flags])
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in before:  # it ends after the batch that it is at, and all is sent
                signal.signal(number, lambda number, _: process.send_signal(number))
            while True:
                try:
                    status = process.wait(self.config.every)
                    break
                except subprocess.TimeoutExpired:
                    self._try_to_send()
        finally:
            process.kill()  # nothing where it has ended
            for number, handler in before.items():
                signal.signal(number, handler)
        self.send()
        return status

    def _try_to_send(self) -> None:
        """Send what there is. Where the Hub does not answer, pictures are made on, and it is tried again later."""
        try:
            self.send()
        except Exception as error:  # the Hub's client raises many kinds
            if not _is_of_hub(error):
                raise
            print(f"not sent yet: {retry.one_line(error)}", file=sys.stderr, flush=True)


def _is_of_hub(error: Exception) -> bool:
    return isinstance(error, OSError) or bool(retry.status(error)) or _is_retryable(error)


def _is_retryable(error: BaseException) -> bool:
    """Return True for an error that may be gone on another try, and for a batch of which some files were refused."""
    return type(error).__name__ == "BucketBatchError" or retry.is_passing(error)  # older clients do not have it


def is_whole(shard: Path) -> bool:
    """Return True for a shard whose rows and rejected tries are those of its receipt, and whose pictures are there.

    Other pictures are removed.
    """
    try:
        receipt, rows = json.loads((shard / RECEIPT).read_bytes()), (shard / ROWS).read_bytes()
        rejected = (shard / REJECTED).read_bytes()
        names = {json.loads(line)["file_name"] for line in rows.splitlines()}
    except (OSError, ValueError, LookupError, TypeError):
        return False
    if not isinstance(receipt, dict) or receipt.get("sha256") != hashlib.sha256(rows).hexdigest():
        return False
    if receipt.get("rejections") != hashlib.sha256(rejected).hexdigest():
        return False
    (shard / IMAGES).mkdir(exist_ok=True)  # a bucket has no empty folders
    for path in (shard / IMAGES).iterdir():
        if path.relative_to(shard).as_posix() not in names:
            path.unlink()
    return all((shard / name).is_file() for name in names)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _command(verb: str) -> list[str]:
    return [sys.executable, "-m", "builder", verb]


def _generate_command() -> list[str]:
    """Return how the builder is started: on several GPUs by accelerate, a process on each."""
    gpus = _gpus()
    if gpus < 2:
        return _command("generate")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(gpus)]
    return [*launch, str(PACKAGE / "generate.py")]


def _gpus() -> int:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def main() -> int:
    """Run in the job; the config comes as JSON."""
    started = time.monotonic()
    job = Job(JobConfig.parse(sys.argv[1]), Path("agfd30k-job").absolute())
    status = cli.status("job", job.run)
    print(f"job: ended with status {status} after {(time.monotonic() - started) / 3600:.2f} h", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
