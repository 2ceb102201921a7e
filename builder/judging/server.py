"""The page that asks a person what pictures show, served on the loopback interface alone.

The judge is told neither what a picture was asked for nor what the verifier says of it.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from builder.common.errors import UserError
from builder.judging.pictures import Album
from builder.judging.questions import Session

PAGE = Path(__file__).with_name("judge.html")

LOCAL = "127.0.0.1"

MOST_BYTES = 1 << 16
"""Of what the page sends at once."""

PICTURE = re.compile(r"picture/([0-9]{1,9})")

KINDS = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"\xff\xd8\xff": "image/jpeg"}
"""What a picture is, by how its file begins."""

UNKNOWN = "application/octet-stream"

ANSWERS = {"yes": True, "no": False, "skip": None}


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

    def until_stopped(self) -> tuple[int, int]:
        """Answer until ^C; returns how many judgements were added, and how many questions are left."""
        try:
            self.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()
        with self.lock:  # what was pressed last is on disk
            session = self.session
            return len(session.answered) - session.before, len(session.questions) - len(session.answered)


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
        """Return what stands behind the token; None for another site's page, another host's name, or another token."""
        origin, host = self.headers.get("Origin"), self.headers.get("Host")
        token, _, rest = self.path.removeprefix("/").partition("/")
        known = host in self.server.hosts and origin in (None, f"http://{host}")
        known = known and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        return rest if known and secrets.compare_digest(token.encode(), self.server.token.encode()) else None

    def _told(self) -> dict:
        """Return the JSON object that was sent along; nothing where there is none."""
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
