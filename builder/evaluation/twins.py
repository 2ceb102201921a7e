"""What a feature itself does: how much more often a model fails on its pictures than on their twins, which lack it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from builder.common.documents import Document
from builder.evaluation import statistics
from builder.evaluation.cells import FEW, Pair
from builder.evaluation.paired import paired
from builder.evaluation.slices import Slicing
from builder.evaluation.tasks import Question


class Effect(Document):
    """Of `pairs` of a slice's pictures and their twins: both rates, and how often only the picture fails and only the
    twin. `difference` is the one rate less the other, `p` McNemar's, `holm` the same for all slices together. `grey`
    where too few pairs say much; `same_seed` of the pairs have one seed, and differ in the prompt alone.
    """

    key: dict[str, str]
    pairs: int
    same_seed: int
    rates: tuple[float, float]
    only_picture: int
    only_twin: int
    difference: float
    difference_interval: Pair
    p: float
    holm: float
    grey: bool

    @property
    def name(self) -> str:
        return " ".join(self.key.values()) or "all"


class Effects(Document):
    """The effects of all slices by some columns that have twins."""

    by: tuple[str, ...]
    effects: tuple[Effect, ...]


def applies(question: Question) -> bool:
    """Return whether a picture and its twin have failures to compare: a twin has no feature that could be read, and as
    the same person it is no impostor.
    """
    return question.task != "recognise" and question.label != "feature"


def effects(
    slicings: Sequence[Slicing], failed: np.ndarray, twin_failed: np.ndarray, same_seed: np.ndarray
) -> tuple[Effects, ...]:
    """Return the effects of every slicing, the largest certain one first. The arrays are of the pictures, (n,): what
    became of each and of its twin, 0 or 1, NaN where there is none or nothing could be tried.
    """
    known = ~(np.isnan(failed) | np.isnan(twin_failed))
    made = [[*_effects(slicing, failed, twin_failed, same_seed, known)] for slicing in slicings]
    adjusted = iter(statistics.holm(np.array([effect.p for own in made for effect in own])))
    return tuple(
        Effects(by=slicing.by, effects=tuple(sorted((_adjusted(effect, next(adjusted)) for effect in own), key=_order)))
        for slicing, own in zip(slicings, made)
    )


def _order(effect: Effect) -> tuple[bool, float]:
    return effect.grey, -effect.difference_interval[0]


def _adjusted(effect: Effect, holm: float) -> Effect:
    return effect.model_copy(update={"holm": float(holm)})


def _effects(
    slicing: Slicing, failed: np.ndarray, twin_failed: np.ndarray, same_seed: np.ndarray, known: np.ndarray
) -> list[Effect]:
    """Return the effects of the slices with twins; their `holm` is their own p."""
    made = []
    for code, key in enumerate(slicing.keys):
        places = np.flatnonzero((slicing.codes == code) & known)
        if not len(places):
            continue
        both = paired(failed[places], twin_failed[places])
        made.append(
            Effect(
                key=dict(zip(slicing.by, key)),
                pairs=both.trials,
                same_seed=int(same_seed[places].sum()),
                rates=both.rates,
                only_picture=both.only_first,
                only_twin=both.only_second,
                difference=both.difference,
                difference_interval=both.difference_interval,
                p=both.p,
                holm=both.p,
                grey=both.trials < FEW,
            )
        )
    return made
