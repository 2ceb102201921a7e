"""The builder with photo-like pictures in the place of a model's, for benchmarks.

STANDIN_DELAY says how many seconds each takes, STANDIN_START when to begin (seconds since 1970), STANDIN_SMALL=1 that
they shall be small and cost nothing. A line for every try goes to `tries.log`; `began` is written when all is ready,
`late` where that was after STANDIN_START. The attribute check, which is a matter of the accelerator, is left out.
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


def wait_for_start() -> None:
    """Sleep until STANDIN_START; where that is over, say so in `late`."""
    left = float(os.environ.get("STANDIN_START", "inf")) - time.time()
    if left < 0:
        Path("late").touch()
    time.sleep(left if 0 < left < float("inf") else 0)


class StandIn:
    """Looks like builder.models.pipeline.Pipeline to the rank loop."""

    def __init__(self, source, recipe, device, **options):
        self.delay = float(os.environ.get("STANDIN_DELAY", "0"))
        self.picture = picture_of if os.environ.get("STANDIN_SMALL") else shifted_photo
        if self.picture is shifted_photo:
            some_photos()
        wait_for_start()
        Path("began").touch()

    def generate(self, attempts):
        with open("tries.log", "a") as log:
            log.writelines(f"{attempt.sample.id} {attempt.number}\n" for attempt in attempts)
        for attempt in attempts:
            time.sleep(self.delay)
            yield Result(attempt, self.picture(attempt.seed))


class Looking(FaceCheck):
    """Looks for faces, and keeps what has none: the pictures are noise."""

    def judge(self, samples, images):
        return [Verdict(None, verdict.observed) for verdict in super().judge(samples, images)]


def checks(spec, sources, device):
    """The checks of the table but for the attribute; small pictures are never sharp, and have the hash alone."""
    if os.environ.get("STANDIN_SMALL"):
        return Checks([HashCheck()], [])
    return Checks([IntegrityCheck(spec.checks.integrity), Looking(spec.checks.face, Haar()), HashCheck()], [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load=StandIn, build_checks=checks))
