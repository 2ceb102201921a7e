"""A headless Chromium for tests, driven over its own pipe: Chrome DevTools Protocol, no driver and no library."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    *["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"],
]
PATIENCE = 60


class Chromium:
    """One page, `width` × `height` CSS pixels; its user may prefer `dark` colours."""

    def __init__(self, width=1280, height=800, dark=False):
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        ends = [*os.pipe(), *os.pipe()]
        theirs, self.to, self.of, their_to = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 50) for end in ends)
        for end in ends:
            os.close(end)
        arguments = [PROGRAM, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        null = os.open(os.devnull, os.O_RDWR)
        duplicates = [(null, 1), (null, 2), (theirs, 3), (their_to, 4)]  # in this order: `null` may itself be 3 or 4
        actions = [(os.POSIX_SPAWN_DUP2, *each) for each in duplicates]
        self.pid = os.posix_spawn(PROGRAM, arguments, os.environ, file_actions=actions, setpgroup=0)
        for end in (theirs, their_to, null):
            os.close(end)
        self.number, self.buffer, self.session = 0, b"", None
        target = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.to)
        os.close(self.of)
        shutil.rmtree(self.profile, ignore_errors=True)

    def __call__(self, method, **parameters):
        """Call a method of the protocol; returns its result."""
        self.number += 1
        call = {"id": self.number, "method": method, "params": parameters}
        call |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(call).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            said = self._message(until)
            if said.get("id") == self.number:
                assert "error" not in said, (method, said["error"])
                return said["result"]

    def _message(self, until):
        while b"\0" not in self.buffer:
            assert select.select([self.of], [], [], max(0, until - time.monotonic()))[0], "Chromium does not answer"
            self.buffer += os.read(self.of, 1 << 20)
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, address):
        self("Page.navigate", url=address)

    def js(self, expression):
        """The value of a JavaScript expression."""
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression):
        """Wait until a JavaScript expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.js(expression):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.05)

    def press(self, key):
        """Press a key that gives a letter."""
        self("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        self("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))
