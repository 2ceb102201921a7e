"""The builder with photo-like pictures in the place of a model's, for benchmarks.

STANDIN_DELAY says how many seconds each takes, STANDIN_SMALL=1 that they shall be small and cost nothing. A line for
every try goes to `tries.log`. When all is ready a file is written, `began` or what STANDIN_READY calls it, and as many
of them are waited for as STANDIN_PROCESSES says. The attribute check, a matter of the accelerator, is left out.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from pictures import shifted_photo, some_photos

from builder.checks.duplicates import HashCheck
from builder.checks.face import FaceCheck
from builder.checks.integrity import IntegrityCheck
from builder.checks.suite import Checks
from builder.checks.verdict import Verdict
from builder.generate import main
from builder.models.face_detectors import Haar
from builder.plan.sample import Result
from tests.fixtures.builds import picture_of

PATIENCE = 300
"""Seconds for which a process waits for the others to be ready."""


def begin_together() -> None:
    """Say that this process is ready, and wait until all are. Raises TimeoutError where one does not come."""
    Path(os.environ.get("STANDIN_READY", "began")).touch()
    end = time.monotonic() + PATIENCE
    while len(list(Path().glob("began*"))) < int(os.environ.get("STANDIN_PROCESSES", "1")):
        if time.monotonic() > end:
            raise TimeoutError("another process is not ready")
        time.sleep(0.01)


class StandIn:
    """Looks like builder.models.pipeline.Pipeline to the rank loop."""

    def __init__(self, source, recipe, device, **options):
        self.delay = float(os.environ.get("STANDIN_DELAY", "0"))
        self.picture = picture_of if os.environ.get("STANDIN_SMALL") else shifted_photo
        if self.picture is shifted_photo:
            some_photos()
        begin_together()

    def generate(self, attempts):
        with open("tries.log", "a") as log:
            log.writelines(f"{attempt.sample.id} {attempt.number}\n" for attempt in attempts)
        time.sleep(self.delay * len(attempts))
        return [Result(attempt, self.picture(attempt.seed)) for attempt in attempts]


class Looking(FaceCheck):
    """Looks for faces, and keeps what has none: the pictures are noise."""

    def judge(self, samples, images, seen=()):
        return [Verdict(None, verdict.observed) for verdict in super().judge(samples, images, seen)]


def checks(spec, sources, device):
    """The checks of the table but for the attribute; small pictures are never sharp, and have the hash alone."""
    if os.environ.get("STANDIN_SMALL"):
        return Checks([HashCheck()], [])
    return Checks([IntegrityCheck(spec.checks.integrity), Looking(spec.checks.face, Haar()), HashCheck()], [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load=StandIn, build_checks=checks))
