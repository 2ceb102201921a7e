"""HTTP as a loopback Hub speaks it: what comes in and what is answered, and the faults in between."""

import contextlib
import io
import json
import math
import os
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from hub_store import Refused

PIECE = 1 << 15
"""Bytes that are received or sent at once."""


@dataclass
class Answer:
    """A status, headers, and a body: bytes, or a slice of a file."""

    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    path: Path | None = None
    start: int = 0
    stop: int = 0

    def __len__(self):
        return self.stop - self.start if self.path else len(self.body)

    def pieces(self):
        with open(self.path, "rb") if self.path else io.BytesIO(self.body) as file:
            file.seek(self.start)
            left = len(self)
            while left:
                piece = file.read(min(PIECE, left))
                left -= len(piece)
                yield piece


def answer_json(data, status=200, **headers):
    headers = {"Content-Type": "application/json; charset=utf-8", **headers}
    return Answer(status, json.dumps(data).encode(), headers)


def answer_error(status, message, code=None, **fields):
    """An error where the client looks for it: in the headers (all that a HEAD has) and in the body."""
    answer = answer_json({"error": message, **fields}, status)
    answer.headers.update({"X-Error-Message": message} if message else {})
    answer.headers.update({"X-Error-Code": code} if code else {})
    return answer


class Connection(BaseHTTPRequestHandler):
    """A connection of a client, whose requests are answered by what `routed` returns or refuses."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def hub(self):
        return self.server.hub

    @property
    def store(self):
        return self.server.hub.store

    def log_message(self, *_):
        """Nothing on the terminal: the Hub has its own log."""

    def serve(self):
        """Handle a request, and what befalls it."""
        self.record = self.hub.begin(self.command, self.path)
        fault = self.hub.fault_of(self.record)
        self.body = self.receive(fault.bytes if fault.reset else math.inf)
        try:
            time.sleep(fault.delay)
            fault.before()
            answer = None if fault.reset else self.answer(fault)
            for _ in self.body:
                pass
            if answer is None or fault.lose_answer:
                raise ConnectionAbortedError
            self.send(answer, fault.cut)
        except ConnectionError:
            self.reset()
        finally:
            self.hub.end(self.record)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_CONNECT = serve

    def answer(self, fault):
        try:
            answer = answer_error(fault.status, fault.message, fault.code) if fault.status else self.routed()
        except Refused as refused:
            answer = answer_error(refused.status, refused.message, refused.code, **refused.fields)
        answer.headers.update(fault.headers)
        return fault.change(answer)

    def receive(self, limit):
        """The body as it comes in, piece by piece; the connection breaks once there were `limit` bytes."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        left = 0 if chunked else int(self.headers.get("Content-Length", 0))
        while left or chunked:
            if not left and not (left := self.chunk_size()):
                self.rfile.readline()
                return
            piece = self.rfile.read1(min(left, PIECE, limit - self.record["received"]))
            if not piece:
                raise ConnectionAbortedError
            left -= len(piece)
            self.record["received"] += len(piece)
            if chunked and not left:
                self.rfile.readline()
            if self.command == "PUT" and self.hub.put_rate:
                time.sleep(len(piece) / self.hub.put_rate)
            yield piece

    def chunk_size(self):
        line = self.rfile.readline()
        if not line:
            raise ConnectionAbortedError
        return int(line.split(b";")[0], 16)

    def json(self):
        return json.loads(b"".join(self.body) or b"{}")

    def send(self, answer, cut):
        size = 0 if self.command == "HEAD" else int(min(len(answer), cut))
        self.record.update(status=answer.status, sent=size)
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": len(answer)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        for piece in answer.pieces() if size else ():
            self.wfile.write(piece[:size])
            size -= len(piece[:size])
            if not size:
                break
        self.close_connection = self.close_connection or cut < len(answer)

    def reset(self):
        """Close the connection with a RST, at once."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def content(self, path, headers):
        """A file of the disk, or the range of it that was asked for."""
        size = path.stat().st_size
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return Answer(200, headers=headers, path=path, stop=size)
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= stop:
            return Answer(416, headers={**headers, "Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Answer(206, headers=headers, path=path, start=start, stop=stop)
