"""100,000 tiny pictures: how long a resume takes, and how much memory a release needs.

    python benchmarks/hundred_thousand.py            # --pictures 10000 for a first look

The pictures come from a stand-in that skips diffusion; plan, shards, digests, release and loader are the real ones.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STANDIN = ROOT / "tests" / "standin.py"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, removed at the end)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        table = Path(folder, "table.toml")
        table.write_text(scaled(arguments.pictures / 30_000))
        build = [str(STANDIN), "--model", "preview", "--spec", str(table), "--batch-size", "64"]
        print(f"{'step':<44}{'seconds':>9}{'peak MiB':>10}")
        measure("make, commit and release", build, folder)
        measure("run again: nothing to do", build, folder)
        reopened = sorted(Path(folder).glob("agfd30k-raw/shards/*/receipt.json"))[-1]
        reopened.unlink()
        measure("run again: the last receipt lost", build, folder)
        measure("release alone", ["-m", "builder.release"], folder)
        measure("verify: every row, picture and digest", ["-m", "builder.verify"], folder)


def scaled(factor):
    """The default table with every quota multiplied."""
    lines = (ROOT / "builder" / "agfd30k.toml").read_text().splitlines()
    for number, line in enumerate(lines):
        for sex in ("male", "female"):
            if line.startswith(f"{sex} = ") and line.split(" = ")[1].isdecimal():
                lines[number] = f"{sex} = {round(int(line.split(' = ')[1]) * factor)}"
    return "\n".join(lines)


def measure(what, command, folder):
    """Run a command to its end; print its wall time and the memory of its largest process."""
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{what}: failed with status {status}")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    print(f"{what:<44}{time.perf_counter() - started:>9.1f}{peak:>10.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
