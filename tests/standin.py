"""The builder with a stand-in for the diffusion model, to test everything around it at speed.

    accelerate launch tests/standin.py --model preview ...

Pictures are small and follow from the seed alone; a tenth of the tries is refused, a tenth is black and fails its
check, and an eighth shows what others show too, so that duplicates are taken back and made again. STANDIN_LOG names a
file that gets a line for every try that was made, STANDIN_DELAY the seconds each takes, STANDIN_CRASH a file: while it
is not there, the process that has made twenty tries makes it and dies.
"""

import os
import sys
import time

from builds import refused, shown

from builder.checks import Checks
from builder.checks.duplicates import HashCheck
from builder.checks.integrity import IntegrityCheck
from builder.generate import main
from builder.plan import Result


class StandIn:
    """Looks like builder.pipeline.Pipeline to the rank loop."""

    def __init__(self, source, recipe, device, **options):
        self.delay = float(os.environ.get("STANDIN_DELAY", "0"))
        self.log = os.environ.get("STANDIN_LOG")
        self.crash = os.environ.get("STANDIN_CRASH")
        self.made = 0

    def generate(self, attempts):
        for attempt in attempts:
            time.sleep(self.delay)
            self.made += 1
            if self.crash and self.made > 20 and not os.path.exists(self.crash):
                open(self.crash, "w").close()
                os._exit(1)
            if self.log:
                with open(self.log, "a") as file:
                    file.write(f"{attempt.sample.id} {attempt.number}\n")
            yield Result(attempt, None, "refused") if refused(attempt) else Result(attempt, shown(attempt))

    def checker_of(self, sample):
        return ""


def checks(spec, sources, device):
    """The checks that need no model; pictures so small are never sharp."""
    return Checks([IntegrityCheck(None), HashCheck()], [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load=StandIn, build_checks=checks))
