"""The first real run, rehearsed: the default command against a loopback Hub with the real repositories' layouts.

    python tests/experiments/first_run.py
    python tests/experiments/first_run.py --only default --only offline

prints a row for every world that a user may find: exit status, seconds, bytes downloaded, what lies on disk afterwards,
the last line that the user sees, and whether that is what is to be. The models are tiny and make patterns, no faces: so
the face check is left out; everything else is as the command and the shipped table have it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.fixtures.hub import Hub
from tests.fixtures.repositories import REPOSITORIES, Repositories

ROOT = Path(__file__).parents[2]
GENERATE = ROOT / "builder" / "generate.py"
LAUNCH = {
    0: [sys.executable],
    1: ["accelerate", "launch", "--cpu", "--num_processes", "1"],
    2: ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"],
}
"""How a run is started, by ranks; 0 is plain python, whose last line is the command's own where it fails."""
LIMIT = 2
SMALL = 120_000
"""Bytes that configs and tokenizers come to: whoever downloads more has begun with weights."""
PADDED = "studio/padded"
PICKLED = (".bin", ".ckpt", ".h5", ".msgpack")
PATIENCE = 600
"""Seconds that a run may take."""


@dataclass(frozen=True)
class Row:
    """A world and what a user is to find in it."""

    name: str
    model: str = ""
    """What --model names; none is the table's."""
    arguments: tuple[str, ...] = ()
    ranks: int = 0
    token: str | None = None
    offline: bool = False
    home: str = ""
    """The row whose downloads are there already."""
    raw: str = ""
    """The row whose raw folder is gone on with."""
    prepare: Callable[[Hub], object] = lambda hub: None
    file_size: int | None = None
    """Bytes that a file may have, as if the disk were full then."""
    status: int = 0
    says: str = ""
    """A regular expression of what is printed; where the run fails, of its last line."""
    most_bytes: float = float("inf")
    checker: str = ""
    """How the safety checker begins that the rows name."""
    holds: Callable[[Found], str | None] = lambda found: None
    """What else must hold; says what does not."""


@dataclass
class Found:
    """What a run left behind."""

    status: int
    seconds: float
    output: str
    bytes: int
    requests: list[dict]
    raw: Path
    work: Path
    wrong: list[str] = field(default_factory=list)

    @property
    def last_line(self) -> str:
        """The last line of the command's own; the launcher's traceback comes after it."""
        lines = [line for line in self.output.replace("\r", "\n").splitlines() if line.strip()]
        own = [line for line in lines if line.startswith("generate: ")]
        return (own or lines or [""])[-1] if self.status else (lines or [""])[-1]

    @property
    def has_recipe(self) -> bool:
        return (self.raw / "recipe.json").is_file()

    @property
    def rows(self) -> list[dict]:
        """Every committed row."""
        return [json.loads(line) for path in self.raw.glob("shards/*/metadata.jsonl") for line in path.open()]

    @property
    def pictures(self) -> int:
        return len(list(self.raw.glob("shards/*/images/*.png")))

    @property
    def downloads(self) -> Counter[str]:
        """How often each LFS file was asked for as a whole; to look at its head is no download."""
        whole = (record for record in self.requests if record["status"] == 200)
        return Counter(record["path"] for record in whole if record["path"].startswith("/lfs/"))

    def on_disk(self) -> str:
        """What lies there, in words."""
        release = (self.work / "agfd30k").is_dir()
        parts = [f"{len(self.rows)} rows", f"{self.pictures} pictures"] if self.raw.is_dir() else ["nothing"]
        return ", ".join([*parts, *(["recipe"] if self.has_recipe else []), *(["release"] if release else [])])


# What must hold beside status and words.


def once_each(found: Found) -> str | None:
    """Several processes of one machine download every file once."""
    twice = [path for path, count in found.downloads.items() if count > 1]
    return f"{len(twice)} files were downloaded more than once" if twice else None


def continued(found: Found) -> str | None:
    """What had come in before the connection broke is not fetched again."""
    partial = [record for record in found.requests if record["path"].startswith("/lfs/") and record["status"] == 206]
    return None if partial else "the download began anew"


def told(found: Found) -> str | None:
    """A download that takes a while is spoken of."""
    return None if re.search("download", found.output, re.I) else "the download was silent"


def no_code(found: Found) -> str | None:
    """Nothing of a repository's code ran, wherever it would have left its trace."""
    return "code of the repository ran" if list(found.work.rglob("code-of-the-repository-ran")) else None


def reset_once(hub: Hub) -> None:
    """The connection is reset in the middle of the largest file."""
    hub.fault(lambda record: record["method"] == "GET" and record["path"] == large_file(hub), reset=True, cut=24 << 20)


def large_file(hub: Hub) -> str:
    """Where the largest object of LFS lies."""
    return f"/lfs/{max((hub.store.folder / 'lfs').iterdir(), key=lambda path: path.stat().st_size).name}"


def trouble(hub: Hub) -> None:
    """Two 5xx for the list of files, and two for a file."""
    hub.fault("GET /api/models/", status=503, times=2)
    hub.fault("GET /lfs/", status=502, times=2)


def slow(hub: Hub) -> None:
    hub.get_rate = 1_000_000


REFUSED = {"status": 2, "most_bytes": SMALL}
"""A model that is looked at and found wanting: no weight is downloaded, and nothing recorded."""
XL, FLUX, INPAINTING = (REPOSITORIES[name].repo for name in ("sdxl", "flux", "inpainting"))
ROWS = [
    Row("default", ranks=1, checker="CompVis/stable-diffusion-safety-checker@", holds=told),
    Row("offline", ranks=1, home="default", offline=True, most_bytes=0),
    Row("2 ranks", ranks=2, arguments=("--limit", "4", "--only", "occlusion,emotion"), holds=once_each),
    Row("pull request", model="SG161222/Realistic_Vision_V2.0@refs/pr/4", checker="SG161222/Realistic_Vision_V2.0@"),
    Row("own checker", model="studio/own-checker", checker="studio/own-checker@"),
    Row("own checker .bin", model="studio/own-checker-bin", checker="CompVis/stable-diffusion-safety-checker@"),
    Row("one full file", model="studio/one-full-file", checker="CompVis/stable-diffusion-safety-checker@"),
    Row("shards", model="studio/sharded"),
    Row("fp16 beside fp32", model="studio/fp16-variants"),
    Row("v-prediction", model="studio/v-prediction"),
    Row("gated, granted", model="studio/gated", token="hf_read"),
    Row("gated", model="studio/gated", token="hf_other", says="accept|terms", **REFUSED),
    Row("private", model="other/private", token="hf_read", says="private", **REFUSED),
    Row("wrong token", token="hf_wrong", says="token", **REFUSED),
    Row("no such revision", model="studio/own-checker@nowhere", says="revision.*nowhere", **REFUSED),
    Row("no such model", model="studio/nothing", says="no such model|has no", **REFUSED),
    Row("reset, continued", model=PADDED, prepare=reset_once, holds=continued),
    Row("5xx twice", prepare=trouble),
    Row("slow", prepare=slow, holds=told),
    Row("disk full", file_size=1_000_000, status=2, says="full|room|space"),
    Row("custom code", model="studio/custom-code", says="OwnPipeline", holds=no_code, **REFUSED),
    Row("SDXL", model=XL, says="XL", **REFUSED),
    Row("FLUX", model=FLUX, says="Flux", **REFUSED),
    Row("inpainting", model=INPAINTING, says="[Ii]npaint", **REFUSED),
    Row("SD 2", model="studio/sd2", says="1024|Stable Diffusion 2|\\b768\\b", **REFUSED),
    Row("pickles alone", model="studio/sharded-pickles", says="convert", **REFUSED),
    Row("an index of pickles", model="studio/index-of-pickles", says="convert|pickle|\\.bin", **REFUSED),
    Row("several files", model="studio/several-files", says="model-pruned", **REFUSED),
    Row("half a file", model="studio/truncated", status=2, says="damaged"),
    Row("the next model", raw="SDXL", model="studio/own-checker"),
    Row("offline, no cache", offline=True, status=2, says="reach", most_bytes=0),
]


class Theatre:
    """A loopback Hub with all repositories, and the runs that are made against it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.repositories = Repositories(folder / "repositories")
        with Hub(folder / "hub") as self.hub:
            """Stopped between the runs; its port stays."""
        self.repositories.serve(self.hub)
        self.hub.put_model(PADDED, self._padded())

    def _padded(self) -> Path:
        """The default model's folder with a single file that is large enough to break off in the middle."""
        made = shutil.copytree(self.repositories.folder("realistic_vision"), self.folder / "padded")
        path = made / "Realistic_Vision_V2.0.safetensors"
        save_file({**load_file(path), "model_ema.decay": torch.rand(8 << 20)}, path)
        return made

    def play(self, row: Row) -> Found:
        """Make a run of a row and look at what it left."""
        hub, work = self.hub, self.folder / "work" / row.name
        work.mkdir(parents=True, exist_ok=True)
        hub.faults.clear()
        hub.get_rate = None
        row.prepare(hub)
        home = self.folder / "homes" / (row.home or row.name)
        raw = self.folder / "work" / (row.raw or row.name) / "agfd30k-raw"
        command = self._command(row, raw)
        environment = hub.environment(home, row.token) | self._process()
        environment.pop("HF_HUB_DISABLE_PROGRESS_BARS")
        since, start = len(hub.requests), time.monotonic()
        with contextlib.nullcontext(hub) if row.offline else hub:
            done = subprocess.run(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                preexec_fn=_limited(row.file_size),
            )
        seconds = time.monotonic() - start
        found = Found(done.returncode, seconds, done.stdout, hub.bytes_got(since), hub.requests[since:], raw, work)
        (work / "output.txt").write_text(done.stdout, encoding="utf-8")
        found.wrong = list(self._faults(row, found))
        return found

    def _command(self, row: Row, raw: Path) -> list[str]:
        limit = () if "--limit" in row.arguments else ("--limit", str(LIMIT))
        model = ("--model", row.model) if row.model else ()
        return [
            *LAUNCH[row.ranks],
            str(GENERATE),
            *limit,
            "--without",
            "face",
            "--raw",
            str(raw),
            *model,
            *row.arguments,
        ]

    def _process(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # threads gain nothing on such tensors

    def _faults(self, row: Row, found: Found):
        """Yield what is not as it is to be."""
        asked = int(row.arguments[1]) if "--limit" in row.arguments else LIMIT
        if found.status != row.status:
            yield f"status {found.status}, not {row.status}"
        words = found.last_line if row.status else found.output
        if not re.search(row.says, words):
            yield f"does not say {row.says!r}"
        if "Traceback" in found.output and not row.ranks:
            yield "a traceback"
        if found.bytes > row.most_bytes:
            yield f"{found.bytes:,} bytes downloaded"
        if pickles := self._pickles(found):
            yield f"pickles downloaded: {', '.join(pickles)}"
        if row.status and (found.has_recipe or found.pictures):
            yield "something is recorded"
        if not row.status and (len(found.rows), found.pictures, found.has_recipe) != (asked, asked, True):
            yield f"{found.on_disk()}, not {asked} pictures"
        if not all(str(line.get("safety_checker")).startswith(row.checker) for line in found.rows):
            yield f"checked by {found.rows[0].get('safety_checker')}"
        if fault := row.holds(found):
            yield fault

    def _pickles(self, found: Found) -> list[str]:
        """The pickles of any repository that were downloaded."""
        store = self.hub.store
        names = {
            f"/lfs/{entry['lfs']}": path
            for commit in store.commits.values()
            for path, entry in commit["tree"].items()
            if entry["lfs"] and path.endswith(PICKLED)
        }
        fetched = (record["path"] for record in found.requests if record["method"] == "GET")
        return sorted({names[path] for path in fetched if path in names})


def _limited(size: int | None) -> Callable[[], None] | None:
    return None if size is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def line_of(row: Row, found: Found) -> str:
    """A row of the table."""
    mark = "as expected" if not found.wrong else "NOT: " + "; ".join(found.wrong)
    return (
        f"{row.name:<20} {found.status:>6} {found.seconds:>5.0f} s {found.bytes / 1e6:>7.1f} MB  {found.on_disk():<38} "
        f"{mark}\n{'':<22}{found.last_line[:300]}"
    )


def with_earlier(names: list[str]) -> list[Row]:
    """The rows of these names, all if there are none, and those that they go on from."""
    needed = set(names) | {earlier for row in ROWS if row.name in names for earlier in (row.home, row.raw)}
    return [row for row in ROWS if not names or row.name in needed]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], choices=[row.name for row in ROWS], metavar="ROW")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where all of it stays, the output of every run too"
    )
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        theatre = Theatre(folder)
        print(f"{'row':<20} status seconds download  on disk\n{'':<22}the last line that the user sees", flush=True)
        wrong = 0
        for row in with_earlier(arguments.only):
            found = theatre.play(row)
            wrong += bool(found.wrong)
            print(line_of(row, found), flush=True)
    print(f"{wrong} rows are not as expected" if wrong else "every row is as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
