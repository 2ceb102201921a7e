"""A page on this machine that asks a person what pictures show.

The judge is told neither what a picture was asked for nor what the verifier says of it.
"""

from __future__ import annotations

import getpass
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError

SECONDS = 3
"""What a question may take, for a first idea of how long all of them will."""

if TYPE_CHECKING:
    from builder.judging.pictures import Album
    from builder.judging.questions import Session
    from builder.judging.server import Server


def judge(
    folder: Annotated[Path, typer.Argument(help="a raw build or a release folder")] = Path("agfd30k-raw"),
    out: Annotated[Path, typer.Option(metavar="FILE", help="appended to, never overwritten")] = Path(
        "judgements.jsonl"
    ),
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="F", help="ask about this feature alone; may be repeated, or hold several with commas"),
    ] = None,
    each: Annotated[
        int,
        typer.Option(
            metavar="N", parser=cli.whole(1), help="pictures of every feature, and twice as many that are not of it"
        ),
    ] = 50,
    seed: Annotated[
        int, typer.Option(metavar="N", parser=cli.whole(), help="another number asks about other pictures")
    ] = 0,
    judge: Annotated[str | None, typer.Option(metavar="NAME", help="who judges", show_default="the login name")] = None,
    port: Annotated[int, typer.Option(metavar="N", parser=cli.whole(0, 65_535), help="0 is any that is free")] = 0,
) -> None:
    """Open a page on this machine that asks what pictures show, and keep the answers for `agfd30k calibrate`."""
    from filelock import FileLock, Timeout

    from builder.judging import pictures
    from builder.judging.server import Server

    try:
        with FileLock(out.parent / f".{out.name}.lock", timeout=0):
            album = pictures.load(folder)
            judge = _login_name() if judge is None else judge
            session = _session(album, out, judge, cli.words(feature), each, seed)
            _serve(Server(session, album, port), out)
    except Timeout:
        raise UserError(f"{out}: another page writes into it; close that one, or give another --out") from None


def _session(album: Album, out: Path, judge: str, features: Sequence[str], each: int, seed: int) -> Session:
    """The questions that the command asks, and what the file already holds of their answers."""
    from builder.judging import judgements
    from builder.judging.questions import Session, choose

    known = tuple(feature.name for feature in album.spec.features)
    for name in features:
        if name not in known:
            raise UserError(f"--feature must be one of {', '.join(known)}, got {name!r}")
    if not judge.strip():
        raise UserError("--judge must be a name, got nothing")
    questions = choose(album.entries(), features or known, each, seed)
    if not questions:
        raise UserError(f"{album.folder}: no such picture is committed yet: let the build go on for a while")
    judgements.mend(out)
    return Session(questions, album.spec.features, out, judge)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have none
        raise UserError("this system has no login name for you: say who judges with --judge NAME") from None


def _serve(server: Server, out: Path) -> None:
    """Say where the page is and how much there is to do, answer until Ctrl-C, then say what was done."""
    print("\n".join(_start(server)), flush=True)
    new, left = server.until_stopped()
    print(f"\n{new:,} judgements added to {out}, {left:,} questions left", flush=True)


def _start(server: Server) -> Iterator[str]:
    from builder.judging.server import LOCAL

    port, session = server.server_port, server.session
    yield server.address
    yield "open this address in a browser on this machine; Ctrl-C ends"
    tunnel = f"ssh -L {port}:{LOCAL}:{port} {platform.node() or 'HOST'}"
    yield f"on another machine: `{tunnel}` there, then the same address there"
    left, features = len(session.waiting()), len({asked.feature for asked in session.questions})
    yield f"{left:,} questions to answer about {features} features, {session.before:,} answered before: {_time(left)}"
    if shards := server.pictures.unfinished:
        yield f"{shards:,} shards are not done: a sample of what there is now says nothing of what comes later"
    yield "stop when you like and go on later: what is known least is asked first"


def _time(questions: int) -> str:
    minutes = round(questions * SECONDS / 60)
    long = f"about {minutes} minutes" if minutes < 90 else f"about {minutes / 60:.0f} hours"
    return f"{'a minute or two' if minutes < 3 else long} at {SECONDS} seconds each"


COMMAND = cli.Command(judge, ["agfd30k judge agfd30k-raw --out judgements.jsonl --feature smile --each 100"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
