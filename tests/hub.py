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
import json
import os
import re
import socket
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

from hub_api import Handler
from hub_faults import Fault
from hub_http import PIECE
from hub_store import Store

TOKENS = {"hf_write": ("user", "write"), "hf_read": ("user", "read"), "hf_other": ("other", "write")}
"""Who a token stands for, and whether it may write."""


def until(condition, timeout=30):
    """Wait for something that happens in another thread or process."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    """Threads for the connections, which it closes when it is stopped."""

    request_queue_size = 64

    def server_bind(self):
        # Little is kept here of what a PUT that is slowed down has sent by now.
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

    Of a client that is killed, the kernel still sends what it was handed: some megabytes may come in after its death.
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
        """Where LFS objects lie: for the client that is another origin, to which it sends no token."""
        return f"http://localhost:{self.port}/lfs"

    def environment(self, home, token=None):
        """The environment of a client: this Hub, this token, and a folder for what it keeps.

        The Hub is its proxy too, which refuses whatever does not go to the loopback interface, but has a record of it.
        """
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
        own |= {"http_proxy": self.endpoint, "https_proxy": self.endpoint, "no_proxy": "127.0.0.1,localhost"}
        outer = {n: v for n, v in os.environ.items() if not re.match("HF_|HUGGING|(http|https|all|no)_proxy", n, re.I)}
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
