"""A Hugging Face Hub on the loopback interface, for the unmodified client.

    python tests/hub.py --folder FOLDER --port 8000

It holds dataset repositories: they are created, uploaded to (by LFS: HF_HUB_DISABLE_XET=1), committed to, tagged, read
back and loaded. Users are known by their tokens; a private repository is there for its owner only. In a test:

    with Hub(tmp_path / "hub") as hub:
        hub.fault("PUT /lfs", status=503, times=2)
        subprocess.run([...], env=hub.environment(tmp_path / "home", "hf_write"))
        assert hub.bytes_put() == ...

The state is under the folder, and a Hub that is started there again goes on with it.
"""

import argparse
import base64
import contextlib
import hashlib
import io
import json
import math
import os
import re
import socket
import struct
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from hub_faults import Fault
from hub_store import Refused, Store, blob_id, pointer

TOKENS = {"hf_write": ("user", "write"), "hf_read": ("user", "read"), "hf_other": ("other", "write")}
"""Who a token stands for, and whether it may write."""
PIECE = 1 << 15
"""Bytes that are received or sent at once."""
READ, CONTRIBUTE, WRITE = "read", "contribute", "write"
"""What a request needs to be let: to see the repository, any write token besides, or its owner's write token."""
ROUTES = []


def route(method, path, need=None):
    """A method of the handler that answers requests of this path, if the one who asks may do what it `need`s."""
    names = {"{repo}": r"(?P<repo>[^/]+/[^/]+?)", "{path}": r"(?P<path>.+)"}
    pattern = re.sub(r"\{\w+\}", lambda name: names.get(name[0], rf"(?P<{name[0][1:-1]}>[^/]+)"), path)

    def register(function):
        ROUTES.append((method, re.compile(pattern), need, function))
        return function

    return register


def until(condition, timeout=30):
    """Wait for something that happens in another thread or process."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.01)


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


class Handler(BaseHTTPRequestHandler):
    """One connection of a client; the routes say what the Hub can do."""

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

    # From the request to the answer

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

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def answer(self, fault):
        try:
            answer = answer_error(fault.status, fault.message, fault.code) if fault.status else self.routed()
        except Refused as refused:
            answer = answer_error(refused.status, refused.message, refused.code, **refused.fields)
        answer.headers.update(fault.headers)
        return fault.change(answer)

    def routed(self):
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query))
        self.user, self.role = self.identity()
        for method, pattern, need, function in ROUTES:
            match = pattern.fullmatch(url.path)
            if match and method == self.command.replace("HEAD", "GET"):
                values = {name: unquote(value) for name, value in match.groupdict().items()}
                self.allow(values.get("repo"), need)
                return function(self, **values)
        raise Refused(404, f"the loopback Hub has no {self.command} {url.path}")

    def identity(self):
        """Who asks, and in which role; nobody without a token."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.record["user"] = self.hub.tokens[token][0] if token else None
        return self.hub.tokens[token] if token else (None, None)

    def allow(self, repo, need):
        """Refuse who may not.

        A 401 says RepoNotFound, because the client would take it for that at an https address only.
        """
        if need is None:
            return
        known = self.store.repos.get(repo)
        owner = self.user == repo.partition("/")[0]
        if known is None or (known["private"] and not owner):
            raise Refused(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if need != READ and self.user is None:
            raise Refused(401, "Invalid username or password.", "RepoNotFound")
        if need != READ and self.role != "write":
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        if need == WRITE and not owner:
            raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")

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

    def page(self, items):
        """A page of a list, and a link to the next one."""
        begin, size = int(self.query.get("cursor", 0)), self.hub.page_size
        headers = {}
        if begin + size < len(items):
            query = urlencode({**self.query, "cursor": begin + size})
            headers["Link"] = f'<{self.hub.endpoint}{urlsplit(self.path).path}?{query}>; rel="next"'
        return answer_json(items[begin : begin + size], **headers)

    # Users and repositories

    @route("GET", "/api/whoami-v2")
    def whoami(self):
        if self.user is None:
            raise Refused(401, "Invalid username or password.")
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.role}}
        names = {"id": self.user, "name": self.user, "fullname": self.user}
        return answer_json({"type": "user", **names, "isPro": False, "orgs": [], "auth": token})

    @route("POST", "/api/repos/create")
    def create(self):
        asked = self.json()
        owner = asked.get("organization") or self.user
        repo = f"{owner}/{asked['name']}"
        if self.user is None:
            raise Refused(401, "Invalid username or password.")
        if self.role != "write" or owner != self.user:
            raise Refused(403, f'You don\'t have the rights to create a dataset under the namespace "{owner}"')
        if asked.get("type") != "dataset":
            raise Refused(400, "the loopback Hub holds datasets only")
        url = f"{self.hub.endpoint}/datasets/{repo}"
        with self.store.lock:
            if repo in self.store.repos:
                raise Refused(409, f"You already created this dataset repo: {repo}", url=url)
            self.store.create(repo, asks_private(asked) or False, self.user)
        return answer_json({"url": url, "name": repo, "id": repo})

    @route("GET", "/api/datasets/{repo}", READ)
    @route("GET", "/api/datasets/{repo}/revision/{revision}", READ)
    def info(self, repo, revision="main"):
        known, commit = self.store.repos[repo], self.store.resolve(repo, revision)
        siblings = [{"rfilename": path} for path in commit["tree"]]
        if self.query.get("blobs", "").lower() == "true":
            siblings = [sibling(path, entry) for path, entry in commit["tree"].items()]
        data = {"_id": blob_id(repo.encode())[:24], "id": repo, "author": repo.partition("/")[0], "sha": commit["id"]}
        data |= {"private": known["private"], "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        data |= {"createdAt": known["created"], "lastModified": commit["date"], "siblings": siblings}
        return answer_json({**data, "usedStorage": sum(entry["size"] for entry in commit["tree"].values())})

    @route("GET", "/api/datasets/{repo}/auth-check", READ)
    @route("GET", "/api/datasets/{repo}/auth-check/write", WRITE)
    def auth_check(self, repo):
        return answer_json({})

    @route("PUT", "/api/datasets/{repo}/settings", WRITE)
    def settings(self, repo):
        private = asks_private(self.json())
        with self.store.lock:
            if private is not None:
                self.store.repos[repo]["private"] = private
            self.store.save(repo)
        return answer_json({"private": self.store.repos[repo]["private"]})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        return answer_json(self.hub.validation, 400 if self.hub.validation["errors"] else 200)

    # Revisions

    @route("GET", "/api/datasets/{repo}/refs", READ)
    def refs(self, repo):
        found = {"refs/heads/": [], "refs/tags/": [], "refs/pr/": []}
        for ref, oid in self.store.repos[repo]["refs"].items():
            kind = next(kind for kind in found if ref.startswith(kind))
            found[kind].append({"name": ref.removeprefix(kind), "ref": ref, "targetCommit": oid})
        data = {"branches": found["refs/heads/"], "converts": [], "tags": found["refs/tags/"]}
        return answer_json({**data, **({"pullRequests": found["refs/pr/"]} if "include_prs" in self.query else {})})

    @route("POST", "/api/datasets/{repo}/tag/{revision}", WRITE)
    def tag(self, repo, revision):
        self.store.set_ref(repo, f"refs/tags/{self.json()['tag']}", revision)
        return answer_json({})

    @route("DELETE", "/api/datasets/{repo}/tag/{tag}", WRITE)
    def drop_tag(self, repo, tag):
        self.store.drop_ref(repo, f"refs/tags/{tag}")
        return answer_json({})

    @route("POST", "/api/datasets/{repo}/branch/{branch}", WRITE)
    def branch(self, repo, branch):
        if branch.startswith("refs/"):
            raise Refused(400, f"Invalid reference for a branch: {branch}")
        self.store.set_ref(repo, f"refs/heads/{branch}", self.json().get("startingPoint", "main"))
        return answer_json({})

    @route("DELETE", "/api/datasets/{repo}/branch/{branch}", WRITE)
    def drop_branch(self, repo, branch):
        if branch == "main":
            raise Refused(403, "Cannot delete refs/heads/main")
        self.store.drop_ref(repo, f"refs/heads/{branch}")
        return answer_json({})

    @route("GET", "/api/datasets/{repo}/commits/{revision}", READ)
    def commits(self, repo, revision):
        return self.page(
            [
                {"title": c["message"], "message": c["description"], "authors": [{"user": c["user"]}], **dated(c)}
                for c in self.store.history(repo, revision)
            ]
        )

    # Files

    @route("GET", "/api/datasets/{repo}/tree/{revision}", READ)
    @route("GET", "/api/datasets/{repo}/tree/{revision}/{path}", READ)
    def tree(self, repo, revision, path=""):
        entries = self.entries(repo, revision)
        inside = {name: entry for name, entry in entries.items() if name.startswith(f"{path}/" if path else "")}
        if path and not inside:
            raise Refused(404, f"{path} does not exist on {revision}", "EntryNotFound")
        if self.query.get("recursive", "").lower() != "true":
            inside = {name: entry for name, entry in inside.items() if name.rpartition("/")[0] == path}
        return self.page(list(inside.values()))

    @route("POST", "/api/datasets/{repo}/paths-info/{revision}", READ)
    def paths_info(self, repo, revision):
        form = parse_qs(b"".join(self.body).decode())
        self.query["expand"] = form.get("expand", [""])[0]
        entries = self.entries(repo, revision)
        return answer_json([entries[path.rstrip("/")] for path in form["paths"] if path.rstrip("/") in entries])

    def entries(self, repo, revision):
        """Every file and folder of a revision, as the client reads it, by path."""
        commit = self.store.resolve(repo, revision)
        expand = self.query.get("expand", "").lower() == "true"
        found = {}
        for path, entry in commit["tree"].items():
            for parent in [p.as_posix() for p in reversed(Path(path).parents) if p.name]:
                oid = blob_id(json.dumps([commit["id"], parent]).encode())
                found.setdefault(parent, {"type": "directory", "oid": oid, "size": 0, "path": parent})
            found[path] = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
            if entry["lfs"]:
                found[path]["lfs"] = {"oid": entry["lfs"], "size": entry["size"], "pointerSize": pointer_size(entry)}
        if expand:
            last = {"title": commit["message"], **dated(commit)}  # of the revision, not of the file
            found = {path: {**entry, "lastCommit": last} for path, entry in found.items()}
        return found

    @route("GET", "/datasets/{repo}/resolve/{revision}/{path}", READ)
    def resolve(self, repo, revision, path):
        """A file: a regular one itself, of an LFS object a redirect to where it lies, which is another origin."""
        commit = self.store.resolve(repo, revision)
        entry = commit["tree"].get(path)
        headers = {"X-Repo-Commit": commit["id"]}
        if entry is None:
            answer = answer_error(404, "Entry not found", "EntryNotFound")
            answer.headers |= headers
            return answer
        headers["ETag"] = f'"{entry["oid"]}"'
        if not entry["lfs"]:
            return self.content(self.store.path(entry), headers)
        headers |= {"X-Linked-Etag": f'"{entry["lfs"]}"', "X-Linked-Size": entry["size"]}
        return Answer(302, headers={**headers, "Location": f"{self.hub.storage}/{entry['lfs']}"})

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

    # Commits

    def needed(self):
        """What an upload needs to be let: anybody's write token, if a pull request is to hold it."""
        return CONTRIBUTE if "create_pr" in self.query else WRITE

    @route("POST", "/api/datasets/{repo}/preupload/{revision}")
    def preupload(self, repo, revision):
        self.allow(repo, self.needed())
        tree = self.store.resolve(repo, revision)["tree"]
        files = []
        for file in self.json()["files"]:
            there = tree.get(file["path"])
            lfs = self.store.is_lfs(tree, file["path"], file["size"], self.hub.lfs_threshold)
            files.append({"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False})
            files[-1] |= {"oid": there["lfs"] or there["oid"]} if there else {}
        return answer_json({"files": files})

    @route("POST", "/api/datasets/{repo}/commit/{revision}")
    def commit(self, repo, revision):
        self.allow(repo, self.needed())
        lines = [json.loads(line) for line in b"".join(self.body).splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        operations = [(line["key"], line["value"]) for line in lines if line["key"] != "header"]
        texts = header["summary"], header.get("description", "")
        parent, pr = header.get("parentCommit"), "create_pr" in self.query
        commit, ref = self.store.commit(repo, revision, operations, *texts, self.user, parent, pr)
        url = f"{self.hub.endpoint}/datasets/{repo}"
        data = {"success": True, "commitOid": commit["id"], "commitUrl": f"{url}/commit/{commit['id']}"}
        return answer_json({**data, **({"pullRequestUrl": f"{url}/discussions/{Path(ref).name}"} if pr else {})})

    # LFS

    @route("POST", "/datasets/{repo}.git/info/lfs/objects/batch", CONTRIBUTE)
    def batch(self, repo):
        objects = []
        for asked in self.json()["objects"]:
            objects.append({"oid": asked["oid"], "size": asked["size"]})
            if not self.store.lfs(asked["oid"]).exists():
                verify = {"href": f"{self.hub.endpoint}/datasets/{repo}.git/info/lfs/verify"}
                objects[-1]["actions"] = {"upload": self.upload_action(**asked), "verify": verify}
        parts = any("chunk_size" in made["actions"]["upload"]["header"] for made in objects if "actions" in made)
        return answer_json({"transfer": "multipart" if parts else "basic", "objects": objects})

    def upload_action(self, oid, size):
        """Where an object's bytes go: to one address, or in parts to several."""
        href, part_size = f"{self.hub.storage}/{oid}", self.hub.part_size
        if part_size is None or size <= part_size:
            return {"href": href, "header": {}}
        upload = uuid.uuid4().hex
        numbers = range(1, math.ceil(size / part_size) + 1)
        header = {f"{number:05d}": f"{href}?uploadId={upload}&partNumber={number}" for number in numbers}
        complete = f"{self.hub.endpoint}/api/complete_multipart?uploadId={upload}"
        return {"href": complete, "header": {"chunk_size": str(part_size), **header}}

    @route("PUT", "/lfs/{oid}")
    def put_object(self, oid):
        """The bytes of an object or of a part of it; they count once they are all there, and the right ones."""
        incoming = self.store.folder / "incoming" / f"{uuid.uuid4().hex}.tmp"
        sha256, md5 = hashlib.sha256(), hashlib.md5()
        try:
            with incoming.open("wb") as file:
                for piece in self.body:
                    sha256.update(piece)
                    md5.update(piece)
                    file.write(piece)
            if "uploadId" in self.query:
                os.replace(incoming, self.part(self.query["partNumber"]))
            elif sha256.hexdigest() == oid:
                os.replace(incoming, self.store.lfs(oid))
            else:
                raise Refused(400, "BadDigest")
        finally:
            incoming.unlink(missing_ok=True)
        return Answer(headers={"ETag": f'"{md5.hexdigest()}"'})

    def part(self, number):
        return self.store.folder / "incoming" / f"{self.query['uploadId']}.{number}"

    @route("POST", "/api/complete_multipart")
    def complete(self):
        """Put the parts together that the client says it sent."""
        asked = self.json()
        paths = [self.part(part["partNumber"]) for part in asked["parts"]]
        for path, part in zip(paths, asked["parts"], strict=True):
            if not path.exists() or hashlib.md5(path.read_bytes()).hexdigest() != part["etag"].strip('"'):
                raise Refused(400, f"InvalidPart: {part['partNumber']}")
        whole = self.part("whole")
        with whole.open("wb") as file:
            for path in paths:
                file.write(path.read_bytes())
        if hashlib.sha256(whole.read_bytes()).hexdigest() != asked["oid"]:
            raise Refused(400, "BadDigest")
        os.replace(whole, self.store.lfs(asked["oid"]))
        for path in paths:
            path.unlink()
        return answer_json({"success": True})

    @route("POST", "/datasets/{repo}.git/info/lfs/verify", CONTRIBUTE)
    def verify(self, repo):
        asked = self.json()
        path = self.store.lfs(asked["oid"])
        if not path.exists() or path.stat().st_size != asked["size"]:
            raise Refused(404, f"Object not found: {asked['oid']}")
        return answer_json({})

    @route("GET", "/lfs/{oid}")
    def get_object(self, oid):
        if not self.store.lfs(oid).exists():
            raise Refused(404, "NoSuchKey")
        return self.content(self.store.lfs(oid), {"ETag": f'"{oid}"'})


def asks_private(asked):
    """Whether a repository is to be private; None if that is not said."""
    return asked["visibility"] == "private" if "visibility" in asked else asked.get("private")


def pointer_size(entry):
    return len(pointer(entry["lfs"], entry["size"]))


def dated(commit):
    return {"id": commit["id"], "date": commit["date"]}


def sibling(path, entry):
    """A file as `files_metadata` tells it."""
    lfs = {"sha256": entry["lfs"], "size": entry["size"], "pointerSize": pointer_size(entry)}
    found = {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]}
    return {**found, "lfs": lfs} if entry["lfs"] else found


class Server(ThreadingHTTPServer):
    """Threads for the connections, which it closes when it is stopped."""

    request_queue_size = 64

    def server_bind(self):
        # A client cannot be far ahead of what was received: one that dies has not sent what it still had to send.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        super().server_bind()
        self.connections = set()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        for request in list(self.connections):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class Hub:
    """A Hub that listens from `start` (or `with`) to `stop`, and what a test asks of it and does to it.

    `lfs_threshold` is the size from which any file is kept by LFS, `part_size` that of the parts of a multipart upload
    (none: one PUT for each object), `page_size` how many entries a page of a list has, `put_rate` how many bytes per
    second a PUT may bring; they can be set at any time. `validation` is what it finds in the README.md of a commit.
    """

    def __init__(self, folder, port=0, tokens=TOKENS, lfs_threshold=10_000_000, part_size=None, page_size=1000):
        self.store, self.port, self.tokens = Store(folder), port, dict(tokens)
        self.lfs_threshold, self.part_size, self.page_size = lfs_threshold, part_size, page_size
        self.put_rate = None
        self.validation = {"errors": [], "warnings": []}
        self.faults, self.lock, self.busy = [], threading.Lock(), 0
        self.log = Path(folder) / "requests.jsonl"
        self.requests = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        """A record of every request: method, path, user, status (None: not answered) and bytes of both bodies."""

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.hub = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        """Stop listening, break what connections there are, and let go of the folder."""
        self.server.shutdown()
        self.server.server_close()
        self.server.close_connections()
        until(lambda: not self.busy)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self):
        """Where LFS objects lie: for the client that is another origin, which is told no token."""
        return f"http://localhost:{self.port}/lfs"

    def environment(self, home, token=None):
        """The environment of a client: this Hub, this token, and a folder for what it keeps."""
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return {**outer, **own, **({"HF_TOKEN": token} if token else {})}

    # What came in

    def begin(self, method, path):
        record = {"method": method, "path": path, "user": None, "status": None, "received": 0, "sent": 0}
        with self.lock:
            self.busy += 1
            self.requests.append(record)
        return record

    def end(self, record):
        with self.lock:
            self.busy -= 1
            with self.log.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def asked(self, match, since=0):
        """The records of the requests that match (as a fault's), from the `since`-th request on."""
        return [record for record in self.requests[since:] if Fault(match).matches(record)]

    def bytes_put(self, since=0):
        """How many bytes of LFS objects came in, those of uploads that broke off or go on included."""
        return sum(record["received"] for record in self.asked("PUT /lfs", since))

    # What is there

    def commits(self, repo, revision="main"):
        """The history of a revision, the oldest first: id, parent, message, user, added, deleted, tree."""
        return list(self.store.history(repo, revision))[::-1]

    def files(self, repo, revision="main"):
        """The content of every file of a revision, by path."""
        tree = self.store.resolve(repo, revision)["tree"]
        return {path: self.store.path(entry).read_bytes() for path, entry in tree.items()}

    # What is done to it

    def commit(self, repo, add=(), delete=(), message="by somebody else", revision="main", user="other"):
        """A commit that comes from nowhere: `add` has the contents of regular files, by path."""
        operations = [("deletedFile", {"path": path}) for path in delete]
        for path, content in dict(add).items():
            operations.append(("file", {"path": path, "content": base64.b64encode(content)}))
        return self.store.commit(repo, revision, operations, message, "", user)[0]

    def fault(self, match, **action):
        """From now on, let requests that match fail: see Fault."""
        self.faults.append(Fault(match, **action))
        return self.faults[-1]

    def fault_of(self, record):
        """What befalls a request: the first fault that hits it, or one that does nothing."""
        with self.lock:
            return next((fault for fault in self.faults if fault.befalls(record)), Fault(""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the state is kept")
    parser.add_argument("--port", type=int, default=0, help="(default: any)")
    arguments = parser.parse_args()
    with Hub(arguments.folder, arguments.port) as hub:
        print(f"export HF_ENDPOINT={hub.endpoint} HF_HUB_DISABLE_XET=1", flush=True)
        for token, (user, role) in hub.tokens.items():
            print(f"{token}: {user}, {role}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
