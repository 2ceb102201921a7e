"""Report of a release of many tiny pictures: how long it takes, how large the page is, and how quick it is to use.

    python benchmarks/report.py                   # --rows 3000 for a first look

The pictures, of 96 pixels, come from their seeds, no model and no torch: random patches with noise, which take more
bytes than a face does. Plan, shards, release and report are the real ones. Where there is a Chromium, the page is
opened from disk: `first paint` is its first contentful paint, `ready` when filters and pictures work, `filter` the
slowest of choosing each feature in turn, layout included.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from hundred_thousand import ROOT, scaled
from lint import run

sys.path.insert(0, str(ROOT / "tests"))
import browser

MAKE = """
import builds, numpy as np, reports
from PIL import Image
def picture_of(seed):
    noise = np.random.default_rng(seed).normal(0, 6, (96, 96, 3))
    smooth = np.asarray(patches(seed, 96), dtype=float)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype("uint8"))
patches, builds.picture_of = builds.picture_of, picture_of
reports.make(Path("made"), toml=Path("table.toml").read_text())
"""
WRITE = """
from builder import report
report.main(["made/fruit", "--out", "page.html", "--thumbnails", "THUMBNAILS"])
"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
READY = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
FILTER = """(() => {
  const select = document.querySelector("select[name=feature]");
  return Math.max(...[...select.options].map((option) => {
    const started = performance.now();
    select.value = option.value;
    select.dispatchEvent(new Event("change"));
    document.body.getBoundingClientRect();
    return performance.now() - started;
  }));
})()"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000, help="of the release (default: 30000)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, removed at the end)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        Path(folder, "table.toml").write_text(scaled(arguments.rows / 30_000))
        run(MAKE, folder)
        print(f"{'thumbnails':>10}{'seconds':>9}{'peak MiB':>10}{'MB':>7}{'first paint':>13}{'ready':>9}{'filter':>9}")
        for thumbnails in (0, 1000, 3000):
            seconds, _, peak = run(WRITE.replace("THUMBNAILS", str(thumbnails)), folder)
            page = Path(folder, "page.html")
            size = page.stat().st_size / 1e6
            print(f"{thumbnails:>10,}{seconds:>9.1f}{peak:>10.0f}{size:>7.1f}", end="", flush=True)
            print("".join(f"{ms:>{width}.0f} ms" for ms, width in zip(measured(page), (10, 6, 6))))


def measured(page):
    """Milliseconds to the first paint, until the page is ready, and of a filter; nothing without a Chromium."""
    if browser.find() is None:
        return []
    with browser.page() as tab:
        tab.window(1280, 1600)
        tab.open(page.as_uri())
        tab.run("new Promise((done) => setTimeout(done, 500))")
        return [tab.run(script) for script in (PAINT, READY, FILTER)]


if __name__ == "__main__":
    sys.exit(main())
