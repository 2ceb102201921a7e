"""Report of a release of many tiny pictures: how long it takes, how large the page is, and how quick it is to use.

    python benchmarks/report.py                   # --rows 3000 for a first look

The pictures, of 96 pixels, come from their seeds, no model and no torch: random patches with noise, which take more
bytes than a face does. Plan, shards, release and report are the real ones. Where there is a Chromium, the page is
opened from disk three times: `first paint` is its quickest first contentful paint, `filter` the median time of choosing
another feature, layout included. The two columns after them are the time that the page's main thread was at work until
all was ready, and for a filter: what counts on a machine that is busy with other things.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

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
report.make(Path("made/fruit").resolve(), Path("page.html"), THUMBNAILS)
"""
PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  for (const entry of list.getEntriesByName("first-contentful-paint")) done(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""
FILTER = """(() => {
  const select = document.querySelector("select[name=feature]");
  return [...select.options].map((option) => {
    const started = performance.now();
    select.value = option.value;
    select.dispatchEvent(new Event("change"));
    document.body.getBoundingClientRect();
    return performance.now() - started;
  });
})()"""
HEAD = ("seconds", "of CPU", "peak MiB", "MB", "first paint", "filter", "load CPU", "filter CPU")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000, help="of the release (default: 30000)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, removed at the end)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        Path(folder, "table.toml").write_text(scaled(arguments.rows / 30_000))
        run(MAKE, folder)
        print(f"{'thumbnails':>10}" + "".join(f"{name:>12}" for name in HEAD))
        for thumbnails in (0, 1000, 3000):
            cost = run(WRITE.replace("THUMBNAILS", str(thumbnails)), folder)
            page = Path(folder, "page.html")
            numbers = [f"{number:.1f}" for number in (*cost, page.stat().st_size / 1e6)]
            print(f"{thumbnails:>10,}" + "".join(f"{text:>12}" for text in (*numbers, *measured(page))), flush=True)


def measured(page):
    """The page's own columns, in milliseconds; nothing without a Chromium."""
    if browser.find() is None:
        return []
    runs = []
    for _ in range(3):
        with browser.page() as tab:
            tab.call("Performance.enable", timeDomain="threadTicks")
            tab.window(1280, 1600)
            tab.open(page.as_uri())
            paint, loaded = tab.run(PAINT), busy(tab)
            filters = tab.run(FILTER)
            runs.append((paint, median(filters), loaded, (busy(tab) - loaded) / len(filters)))
    return [f"{min(values):.0f} ms" for values in zip(*runs)]


def busy(tab):
    """Milliseconds that the main thread has worked."""
    found = {metric["name"]: metric["value"] for metric in tab.call("Performance.getMetrics")["metrics"]}
    return found["TaskDuration"] * 1000


if __name__ == "__main__":
    sys.exit(main())
