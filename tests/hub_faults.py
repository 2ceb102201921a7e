"""What goes wrong at a loopback Hub, when a test asks for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

QUOTA = "Private repository storage limit reached, please upgrade your plan to increase your private storage limit."
"""What the Hub says with a 403, in answer to an LFS batch, to who has no room left."""


@dataclass
class Fault:
    """A misfortune of some requests: which ones, and what befalls them.

    The requests are those that `match`, a method and a part of the path ("PUT /lfs", "* /commit/") or a predicate of
    the request's record; the first `after` of them pass, and `times` of the rest are hit. One fault hits a request at
    most, the first that can; the next ones do not count it.
    """

    match: str | Callable[[dict], bool]
    times: float = 1
    after: int = 0
    delay: float = 0
    """Seconds before anything is done."""
    before: Callable[[], object] = lambda: None
    """Called before anything is done: somebody else's deed."""
    reset: bool = False
    """The connection is reset, once `bytes` bytes of the body have come in; nothing is done."""
    bytes: int = 0
    status: int | None = None
    """This answer is given, with `message` and an X-Error-Code of `code`; nothing is done."""
    message: str = ""
    code: str | None = None
    headers: dict = field(default_factory=dict)
    """Of the answer, whoever gives it."""
    change: Callable = lambda answer: answer
    """The answer that goes out in place of the right one."""
    cut: float = math.inf
    """The connection is closed after so many bytes of the answer's body."""
    lose_answer: bool = False
    """The work is done, but the connection is reset before anything of the answer is sent."""
    seen: int = 0
    """How many requests matched by now."""

    @property
    def hits(self):
        """How many requests it befell by now."""
        return int(min(max(self.seen - self.after, 0), self.times))

    def befalls(self, record):
        """Whether it hits this request; counts it."""
        if not self.matches(record):
            return False
        hits = self.hits
        self.seen += 1
        return self.hits > hits

    def matches(self, record):
        if callable(self.match):
            return self.match(record)
        method, _, part = self.match.partition(" ")
        return method in ("*", record["method"]) and part in record["path"]
