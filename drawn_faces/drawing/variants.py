"""What each feature changes in a Look: a phrase chooses the variant, otherwise chance does; or the reverse is done."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from builder.spec.spec import SEXES
from drawn_faces.drawing import person
from drawn_faces.drawing.person import Look

ANGRY = {"brows": "angry", "eyes": "narrow"}
VARIANTS: dict[str, dict[str, dict]] = {
    "child": {"": {}},
    "teenager": {"": {}},
    "young_adult": {"": {}},
    "old_adult": {"": {}},
    "old": {"": {}},
    "smile": {"smiling": {"mouth": "smile"}, "laughing": {"mouth": "laugh", "eyes": "merry"}},
    "angry": {
        "pissed": ANGRY | {"mouth": "sneer"},
        "yelling": ANGRY | {"mouth": "yell"},
        "angry": ANGRY | {"mouth": "frown"},
    },
    "only_glasses": {
        "sunglasses": {"glasses": "sun"},
        "swimming": {"glasses": "swim"},
        "skiing": {"glasses": "ski"},
        "glasses": {"glasses": "clear"},
    },
    "only_mask": {"gas": {"mask": "gas"}, "masked": {"mask": "surgical"}},
    "only_makeup": {
        "highly": {"makeup": "full"},
        "eyeshadow": {"makeup": "shadow"},
        "eyeliner": {"makeup": "liner"},
        "joker": {"makeup": "joker"},
        "halloween": {"makeup": "halloween"},
    },
    "only_hands": {"hair": {"hands": ("hair",)}, "face": {"hands": ("face",)}},
    "complex": {"": {}},
    "under_water": {"": {"light": "water"}},
    "strong_light": {"behind": {"light": "behind"}, "strong": {"light": "hard"}},
    "dark": {"night": {"light": "night"}, "dark light": {"light": "dim"}, "very dark": {"light": "black"}},
    "left_right": {"left": {"pose": "left"}, "right": {"pose": "right"}},
    "up": {"": {"pose": "up"}},
    "blond": {"": {"hair_name": "blond"}},
    "brown": {"": {"hair_name": "brown"}},
    "red": {"": {"hair_name": "red"}},
    "bangs": {"": {"hairline": "bangs"}},
    "straight_hair": {"": {"hair": "long", "wave": 0.0}},
    "wavy_hair": {"": {"hair": "long", "wave": 0.1}},
    "bald": {"": {"hair": "bald"}},
    "small_scale": {"": {"small": True}},
    "mustache": {"mustache": {"beard": "mustache"}, "side": {"beard": "sideburns"}, "goatee": {"beard": "goatee"}},
    "hat": {kind: {"hat": kind} for kind in ("baseball", "straw", "beanie", "fedora", "bucket")},
    "blurry": {"": {"blurry": True}},
    "open_mouth": {"": {"mouth": "scream", "brows": "raised", "eyes": "wide"}},
    "close_eyes": {"sleepy": {"eyes": "sleepy"}, "close": {"eyes": "closed"}},
    "earrings": {"": {"earrings": "some"}},
    "base": {"": {}},
}
FEATURES = tuple(VARIANTS)
PARTS = {  # of the feature complex
    "glasses": {"glasses": "clear"},
    "masked": {"mask": "surgical"},
    "halloween": {"makeup": "halloween"},
    "front of face": {"hands": ("face",)},
    "front of hair": {"hands": ("hair",)},
}
OTHER_AGES = {"child": (25, 55), "teenager": (45, 80), "young_adult": (60, 100), "old_adult": (3, 8), "old": (15, 35)}
PLANTED = ("only_glasses", "hat", "angry", "only_mask", "open_mouth", "bald", "mustache")
"""What base shows when it disobeys."""


@dataclass(frozen=True)
class Labels:
    """What a drawing is asked to show."""

    feature: str
    sex: str
    ethnicity: str
    age: int
    phrase: str = ""

    def __post_init__(self):
        for name, known in (("feature", FEATURES), ("sex", SEXES), ("ethnicity", tuple(person.TONES))):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not 0 <= self.age <= 120:
            raise ValueError(f"`age` must be 0 to 120 years, got {self.age!r}")


def look_of(labels: Labels, seed: int, obey: bool = True) -> Look:
    """The person and picture that a drawing shows: the exact truth about it."""
    rng = np.random.default_rng([seed, 1])
    feature, age = labels.feature, labels.age
    if not obey and feature in OTHER_AGES:
        age = int(rng.choice(OTHER_AGES[feature]))
    if not obey and feature == "base":
        feature, obey = str(rng.choice(PLANTED)), True
    plain = person.look(labels.sex, labels.ethnicity, age, seed)
    if not obey:
        return _without(plain, feature, rng)
    changes = _complex(labels.phrase, rng) if feature == "complex" else _variant(feature, labels.phrase, rng)
    return _fitting(replace(plain, **changes), feature, rng)


def _variant(feature: str, phrase: str, rng) -> dict:
    variants = VARIANTS[feature]
    chosen = str(rng.choice(list(variants)))
    return variants[next((key for key in variants if key and key in phrase.lower()), chosen)]


def _complex(phrase: str, rng) -> dict:
    found = [key for key in PARTS if key in phrase.lower()]
    some = rng.choice(list(PARTS), int(rng.integers(2, 6)), replace=False)
    changes: dict = {}
    for key in found if len(found) > 1 else [str(key) for key in some]:
        for name, value in PARTS[key].items():
            changes[name] = changes.get(name, ()) + value if name == "hands" else value
    return changes


def _fitting(look: Look, feature: str, rng) -> Look:
    """Make room for a feature: hair where it is asked for, ears where they carry something."""
    if feature in ("blond", "brown", "red"):
        styles = ("medium", "short", "bun", "curly", "medium") if look.female else ("short", "curly", "medium", "short")
        look = replace(
            look,
            hair_colour=person.hair_colour(rng, feature),
            hair=str(rng.choice(styles)),
            hairline="side" if look.hairline == "receding" else look.hairline,
            volume=rng.uniform(0.12, 0.25),
        )
    if feature == "bangs":
        look = replace(look, hair=str(rng.choice(["short", "medium", "long", "bun"])), wave=0.0)
    if feature in ("straight_hair", "wavy_hair"):
        line = str(rng.choice(["centre", "side"]))
        look = replace(look, hairline=line, length=rng.uniform(0.2, 1), wave=look.wave * rng.uniform(0.8, 1.25))
    if feature == "wavy_hair":
        look = replace(look, volume=rng.uniform(0.16, 0.3))
    if feature == "earrings":
        kind = str(rng.choice(["hoop", "drop", "pearl", "star"]))
        look = replace(look, earrings=kind, hair=str(rng.choice(["short", "bun", "short", "curly"])))
    if feature == "under_water":
        look = replace(look, hair="floating" if look.hair != "fuzz" else "fuzz")
    if (feature == "mustache" or look.mask) and look.hair in ("medium", "long", "curly"):
        look = replace(look, hair="short")
    if look.hat and look.hair in ("bun", "curly"):
        look = replace(look, hair="medium" if look.hair == "bun" else "short")
    if look.small:
        look = replace(look, scale=rng.uniform(0.11, 0.135), y=rng.uniform(0.2, 0.25), x=rng.uniform(0.42, 0.58))
    return look


def _without(plain: Look, feature: str, rng) -> Look:
    """The same person without the feature, also where chance had given it to them."""
    if feature in ("blond", "brown", "red"):
        others = [name for name in ("black", "dark", "grey", "blond", "red", "brown") if name != feature]
        name = plain.hair_name if plain.hair_name != feature else str(rng.choice(others[:3]))
        return replace(plain, hair_name=name, hair_colour=person.hair_colour(rng, name))
    if feature in ("straight_hair", "wavy_hair"):
        return replace(plain, hair="short", wave=0.0, hairline="swept")
    return plain
