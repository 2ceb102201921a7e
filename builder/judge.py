"""A page on this machine that asks a person what pictures show: `python -m builder.judge agfd30k-raw --out FILE`.

The judge is told neither what a picture was asked for nor what the verifier says of it.
"""

from __future__ import annotations

import argparse
import getpass
import json
import re
import secrets
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from filelock import FileLock, Timeout

from builder import UserError, album, cli, judgements, rules
from builder.album import Album
from builder.questions import Session, choose

PAGE = Path(__file__).with_suffix(".html")
LOCAL = "127.0.0.1"
MOST_BYTES = 1 << 16
"""Of what the page sends at once."""
PICTURE = re.compile(r"picture/([0-9]{1,9})")
KINDS = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"\xff\xd8\xff": "image/jpeg"}
"""What a picture is, by how its file begins."""
UNKNOWN = "application/octet-stream"
ANSWERS = {"yes": True, "no": False, "skip": None}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    args = _parser().parse_args(argv)
    return cli.status("judge", lambda: _judge(args))


def _judge(args: argparse.Namespace) -> None:
    try:
        with FileLock(args.out.parent / f".{args.out.name}.lock", timeout=0):
            pictures = album.load(args.folder)
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
        rules.one_of("--feature", name, known)
    rules.whole("--each", args.each, 1)
    rules.whole("--port", args.port, 0, 65535)
    judge = _login_name() if args.judge is None else args.judge
    rules.text("--judge", judge)
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


class Server(ThreadingHTTPServer):
    """The page's server, for browsers on this machine that were told its address."""

    daemon_threads = True

    def __init__(self, session: Session, pictures: Album, port: int = 0):
        self.session = session
        self.pictures = pictures
        self.lock = threading.Lock()
        self.token = secrets.token_urlsafe(16)
        self.nonce = secrets.token_urlsafe(16)
        self.page = PAGE.read_text(encoding="utf-8").replace("{{ nonce }}", self.nonce).encode()
        try:
            super().__init__((LOCAL, port), Handler)
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; give another --port, or none") from None
        self.hosts = {f"{name}:{self.server_port}" for name in (LOCAL, "localhost")}

    def handle_error(self, *_: object) -> None:
        """A browser that went away is no fault; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            raise

    @property
    def address(self) -> str:
        """Where the page is; whoever does not know the token in it gets nothing."""
        return f"http://{LOCAL}:{self.server_port}/{self.token}/"


class Handler(BaseHTTPRequestHandler):
    """The page, the question at hand, and pictures by number: nothing in an address is a path."""

    server: Server
    timeout = 60

    def do_GET(self) -> None:
        asked = self._asked()
        number = PICTURE.fullmatch(asked or "")
        if asked is None:
            self.send_error(403)
        elif asked == "":
            self._send("text/html; charset=utf-8", self.server.page)
        elif asked == "question":
            self._state()
        elif number and int(number[1]) < len(self.server.session.questions):
            self._picture(int(number[1]))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        asked, told = self._asked(), self._told()
        if asked is None:
            self.send_error(403)
        elif asked == "undo":
            self._keep(self.server.session.undo)
        elif asked == "answer" and str(told.get("answer")) in ANSWERS and isinstance(told.get("number"), int):
            self._keep(self.server.session.answer, told["number"], ANSWERS[told["answer"]])
        else:
            self.send_error(400)

    def _keep(self, change: Callable, *values: object) -> None:
        """Change what is kept, and send what is asked now; a full disk is told here and on the page."""
        try:
            with self.server.lock:
                change(*values)
        except OSError as error:
            told = f"{error.strerror or error}: this answer is not kept; put that right and press again"
            print(f"judge: {self.server.session.path}: {told}", file=sys.stderr)
            return self._send("text/plain; charset=utf-8", told.encode(), HTTPStatus.INSUFFICIENT_STORAGE)
        self._state()

    def _asked(self) -> str | None:
        """What stands behind the token; None for another site's page, another host's name, or another token."""
        origin, host = self.headers.get("Origin"), self.headers.get("Host")
        token, _, rest = self.path.removeprefix("/").partition("/")
        known = host in self.server.hosts and origin in (None, f"http://{host}")
        known = known and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        return rest if known and secrets.compare_digest(token.encode(), self.server.token.encode()) else None

    def _told(self) -> dict:
        """The JSON object that was sent along; nothing where there is none."""
        try:
            length = max(0, int(self.headers.get("Content-Length", 0)))
            found = json.loads(self.rfile.read(min(length, MOST_BYTES)))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _state(self) -> None:
        with self.server.lock:
            self._send("application/json", json.dumps(self.server.session.state()).encode())

    def _picture(self, number: int) -> None:
        try:
            data = self.server.pictures.picture(self.server.session.questions[number].entry)
        except (UserError, OSError):  # a build that goes on may have taken it back
            return self.send_error(404)
        self._send(next((kind for start, kind in KINDS.items() if data.startswith(start)), UNKNOWN), data)

    def _send(self, kind: str, data: bytes, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        nonce = f"'nonce-{self.server.nonce}'"
        policy = f"default-src 'none'; img-src 'self'; connect-src 'self'; script-src {nonce}; style-src {nonce}"
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """The terminal shows the address and the count, nothing else."""


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
