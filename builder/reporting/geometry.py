"""Where the faces of a release are and which way they look: by feature, counted over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agfd30k import SPLITS
from builder.common.intervals import wilson
from builder.dataset.statistics import FeatureCounts
from builder.reporting.data import Labels, columns_of, naming
from builder.spec import table

READ = ("faces", "face_height", "yaw", "pitch", "roll")
BINS = 24
TALL = 26
"""Height of a chart's tallest bar."""
UNFOUND = ("no face", "no single face")
"""Why a try is rejected in which no face was found."""


@dataclass(frozen=True)
class Measure:
    """What is measured of a face: its name, the range that is charted, its unit, and what its sign says."""

    name: str
    low: float
    high: float
    unit: str
    says: str

    def counts(self, values: np.ndarray) -> list[int]:
        """Return how many values fall into each of BINS; those beyond the range are in the outermost ones."""
        places = (values - self.low) / (self.high - self.low) * BINS
        return np.bincount(np.clip(places, 0, BINS - 1).astype(np.int64), minlength=BINS).tolist()

    def chart(self, values: np.ndarray) -> dict[str, Any] | None:
        """Return the distribution of values as bars and in numbers; None where there are none."""
        values = values[np.isfinite(values)]
        if not len(values):
            return None
        low, middle, high = (f"{round(value)}".replace("-", "−") for value in np.quantile(values, (0.05, 0.5, 0.95)))
        said = f"{middle}{self.unit}, {low} to {high}"
        return {"bars": bars(self.counts(values)), "said": said, "count": len(values)}


MEASURES = (
    Measure("yaw", -90, 90, "°", "left – right"),
    Measure("pitch", -60, 60, "°", "up – down"),
    Measure("roll", -60, 60, "°", "counter-clockwise – clockwise"),
    Measure("size", 0, 100, "%", "of the picture's height"),
)


def bars(counts: Sequence[int]) -> str:
    """Return an SVG path of bars, 4 wide in steps of 5, of which the tallest is TALL high; what is there is visible."""
    most = max(counts)
    tall = [max(0.8, round(TALL * n / most, 1)) if n else 0 for n in counts]
    return "".join(f"M{5 * place} {TALL}v-{high:g}h4v{high:g}z" for place, high in enumerate(tall) if high)


@dataclass(frozen=True)
class Faces:
    """The faces of n rows: `found` is how many each has, NaN where nobody looked; `measures` are (n,) arrays by name,
    NaN where there is no face, of those of MEASURES that the release has.
    """

    found: np.ndarray
    measures: dict[str, np.ndarray]

    @classmethod
    def of(cls, folder: Path) -> Faces:
        """Read them, in the order of `Labels`. Raises UserError where they are not those of a release."""
        parts = []
        for path in (path for split in SPLITS for path in sorted(folder.glob(f"metadata/{split}-*.parquet"))):
            with naming(path), pq.ParquetFile(path) as file:
                read = columns_of(file, READ)
                parts.append({name: _numbers(read[name]) for name in READ if name in read.column_names})
        names = set.intersection(*map(set, parts))
        whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
        found, high = whole.pop("faces"), whole.pop("face_height")
        with naming(folder / "recipe.toml"):
            whole["size"] = 100 * high / table.load(folder / "recipe.toml").recipe.height
        return cls(found, {measure.name: whole[measure.name] for measure in MEASURES if measure.name in whole})

    def charts(self, labels: Labels) -> list[dict[str, Any]]:
        """Return for every feature with a face its charts, in the order of `measured`; None for one of nothing."""
        kinds, feature = [m for m in MEASURES if m in self.measured], labels.column("feature")
        rows = []
        for code, name in enumerate(labels.names["feature"]):
            own = feature == code
            charts = [kind.chart(self.measures[kind.name][own]) for kind in kinds]
            if any(charts):
                rows.append({"feature": name, "pictures": int(own.sum()), "charts": charts})
        return rows

    @property
    def measured(self) -> list[Measure]:
        """What was measured of any face."""
        return [m for m in MEASURES if m.name in self.measures and np.isfinite(self.measures[m.name]).any()]

    def unfound(self, labels: Labels, features: Sequence[FeatureCounts]) -> list[dict[str, Any]]:
        """Return for every feature in whose pictures a face was looked for how many have none, the largest share first;
        and how many tries were rejected for that.
        """
        rejected = {row.feature: sum(row.reasons.get(reason, 0) for reason in UNFOUND) for row in features}
        looked, missed = np.isfinite(self.found), self.found == 0
        rows = []
        for code, name in enumerate(labels.names["feature"]):
            own = labels.column("feature") == code
            total, none = int((own & looked).sum()), int((own & missed).sum())
            if total:
                row = {"feature": name, "pictures": total, "none": none, "share": none / total}
                rows.append(row | {"interval": wilson(none, total), "rejected": rejected.get(name, 0)})
        return sorted(rows, key=lambda row: (-row["share"], -row["rejected"]))

    def unseen(self, labels: Labels) -> list[str]:
        """Return the features in whose pictures no face was looked for."""
        own = (labels.column("feature") == code for code in range(len(labels.names["feature"])))
        places = zip(labels.names["feature"], own)
        return [name for name, rows in places if rows.any() and not np.isfinite(self.found[rows]).any()]


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as float64, NaN for null."""
    return column.cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
