"""How sure a counted share is."""

from __future__ import annotations

from statistics import NormalDist


def wilson(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of the share `hits` of `total`; (0, 1) when nothing was counted.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if total == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    middle = (hits + z2 / 2) / (total + z2)
    half = (z2 * (hits * (total - hits) / total + z2 / 4)) ** 0.5 / (total + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
