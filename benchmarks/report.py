"""Report of a release of many tiny pictures: how long it takes, how large the page is, and how quick it is to use.

    python benchmarks report --scale 10           # of 30,000 rows

The pictures, of 96 pixels, come from their seeds, no model and no torch: random patches with noise, which take more
bytes than a face does. Plan, shards, release and report are the real ones. Where there is a Chromium, the page is
opened from disk three times: `first paint` is its quickest first contentful paint, `filter` the median time of choosing
another feature, layout included. The two columns after them are the time that the page's main thread was at work until
all was ready, and for a filter: what counts on a machine that is busy with other things.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from growth import scaled
from harness import Table, process

from tests.fixtures import browser

ROWS = 3_000
START = "from pathlib import Path\n"
MAKE = """
import numpy as np
from PIL import Image
from tests.fixtures import builds, reports
def picture_of(seed):
    noise = np.random.default_rng(seed).normal(0, 6, (96, 96, 3))
    smooth = np.asarray(patches(seed, 96), dtype=float)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype("uint8"))
patches, builds.picture_of = builds.picture_of, picture_of
reports.make(Path("made"), toml=Path("table.toml").read_text())
"""
WRITE = """
from builder.reporting import page
page.make(Path("made/fruit").resolve(), Path("page.html"), THUMBNAILS)
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
MILLISECONDS = ["first paint ms", "filter ms", "load, thread ms", "filter, thread ms"]


def run(scale: float = 1.0) -> Iterator[Table]:
    """One table: a row for each number of thumbnails."""
    rows = max(200, int(ROWS * scale))
    table = Table(f"Report: {rows:,} rows", ["thumbnails", "s", "of computing", "peak MiB", "MB", *MILLISECONDS])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "table.toml").write_text(scaled(rows / 30_000))
        process(["-c", START + MAKE], folder)
        for thumbnails in (0, 1000, 3000):
            cost = process(["-c", START + WRITE.replace("THUMBNAILS", str(thumbnails))], folder)
            page = folder / "page.html"
            size = page.stat().st_size / 1e6
            table.add(thumbnails, cost.seconds, cost.computing, cost.peak, size, *measured(page))
    yield table


def measured(page: Path) -> list[float | None]:
    """The page's own columns; None without a Chromium."""
    if browser.find() is None:
        return [None] * len(MILLISECONDS)
    runs = []
    for _ in range(3):
        with browser.page() as tab:
            tab.call("Performance.enable", timeDomain="threadTicks")
            tab.window(1280, 1600)
            tab.open(page.as_uri())
            paint, loaded = tab.run(PAINT), busy(tab)
            filters = tab.run(FILTER)
            runs.append((paint, median(filters), loaded, (busy(tab) - loaded) / len(filters)))
    return [float(min(values)) for values in zip(*runs)]


def busy(tab: browser.Page) -> float:
    """Milliseconds that the main thread has worked."""
    found = {metric["name"]: metric["value"] for metric in tab.call("Performance.getMetrics")["metrics"]}
    return found["TaskDuration"] * 1000
