"""How evenly a plan spreads ethnicity, age and phrase within every feature and sex."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from builder.plan.sample import Sample
from builder.spec.spec import Spec

FACTORS = ("ethnicity", "age", "phrase")


def spread(spec: Spec, samples: Iterable[Sample]) -> dict[str, int]:
    """Largest difference between the counts of a factor's levels, and of pairs of levels, within any (feature, sex)."""
    cells = defaultdict(list)
    for sample in samples:
        cells[sample.feature, sample.sex].append(sample)
    levels: dict[tuple[str, str], dict[str, Sequence[object]]] = {
        (feature.name, sex): {
            "ethnicity": list(spec.ethnicities),
            "age": feature.ages,
            "phrase": feature.variants(sex),
        }
        for feature in spec.features
        for sex in feature.phrases
    }

    def value(sample: Sample, factor: str) -> object:
        return (sample.subject, sample.phrase) if factor == "phrase" else getattr(sample, factor)

    groups = [*itertools.combinations(FACTORS, 1), *itertools.combinations(FACTORS, 2)]
    spreads = dict.fromkeys((" × ".join(group) for group in groups), 0)
    for cell, group in itertools.product(cells, groups):
        counts = Counter(tuple(value(sample, factor) for factor in group) for sample in cells[cell])
        every = [counts[key] for key in itertools.product(*(levels[cell][factor] for factor in group))]
        name = " × ".join(group)
        spreads[name] = max(spreads[name], max(every) - min(every))
    return spreads
