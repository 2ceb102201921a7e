"""The way that diffusers' documentation shows for several devices, with the stand-in's pictures, for benchmarks.

`PartialState.split_between_processes` gives each process an equal part of the prompts; each makes and saves its own.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from accelerate import PartialState
from standin import begin_together

from tests.fixtures.builds import picture_of


def main(count: int) -> None:
    """Make pictures 0 to count - 1, together with the other processes, into ./images."""
    delay = float(os.environ["STANDIN_DELAY"])
    folder = Path("images")
    folder.mkdir(exist_ok=True)
    with PartialState(cpu=True).split_between_processes(list(range(count))) as seeds:
        begin_together()
        for seed in seeds:
            time.sleep(delay)
            picture_of(seed).save(folder / f"{seed}.png")


if __name__ == "__main__":
    main(int(sys.argv[1]))
