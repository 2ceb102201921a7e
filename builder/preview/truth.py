"""What a drawing is known to show: the answers that the verifier learns and is measured by."""

from __future__ import annotations

import math

import numpy as np

from builder.preview.captions import Caption

AGES = {"child": (0, 5), "teenager": (5, 18), "young_adult": (18, 40), "old_adult": (40, 60), "old": (60, 200)}
SHOWN = [
    *["smile", "angry", "only_glasses", "only_mask", "only_makeup", "only_hands", "complex"],
    *["under_water", "strong_light", "dark", "left_right", "up"],
    *["blond", "brown", "red", "bangs", "straight_hair", "wavy_hair", "bald"],
    *["small_scale", "mustache", "hat", "blurry", "open_mouth", "close_eyes", "earrings"],
]
LABELS = [*AGES, *SHOWN, "base"]
NATURAL = {"blond", "brown", "red", "bangs", "straight_hair", "wavy_hair", "bald"}
"""What a face may have of itself, asked or not: only rows about it tell whether it is there."""
ALIKE = {"smile": {"open_mouth"}, "angry": {"open_mouth"}, "open_mouth": {"smile", "angry"}}
"""What cannot be told apart from the outside in some variants, such as yelling and screaming."""


def truth(caption: Caption, obeys: bool = True) -> np.ndarray:
    """For every label 1 (shown), 0 (not shown) or NaN (not known), float32.

    `base` stands for nothing special: 1 for plain portraits, whatever the age. A drawing that does not obey is known only
    not to show what was asked for.
    """
    answers = np.full(len(LABELS), math.nan, dtype=np.float32)
    if not obeys:
        if caption.feature in SHOWN:
            answers[LABELS.index(caption.feature)] = 0
        return answers
    for label, (first, last) in AGES.items():
        answers[LABELS.index(label)] = first <= caption.age < last
    unknown = NATURAL | ALIKE.get(caption.feature, set())
    if caption.feature == "complex":
        unknown |= {"only_glasses", "only_mask", "only_makeup", "only_hands"}
    hair = {"blond", "brown", "red"}, {"straight_hair", "wavy_hair"}
    for group in hair:
        if caption.feature in group:
            unknown -= group
    for label in SHOWN:
        if label == caption.feature or label not in unknown:
            answers[LABELS.index(label)] = label == caption.feature
    plain = caption.feature in AGES or caption.feature == "base"
    answers[LABELS.index("base")] = plain if plain or caption.feature not in NATURAL else math.nan
    return answers
