"""Slices: which pictures belong together, by any columns of a release; numbers fall into bins with fixed edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from builder.common.errors import UserError
from builder.evaluation.truth import CLASSES, Truth

UNKNOWN = "not known"
EDGES: dict[str, tuple[float, ...]] = {
    "age": (13, 20, 40, 60),
    "yaw": (-45, -30, -15, 15, 30, 45),
    "roll": (-30, -15, 15, 30),
    "pitch": (-30, -15, 15, 30),
    "face_size": (0.1, 0.2, 0.3, 0.4, 0.6),
    "luminance": (0.15, 0.3, 0.45, 0.6),
}
"""Where the bins of a number meet; a number on an edge is in the bin above it. `face_size` is the height of the face
as a share of the picture's."""
WORDS = (*CLASSES, "split", "phrase")
COLUMNS = (*WORDS, *EDGES)


@dataclass(frozen=True)
class Slicing:
    """Pictures by the values of some columns: `keys` are the values of each slice, one a column, and `codes` (n,) says
    which slice a picture is in.
    """

    by: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    codes: np.ndarray

    @classmethod
    def of(cls, truth: Truth, by: Sequence[str]) -> Slicing:
        """Slice a release by columns, in the order of its classes. Raises UserError for a column that is none."""
        if not by or len({*by}) < len(by):
            raise UserError(f"--by {','.join(by)}: name different columns: {', '.join(COLUMNS)}")
        columns = [column(truth, name) for name in by]
        orders = [_order(truth, name, values) for name, values in zip(by, columns)]
        places = np.stack([[order[value] for value in values] for order, values in zip(orders, columns)], axis=1)
        found, codes = np.unique(places, axis=0, return_inverse=True)
        names = [[*order] for order in orders]
        keys = tuple(tuple(names[n][place] for n, place in enumerate(row)) for row in found)
        return cls(tuple(by), keys, codes.reshape(-1))


def column(truth: Truth, name: str) -> np.ndarray:
    """Return what slice of a column every picture is in. Raises UserError for a column that is none."""
    if name not in COLUMNS:
        raise UserError(f"--by {name}: no such column; choose from {', '.join(COLUMNS)}")
    if name in WORDS:
        values = truth.strings(name)
        return np.array([UNKNOWN if value is None else value for value in values], dtype=object)
    return _binned(_numbers(truth, name), EDGES[name])


def bins(edges: Sequence[float]) -> list[str]:
    """Return the names of the bins between some edges.

    >>> bins((-15, 15))
    ['below -15', '-15 to 15', '15 and more']
    """
    middle = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *middle, f"{edges[-1]:g} and more"]


def _binned(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    names = np.array([*bins(edges), UNKNOWN], dtype=object)
    places = np.digitize(values, np.array(edges, dtype=np.float32))
    return names[np.where(np.isnan(values), len(names) - 1, places)]


def _numbers(truth: Truth, name: str) -> np.ndarray:
    if name != "face_size":
        return truth.numbers(name)[:, 0]
    return truth.numbers("face_height")[:, 0] / (truth.height or np.nan)


def _order(truth: Truth, name: str, values: np.ndarray) -> dict[str, int]:
    """Return the place of each value among those of its column: as the release, or the bins, have them."""
    known = truth.labels.get(name) or (bins(EDGES[name]) if name in EDGES else sorted({*values} - {UNKNOWN}))
    return {value: place for place, value in enumerate([*known, UNKNOWN])}
