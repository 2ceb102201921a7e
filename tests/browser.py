"""A headless Chromium on a pipe, by the Chrome DevTools Protocol: no driver, no socket, no further library."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"],
    *["--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"],
]
START = "import os, sys; r, w, *run = sys.argv[1:]; os.dup2(int(r), 3); os.dup2(int(w), 4); os.execv(run[0], run)"
"""Chromium reads commands at descriptor 3 and answers at 4."""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36}
PATIENCE = 60
KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def find():
    """Path of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab. `problems` collects what the page complains of: errors, and what its policy forbids."""

    def __init__(self, send, receive):
        self.send, self.receive = send, receive
        self.number, self.session, self.problems, self.events = 0, None, [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Send a command and wait for its answer."""
        self.number += 1
        session = {"sessionId": self.session} if self.session else {}
        self.send({"id": self.number, "method": method, "params": parameters, **session})
        while (answer := self._next()).get("id") != self.number:
            pass
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _next(self):
        message = self.receive()
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.problems.append(json.dumps(message["params"]))
        if "method" in message:
            self.events.append(message["method"])
        return message

    def open(self, url):
        """Load a page to its end."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self.events:
            self._next()

    def run(self, script):
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script):
        """Wait until a JavaScript expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.05)

    def press(self, *keys):
        """Press letters or some of KEYS, one after the other."""
        for key in keys:
            known = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key) or ord(key.upper())}
            text = "\r" if key == "Enter" else key if len(key) == 1 else ""
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
            self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def window(self, width, height, dark=False):
        """Show the page on a screen of this size; below 500 pixels it is a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])


@contextmanager
def page():
    """A tab of a new Chromium with a new profile, which ends with the block."""
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    # From 10 up, so that neither is in the other's way to 3 or 4.
    theirs = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in (their_in, their_out)]
    os.close(their_in), os.close(their_out)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", START, *map(str, theirs), find(), *FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(command, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for descriptor in theirs:
            os.close(descriptor)
        with open(our_out, "wb", buffering=0) as commands, open(our_in, "rb", buffering=0) as answers:
            try:
                yield Page(partial(_send, commands), _messages(answers).__next__)
            finally:
                process.terminate()
                process.wait(30)


def _send(pipe, message):
    data = json.dumps(message).encode() + b"\0"
    while data:
        data = data[pipe.write(data) :]


def _messages(pipe):
    rest = b""
    while block := pipe.read(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from map(json.loads, whole)
    raise AssertionError("Chromium has ended")
