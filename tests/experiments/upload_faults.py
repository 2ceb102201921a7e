"""Let an upload fail in every way there is, run it again, and see what the user is told and what the Hub holds.

    python tests/experiments/upload_faults.py

prints a row for every fault and exits 0 when every row is right: `builder/upload.py` runs as a process of its own
against a loopback Hub, once with the fault and once after it. `--kill-300mb` kills an upload of 300 MB instead.
"""

import argparse
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

from builder.dataset import packing, parquet
from builder.hub import branch
from builder.raw.build import RawBuild
from tests.fixtures import builds
from tests.fixtures.hub import Hub, until
from tests.fixtures.hub.faults import QUOTA

ROOT = Path(__file__).parents[2]
NAME = "AGFD-30K"
REPO, OTHER = f"user/{NAME}", f"other/{NAME}"
TOKEN = "hf_write"
DONE = r"holds the release: load_dataset\("
DOWN = f"^upload: {REPO}: the Hub answers 503: .*; run it again to go on$"
RESET = f"^upload: {REPO}: no answer .*; run it again to go on$"
GATEWAY = f"^upload: {REPO}: what answers is not the Hub: <html>.*502 Bad Gateway.*; run it again to go on$"
SHORT_WAITS = """
from huggingface_hub.utils import _http
retry.TRIES, retry.FIRST_PAUSE = 3, 0.1
_http.time = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.05))})
"""
"""For a fault that stays: what is waited for between tries, cut short."""
NO_READBACK = "readback.read_back = lambda *_: None"
"""Several seconds for every upload that ends well."""
SMALL_BUFFERS = """
import socket

class Small(socket.socket):
    def connect(self, *address):
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        return super().connect(*address)

socket.socket = Small
"""
"""Hardly anything is on its way that the Hub has not read: what a process has sent when it dies did not all arrive."""
PROGRAM = """
import sys, time, types
from builder import upload
from builder.common import retry
from builder.hub import branch, changes, readback, repository
{}
sys.exit(upload.main())
"""


def make_release(folder, limit=1, side=builds.SIDE, rows_a_group=parquet.ROWS_A_GROUP, file_bytes=parquet.FILE_BYTES):
    """A release of `limit` noise pictures, whose Parquet files are as small as is asked; returns its folder."""
    cut = mock.patch.multiple(parquet, ROWS_A_GROUP=rows_a_group, FILE_BYTES=file_bytes)
    with cut, mock.patch.object(builds, "picture_of", partial(builds.picture_of, side=side)):
        builds.write_raw(folder / "raw", only=["occlusion"], limit=limit)
        packing.pack(RawBuild.open(folder / "raw"), folder / NAME)
    return folder / NAME


def files_of(folder):
    """Every file of a release folder, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Releases:
    """The release folders that the cases send, each made when it is first asked for."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def __getitem__(self, kind):
        if kind not in self.made:
            (self.folder / kind).mkdir(parents=True)
            self.made[kind] = getattr(self, f"_{kind}")(self.folder / kind)
        return self.made[kind]

    def _tiny(self, folder):
        """One picture, eight files."""
        return make_release(folder)

    def _faulty(self, folder):
        """The tiny one, and a file that does not belong to it."""
        shutil.copytree(self["tiny"], folder / NAME)
        (folder / NAME / "notes.txt").write_text("mine")
        return folder / NAME

    def _several(self, folder):
        """Parquet files of 800 kB each, larger than what lies in a connection."""
        return make_release(folder, limit=10, side=512, rows_a_group=1, file_bytes=1)


@dataclass
class Run:
    """An upload that has ended."""

    status: int
    output: str
    errors: str
    requests: list[dict]

    @property
    def last_line(self):
        """What the user sees last."""
        lines = (self.errors if self.status else self.output or self.errors).strip().splitlines() or [""]
        return re.sub(r"http://[\w.]+:\d+", "http://…", lines[-1])

    @property
    def bytes_put(self):
        """How many bytes of every LFS object came in, those that the Hub refused left out."""
        found = Counter()
        for record in self.requests:
            if record["method"] == "PUT" and record["path"].startswith("/lfs") and record["status"] in (None, 200):
                found[record["path"]] += record["received"]
        return found

    def shows(self, text):
        """Whether a text is in what the run printed, or in an address that it asked for."""
        return text in self.output + self.errors or any(text in record["path"] for record in self.requests)


def start(hub, folder, *arguments, token=TOKEN, repo=REPO, patches=()):
    """Start the command; `patches` are lines of Python that change the modules before it runs."""
    script = [ROOT / "builder" / "upload.py"]
    if patches:
        script = ["-c", PROGRAM.format("\n".join(patches))]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *script, folder, "--repo-id", repo, "--allow-preview", *arguments],
        env={**hub.environment(hub.store.folder.with_name("home"), token), "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def upload(hub, folder, *arguments, stop=None, **options):
    """Run the command to its end; `stop` waits for a moment and sends it a signal."""
    since = len(hub.requests)
    with start(hub, folder, *arguments, **options) as process:
        if stop:
            stop(hub, process)
        output, errors = process.communicate()
    until(lambda: not hub.busy)
    return Run(process.returncode, output, errors, hub.requests[since:])


@dataclass(frozen=True)
class Case:
    """A fault, and what must come of it.

    `bring` makes it happen, given the Hub; what it returns, if anything, is called after the run and must be true. The
    command must exit with `status` and the last line say `says`, with so many `commits` made, and nothing sent if it is
    `refused`. It is run again, with `again`, when the fault is over. A case that is `lasting` cuts waits short, and one
    that `loads` is about what is read back.
    """

    fault: str
    bring: Callable[[Hub], object] = lambda hub: None
    status: int = 0
    says: str = DONE
    commits: int = 1
    refused: bool = False
    token: str | None = TOKEN
    repo: str = REPO
    kind: str = "tiny"
    lasting: bool = False
    loads: bool = False
    stop: Callable | None = None
    arguments: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


def failing(fault, says, bring=lambda hub: None, **options):
    """A fault that ends the command, as a rule before a commit."""
    return Case(fault, bring, says=says, **{"status": 2, "commits": 0, **options})


def refused(fault, says, bring=lambda hub: None, **options):
    """A fault that ends the command before anything is sent."""
    return failing(fault, says, bring, refused=True, **options)


def wait_asked(hub):
    """A 429 with Retry-After for the commit: the next try comes no sooner."""
    tries = []
    hub.fault("POST /commit/", status=429, headers={"Retry-After": "3"}, before=lambda: tries.append(time.monotonic()))
    hub.fault("POST /commit/", before=lambda: tries.append(time.monotonic()))
    return lambda: len(tries) == 2 and tries[1] - tries[0] >= 3


def somebody_commits(hub):
    """Somebody else's commit comes just before ours: 412."""
    hub.fault("POST /commit/", before=lambda: hub.commit(REPO, {"theirs.txt": b"theirs"}))
    return lambda: hub.files(REPO).get("theirs.txt") == b"theirs"


def strangers(hub):
    """A dataset that another tool made."""
    hub.store.create(REPO, False, "user")
    hub.commit(REPO, {"README.md": b"# Mine", "mine.csv": b"1,2"}, user="other")
    return lambda: hub.files(REPO).get("mine.csv") == b"1,2"


def ours(hub):
    """A repository of the user's, still empty."""
    hub.store.create(REPO, True, "user")


def others(hub):
    """A dataset of somebody else, for everyone to see."""
    hub.store.create(OTHER, False, "other")
    return lambda: len(hub.commits(OTHER)) == 1


def hidden(hub):
    """A private dataset of somebody else."""
    hub.store.create(OTHER, True, "other")


def card_refused(hub):
    """The Hub finds something wrong in the card, when it is about to be committed."""

    def answer(given):
        given.status, given.body = (
            400,
            json.dumps({"errors": [{"message": "no such licence"}], "warnings": []}).encode(),
        )
        return given

    hub.fault(CARD, change=answer)


def no_data(hub):
    """The Parquet files that were sent cannot be had."""
    hub.fault(lambda r: "/resolve/" in r["path"] and ".parquet" in r["path"], status=404, times=math.inf)
    return lambda: hub.store.repos[REPO]["private"] and not hub.store.ref(REPO, "v1")


def unreadable(hub):
    """Somebody's card is there, but the Hub does not give it."""
    strangers(hub)
    hub.fault("* /resolve/", status=503, times=math.inf)


def lost_to_the_proxy(hub):
    """The commit is made, but what stands before the Hub answers 504."""

    def answer(given):
        given.status, given.body = 504, b""
        return given

    hub.fault("POST /commit/", change=answer)


def page(given):
    """What a gateway says in the Hub's place."""
    given.status, given.body = 502, b"<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n"
    return given


def at(match, **action):
    """A fault of some requests, as `bring`."""

    def bring(hub):
        hub.fault(match, **action)

    return bring


def in_the_middle(number, after=4_000_000, rate=1_500_000):
    """Send a signal when a part of the files has arrived and others are on their way."""

    def stop(hub, process):
        hub.put_rate = rate
        until(lambda: hub.bytes_put() > after or process.poll() is not None, timeout=120)
        process.send_signal(number)
        time.sleep(0.3)
        hub.put_rate = None

    return stop


COMMIT, CARD = "POST /commit/", "POST /api/validate-yaml"
GOOD = (
    Case("500 on commit", at(COMMIT, status=500)),
    Case("503 on commit, three times", at(COMMIT, status=503, times=3)),
    Case("503 on LFS batch", at("POST objects/batch", status=503)),
    Case("429 with Retry-After on commit", wait_asked),
    Case("reset inside a PUT", at("PUT /lfs", reset=True, bytes=1000)),
    Case("the commit's answer is lost", at(COMMIT, lose_answer=True)),
    Case("504 for a commit that is made", lost_to_the_proxy),
    Case("somebody commits in between (412)", somebody_commits),
    Case("a gateway's page as the commit's card is checked", at(CARD, after=1, change=page)),
)
"""Faults that the command gets over."""
REFUSED = (
    refused("bad token", "^upload: the access token is not valid: log in", token="hf_nobody_knows_this_one"),
    refused("no token", "^upload: no access token: log in with `hf auth login`, or set HF_TOKEN", token=None),
    refused("read-only token, new dataset", f"^upload: {REPO}: the access token may not create", token="hf_read"),
    refused("read-only token", f"^upload: {REPO}: the access token may not write there$", ours, token="hf_read"),
    refused("somebody else's dataset", f"^upload: {OTHER}: the access token may not write there$", others, repo=OTHER),
    refused("somebody else's private one", f"^upload: {OTHER}: the access token may not create", hidden, repo=OTHER),
    refused("somebody else's name, no dataset", f"^upload: {OTHER}: the access token may not create", repo=OTHER),
    refused(
        "quota exceeded",
        f"^upload: {REPO}: the Hub answers 403: {re.escape(QUOTA)}$",
        at("POST objects/batch", status=403, message=QUOTA, times=math.inf),
    ),
    refused("the Hub is down for good (503)", DOWN, at("* /", status=503, times=math.inf), lasting=True),
    refused("every connection is reset", RESET, at("* /", reset=True, times=math.inf), lasting=True),
    refused("the card there cannot be read (503)", DOWN, unreadable, lasting=True, again=("--force",)),
    refused("a dataset that is not ours", "did not make; choose another name", strangers, again=("--force",)),
    refused("a lint fault", f"{NAME}: a fault, nothing was sent$", kind="faulty"),
)
LATE = (
    failing("the storage is down for good (503)", DOWN, at("PUT /lfs", status=503, times=math.inf), lasting=True),
    failing("commits fail for good (503)", DOWN, at(COMMIT, status=503, times=math.inf), lasting=True),
    failing(
        "the card cannot be checked for good", GATEWAY, at(CARD, after=1, change=page, times=math.inf), lasting=True
    ),
    failing("the card is refused", f"^upload: {REPO}: the Hub refuses the card: .*no such licence", card_refused),
    failing(
        "what was sent does not load",
        f"^upload: {REPO}: what was sent does not load: occlusion: ",
        no_data,
        commits=1,
        loads=True,
        arguments=("--tag", "v1", "--public"),
    ),
)
"""Faults that come up when bytes were sent already."""
STOPPED = (
    failing(
        "Ctrl-C in mid-upload",
        "^upload: stopped; run it again to go on",
        status=130,
        kind="several",
        stop=in_the_middle(signal.SIGINT),
    ),
    failing(
        "SIGKILL in mid-upload",
        r"^(0 of .* files are there; |sent [\d.,]+ of )",
        status=-signal.SIGKILL,
        kind="several",
        stop=in_the_middle(signal.SIGKILL),
    ),
)
CASES = (*GOOD, *REFUSED, *LATE, *STOPPED)


NEVER = ("card without data", "data lost", "duplicates", "token shown")
"""Columns that count what must not be."""


def incomplete_cards(hub, repo, files):
    """Commits that show the release's card without the release's files."""
    wrong = 0
    for commit in hub.commits(repo):
        found = {path: hub.store.path(entry).read_bytes() for path, entry in commit["tree"].items()}
        shown = found.get("README.md") == files["README.md"]
        wrong += shown and any(found.get(path) != content for path, content in files.items())
    return wrong


def own_commits(hub, repo):
    """The user's commits, without the one that a repository is made with."""
    if repo not in hub.store.repos:
        return []
    return [commit for commit in hub.commits(repo) if commit["user"] == "user" and commit["parent"]]


def duplicates(hub, repo):
    """Commits that change nothing, or make the release once more."""
    made = own_commits(hub, repo)
    again = sum(commit["message"] == "Release" for commit in made) - 1
    return sum(not commit["added"] and not commit["deleted"] for commit in made) + max(again, 0)


def allowed_again(folder):
    """The largest files that can be in flight together."""
    sizes = sorted((path.stat().st_size for path in folder.rglob("*") if path.is_file()), reverse=True)
    return sum(sizes[: branch.FILES_AT_ONCE])


def trial(case, folder, releases, patches=(), upload=upload):
    """Run a case: a row of the table, with what was found and whether it is right. `upload` runs the command."""
    with Hub(folder / "hub") as hub:
        holds = case.bring(hub) or (lambda: True)
        own = [SHORT_WAITS] * case.lasting + [SMALL_BUFFERS] * bool(case.stop)
        options = {"token": case.token, "repo": case.repo, "stop": case.stop}
        first = upload(
            *(hub, releases[case.kind], *case.arguments), patches=[*own, *(() if case.loads else patches)], **options
        )
        commits = len(own_commits(hub, case.repo))
        happened = all(fault.hits for fault in hub.faults) and holds()
        hub.faults.clear()
        good = releases["tiny" if case.kind == "faulty" else case.kind]
        rerun = upload(hub, good, *case.arguments, *case.again, patches=patches)
        return _row(case, hub, files_of(good), first, rerun, commits, happened, allowed_again(good))


def _row(case, hub, files, first, rerun, commits, happened, allowed):
    there = hub.files(REPO) if REPO in hub.store.repos else {}
    again = sum(min(sent, first.bytes_put[path]) for path, sent in rerun.bytes_put.items())
    sent = sum(first.bytes_put.values())
    row = {
        "fault": case.fault,
        "exit": first.status,
        "commits": commits,
        "card without data": incomplete_cards(hub, REPO, files) if there else 0,
        "data lost": sum(there.get(path) != content for path, content in files.items()),
        "duplicates": duplicates(hub, REPO),
        "token shown": sum(run.shows(case.token or TOKEN) or run.shows(TOKEN) for run in (first, rerun)),
        "sent": sent,
        "sent again": again,
        "rerun ends well": rerun.status == 0 and bool(re.search(DONE, rerun.last_line)),
        "ok": False,
        "the user sees": first.last_line,
    }
    told = first.status == case.status and re.search(case.says, first.last_line) and "Traceback" not in first.errors
    clean = not any(row[name] for name in NEVER)
    right = [told, happened, clean, row["rerun ends well"], commits == case.commits, again <= allowed]
    row["ok"] = all(right) and (bool(case.stop) or not again) and not (case.refused and sent)
    return row


def shown(row):
    """A row as text: how many of what must not be is `no` when there is none."""
    words = {name: "yes" if value else "no" for name, value in row.items() if isinstance(value, bool)}
    none = {name: "no" for name in NEVER if not row[name]}
    return {name: str(value) for name, value in {**row, **words, **none}.items()}


def table(rows):
    """The rows as lines of a table."""
    texts = [dict(zip(rows[0], rows[0])), *map(shown, rows)]
    widths = {name: max(len(text[name]) for text in texts) for name in rows[0]}
    return "\n".join(" | ".join(text[name].ljust(width) for name, width in widths.items()).rstrip() for text in texts)


def killed_large(folder):
    """SIGKILL in the middle of 300 MB, in files of 22 MB, and once more to the end; returns the numbers."""
    sent = make_release(folder, limit=96, side=1024, rows_a_group=7, file_bytes=1)
    with Hub(folder / "hub") as hub:
        stop = in_the_middle(signal.SIGKILL, after=150_000_000, rate=20_000_000)
        first = upload(hub, sent, patches=[NO_READBACK, SMALL_BUFFERS], stop=stop)
        rerun = upload(hub, sent, patches=[NO_READBACK])
        files = {path: path.stat().st_size for path in sent.rglob("*") if path.is_file()}
        again = sum(min(size, first.bytes_put[path]) for path, size in rerun.bytes_put.items())
        whole = {**hub.files(REPO), ".gitattributes": b""} == {**files_of(sent), ".gitattributes": b""}
        return {
            "bytes of the release": sum(files.values()),
            "largest file": max(files.values()),
            "sent until the kill": sum(first.bytes_put.values()),
            "sent afterwards": sum(rerun.bytes_put.values()),
            "sent in all": hub.bytes_put(),
            "sent again": again,
            "allowed, files in flight": allowed_again(sent),
            "killed": first.status == -signal.SIGKILL,
            "whole": whole and rerun.status == 0 and not duplicates(hub, REPO),
        }


def print_killed_large(folder):
    found = killed_large(folder)
    for name, value in found.items():
        print(f"{name:>24}: {value:,}" if not isinstance(value, bool) else f"{name:>24}: {value}")
    good = found["killed"] and found["whole"] and 0 < found["sent again"] <= found["allowed, files in flight"]
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="", help="only the faults that have this in their name")
    parser.add_argument("--kill-300mb", action="store_true", help="kill a large upload, and count what is sent again")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kill_300mb:
            return print_killed_large(Path(folder))
        releases = Releases(Path(folder, "releases"))
        for number, case in enumerate(case for case in CASES if arguments.only in case.fault):
            started = time.monotonic()
            rows.append(trial(case, Path(folder, str(number)), releases))
            print(f"{case.fault}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(table(rows))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
