"""A page on this machine that asks a person what pictures show: `python -m builder.judge agfd30k-raw --out FILE`.

The judge is told neither what a picture was asked for nor what the verifier says of it.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from builder.common import cli, validation
from builder.common.errors import UserError
from builder.judging import judgements
from builder.judging import pictures as judging_pictures
from builder.judging.pictures import Album
from builder.judging.questions import Session, choose
from builder.judging.server import Server


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    args = _parser().parse_args(argv)
    return cli.status("judge", lambda: _judge(args))


def _judge(args: argparse.Namespace) -> None:
    try:
        with FileLock(args.out.parent / f".{args.out.name}.lock", timeout=0):
            pictures = judging_pictures.load(args.folder)
            server = Server(_session(args, pictures), pictures, args.port)
            _serve(server, args.out)
    except Timeout:
        raise UserError(f"{args.out}: another page writes into it; close that one, or give another --out") from None


def _parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "python -m builder.judge",
        "Open a page on this machine that asks what pictures show, and keep the answers for builder.calibrate.",
        "python -m builder.judge agfd30k-raw --out judgements.jsonl --feature smile --each 100",
    )
    option = made.add_argument
    option("folder", type=Path, nargs="?", default=Path("agfd30k-raw"), help="a raw build or a release folder")
    option("--out", metavar="FILE", type=Path, default=Path("judgements.jsonl"), help="appended to, never overwritten")
    option("--feature", metavar="F", action="append", help="ask about this feature alone; may be repeated")
    option(
        "--each", metavar="N", type=int, default=50, help="pictures of every feature, and as many that are not of it"
    )
    option("--seed", metavar="N", type=int, default=0, help="another number asks about other pictures")
    option("--judge", metavar="NAME", help="who judges; else the login name")
    option("--port", metavar="N", type=int, default=0, help="0 is any that is free")
    return made


def _session(args: argparse.Namespace, pictures: Album) -> Session:
    """The questions that the command asks for, and what the file already holds of their answers."""
    known = tuple(feature.name for feature in pictures.spec.features)
    for name in args.feature or ():
        validation.one_of("--feature", name, known)
    validation.whole("--each", args.each, 1)
    validation.whole("--port", args.port, 0, 65535)
    judge = _login_name() if args.judge is None else args.judge
    validation.text("--judge", judge)
    questions = choose(pictures.entries(), args.feature or known, args.each, args.seed)
    if not questions:
        raise UserError(f"{args.folder}: no such picture is committed yet: let the build go on for a while")
    judgements.mend(args.out)
    return Session(questions, pictures.spec.features, args.out, judge)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have none
        raise UserError("this system has no login name for you: say who judges with --judge NAME") from None


def _serve(server: Server, out: Path) -> None:
    """Answer until Ctrl-C, then say what was done."""
    print(f"{server.address}\nopen this address in a browser on this machine; Ctrl-C ends", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        with server.lock:  # what was pressed last is on disk
            session = server.session
            new = len(session.answered) - session.before
            left = len(session.questions) - len(session.answered)
            print(f"\n{new:,} judgements added to {out}, {left:,} questions left", flush=True)
    finally:
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
