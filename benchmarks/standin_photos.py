"""The builder with photo-like pictures in the place of a model's, each after STANDIN_DELAY seconds; for benchmarks.

The attribute check, which is a matter of the accelerator, is left out. `loop.json` gets the seconds from the first try
to the last commit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pictures import shifted_photo, some_photos

from builder.checks import Checks
from builder.checks.duplicates import HashCheck
from builder.checks.face import FaceCheck, Haar
from builder.checks.integrity import IntegrityCheck
from builder.checks.verdict import Verdict
from builder.generate import main
from builder.plan import Result


class StandIn:
    """Looks like builder.pipeline.Pipeline to the rank loop."""

    def __init__(self, source, recipe, device, **options):
        self.delay = float(os.environ.get("STANDIN_DELAY", "0"))
        some_photos()
        self.started = time.perf_counter()

    def generate(self, attempts):
        for attempt in attempts:
            time.sleep(self.delay)
            yield Result(attempt, shifted_photo(attempt.seed))
        Path("loop.json").write_text(json.dumps({"seconds": time.perf_counter() - self.started}))

    def checker_of(self, sample):
        return ""


class Looking(FaceCheck):
    """Looks for faces, and keeps what has none: the pictures are noise."""

    def judge(self, samples, images):
        return [Verdict(None, verdict.observed) for verdict in super().judge(samples, images)]


def checks(spec, sources, device):
    """The checks of the table but for the attribute."""
    return Checks([IntegrityCheck(spec.checks.integrity), Looking(spec.checks.face, Haar()), HashCheck()], [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load=StandIn, build_checks=checks))
