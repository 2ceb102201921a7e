"""Lint of a release of many tiny pictures: how long it takes, and how much memory it needs.

    python benchmarks/lint.py                   # --rows 3000 for a first look

Pictures of 16 pixels come from their seeds, no model and no torch; plan, shards, release and lint are the real ones.
Time and memory are those of a whole process, so the first line, of a process that only imports, is to be taken off.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hundred_thousand import ROOT, scaled

START = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]; from pathlib import Path\n"
MAKE = """
from builds import write_raw
from builder import release, table
toml = Path("table.toml").read_text()
write_raw(Path("raw"), table.load("table.toml"), toml, shard_size=100)
release.make(Path("raw"), Path("release"))
"""
IMPORT = "from builder import lint\n"
LINT = """
found = list(lint.check(lint.Release(Path("release")), thorough=THOROUGH, allow_preview=True))
sys.exit("\\n".join(map(str, found[:5])) or None)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000, help="of the largest release (default: 30000)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, removed at the end)")
    arguments = parser.parse_args()
    print(f"{'rows':>8}  {'':<20}{'seconds':>9}{'of CPU':>9}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(0, "imports alone", IMPORT, folder)
        for rows in (arguments.rows // 10, arguments.rows // 3, arguments.rows):
            place = Path(folder, str(rows))
            place.mkdir()
            (place / "table.toml").write_text(scaled(rows / 30_000))
            run(MAKE, place)
            measure(rows, "lint", IMPORT + LINT.replace("THOROUGH", "False"), place)
            measure(rows, "lint --thorough", IMPORT + LINT.replace("THOROUGH", "True"), place)


def measure(rows, what, code, folder):
    seconds, busy, peak = run(code, folder)
    print(f"{rows:>8,}  {what:<20}{seconds:>9.1f}{busy:>9.1f}{peak:>10.0f}", flush=True)


def run(code, folder):
    """Run Python code in a process of its own; returns wall and CPU time in seconds, and its largest memory in MiB."""
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", START + code], cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed with status {status}:\n{code}")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, peak


if __name__ == "__main__":
    sys.exit(main())
