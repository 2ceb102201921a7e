"""What a drawing shows, label by label: the answers that the verifier learns and is measured by."""

from __future__ import annotations

import math

import numpy as np

from builder.spec.spec import SEXES
from drawn_faces.drawing.person import Look

AGES = {"child": (0, 5), "teenager": (5, 18), "young_adult": (18, 40), "old_adult": (40, 60), "old": (60, 200)}
OCCLUSIONS = ("glasses", "mask", "makeup", "hands")
SHOWN = [
    *["smile", "angry", "only_glasses", "only_mask", "only_makeup", "only_hands", "complex"],
    *["under_water", "strong_light", "dark", "left_right", "up"],
    *["blond", "brown", "red", "bangs", "straight_hair", "wavy_hair", "bald"],
    *["small_scale", "mustache", "hat", "blurry", "open_mouth", "close_eyes", "earrings"],
]
FEATURES = [*AGES, *SHOWN, "base"]
ONE_FACE = "one_face"
"""Is there exactly one, whole face?"""
LABELS = [*FEATURES, *SEXES, ONE_FACE]
NATURAL = ("blond", "brown", "red", "bangs", "straight_hair", "wavy_hair", "bald")
"""What a face may have of itself: a plain portrait may show it."""


def truth(look: Look) -> np.ndarray:
    """For every label 1 (shown), 0 (not shown) or NaN (cannot be told from the picture), float32, (len(LABELS),)."""
    known: dict[str, float] = _ages(look)
    known |= _occlusions(look) | _hair(look) | _mouth(look)
    known |= {
        "angry": look.brows == "angry",
        "under_water": look.light == "water",
        "strong_light": look.light in ("behind", "hard"),
        "dark": look.light in ("night", "dim", "black"),
        "left_right": look.pose in ("left", "right"),
        "up": look.pose == "up",
        "small_scale": look.small,
        "mustache": look.beard != "",
        "hat": look.hat != "",
        "blurry": look.blurry,
        "close_eyes": look.eyes in ("closed", "sleepy"),
        "earrings": look.earrings != "",
    }
    special = [known[label] for label in SHOWN if label not in NATURAL]
    known["base"] = not any(value == 1 for value in special)
    known |= {"male": not look.female, "female": look.female, ONE_FACE: True}
    return np.array([known[label] for label in LABELS], dtype=np.float32)


def _ages(look: Look) -> dict[str, float]:
    """The age group, where light, blur or several things before the face do not hide the signs of age."""
    if not _clear(look) or look.light == "behind" or _several(look):
        return dict.fromkeys(AGES, math.nan)
    return {label: first <= look.age < last for label, (first, last) in AGES.items()}


def _clear(look: Look) -> bool:
    return look.light in ("", "behind", "hard") and not look.blurry


def _several(look: Look) -> bool:
    return sum(bool(getattr(look, name)) for name in OCCLUSIONS) > 1 or len(look.hands) > 1


def _occlusions(look: Look) -> dict[str, float]:
    """Each occlusion by itself, and `complex` for several at once."""
    several = _several(look)
    return {f"only_{name}": bool(getattr(look, name)) and not several for name in OCCLUSIONS} | {"complex": several}


def _hair(look: Look) -> dict[str, float]:
    """Hair as it can be seen: not in the dark, under water, behind blur, and colours not on a bald head."""
    if not _clear(look):
        return dict.fromkeys(NATURAL, math.nan)
    long, there = look.hair == "long", look.hair not in ("bald", "fuzz")
    return {
        **{name: there and look.hair_name == name for name in ("blond", "brown", "red")},
        "bangs": there and look.hairline == "bangs",
        "straight_hair": long and look.wave < 0.03,
        "wavy_hair": long and look.wave > 0.05,
        "bald": look.hair == "bald",
    }


def _mouth(look: Look) -> dict[str, float]:
    """A laugh and a yell are open mouths too, but nobody asked for one."""
    open_mouth = math.nan if look.mouth in ("laugh", "yell") else look.mouth == "scream"
    return {"smile": look.mouth in ("smile", "laugh"), "open_mouth": open_mouth}
