"""All random variation of a drawn person and picture as one value, drawn from labels and a seed.

Ethnicity moves the ranges of skin, hair and eye colour, which overlap; shapes of faces and features come from the same
ranges for everyone. Sex and age move ranges too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawn_faces.drawing.canvas import Colour, mix

SKIN = [(253, 230, 216), (246, 211, 188), (234, 189, 158), (214, 162, 127), (184, 130, 95), (146, 97, 69)]
SKIN += [(109, 70, 50), (80, 51, 39)]
TONES = {  # mean and deviation of a place between the lightest and the darkest skin
    "pale_skin": (0.06, 0.05),
    "asian": (0.21, 0.06),
    "middle_east": (0.34, 0.08),
    "latino": (0.45, 0.09),
    "african": (0.78, 0.11),
}
HAIR = {  # two ends of a range
    "black": ((20, 18, 22), (40, 33, 34)),
    "dark": ((46, 32, 26), (66, 45, 34)),
    "brown": ((98, 56, 28), (128, 78, 42)),
    "blond": ((212, 166, 84), (246, 218, 148)),
    "red": ((168, 58, 22), (206, 92, 36)),
    "grey": ((132, 132, 138), (186, 186, 190)),
    "white": ((208, 208, 208), (240, 240, 236)),
    "dyed": ((116, 40, 66), (70, 60, 110)),
}
NATURAL = {  # shares of hair colours before greying
    "pale_skin": {"black": 0.18, "dark": 0.5, "brown": 0.18, "blond": 0.1, "red": 0.04},
    "asian": {"black": 0.65, "dark": 0.27, "brown": 0.07, "blond": 0.01},
    "middle_east": {"black": 0.5, "dark": 0.38, "brown": 0.1, "blond": 0.02},
    "latino": {"black": 0.5, "dark": 0.36, "brown": 0.12, "blond": 0.02},
    "african": {"black": 0.74, "dark": 0.21, "brown": 0.04, "blond": 0.01},
}
IRIS = {"dark": (62, 38, 26), "brown": (104, 66, 36), "hazel": (126, 104, 52), "green": (84, 128, 86)}
IRIS |= {"blue": (78, 132, 184), "grey": (116, 134, 146)}
EYES = {
    "pale_skin": {"dark": 0.1, "brown": 0.25, "hazel": 0.15, "green": 0.15, "blue": 0.25, "grey": 0.1},
    "asian": {"dark": 0.55, "brown": 0.38, "hazel": 0.05, "grey": 0.02},
    "middle_east": {"dark": 0.35, "brown": 0.4, "hazel": 0.13, "green": 0.08, "blue": 0.04},
    "latino": {"dark": 0.35, "brown": 0.43, "hazel": 0.13, "green": 0.06, "blue": 0.03},
    "african": {"dark": 0.6, "brown": 0.33, "hazel": 0.06, "green": 0.01},
}
CLOTHES = [(196, 60, 62), (224, 122, 62), (232, 188, 76), (98, 156, 92), (52, 122, 116), (66, 118, 178), (44, 62, 110)]
CLOTHES += [(120, 82, 150), (204, 110, 150), (236, 232, 224), (74, 78, 88), (150, 120, 94), (140, 186, 208)]
BACKGROUNDS = [(246, 214, 178), (190, 214, 232), (204, 226, 196), (240, 200, 200), (214, 204, 234), (236, 230, 216)]
BACKGROUNDS += [(178, 214, 208), (232, 206, 150), (206, 208, 214), (150, 182, 214), (222, 172, 148), (170, 192, 160)]


@dataclass(frozen=True)
class Look:
    """Lengths are in halves of the head's height, from its middle; y points down."""

    age: int
    female: bool
    skin: Colour
    hair_name: str
    hair_colour: Colour
    iris: Colour
    width: float
    cheek: float
    jaw: float
    chin: float
    eye_x: float
    eye_y: float
    eye_w: float
    eye_h: float
    eye_tilt: float
    brow_w: float
    brow_gap: float
    brow_arch: float
    nose_w: float
    nose_y: float
    mouth_w: float
    mouth_y: float
    lip_h: float
    lip_red: float
    lashes: float
    stubble: float
    freckles: bool
    wrinkles: float
    hair: str
    wave: float
    hairline: str
    volume: float
    length: float
    part: int
    neck: float
    shoulders: float
    collar: str
    pattern: str
    cloth: Colour
    trim: Colour
    backdrop: str
    back_colours: tuple[Colour, Colour, Colour]
    tilt: float
    scale: float
    x: float
    y: float
    lit: int
    detail: int
    glasses: str = ""
    mask: str = ""
    makeup: str = ""
    hands: tuple[str, ...] = ()
    hat: str = ""
    beard: str = ""
    earrings: str = ""
    mouth: str = "neutral"
    brows: str = "calm"
    eyes: str = "open"
    pose: str = "front"
    light: str = ""
    blurry: bool = False
    small: bool = False


def look(sex: str, ethnicity: str, age: int, seed: int) -> Look:
    """A person with nothing special about them; the same arguments give the same person."""
    rng = np.random.default_rng(seed)
    female = sex == "female"
    return Look(
        age=age,
        female=female,
        **_colours(rng, ethnicity, age),
        **_face(rng, female, age),
        **_hair(rng, female, age),
        **_clothes(rng, female, age),
        **_picture(rng),
    )


def skin(rng: np.random.Generator, ethnicity: str) -> Colour:
    """A skin tone of an ethnicity's range."""
    mean, deviation = TONES[ethnicity]
    tone = float(np.clip(rng.normal(mean, deviation), 0, 1)) * (len(SKIN) - 1)
    low = min(int(tone), len(SKIN) - 2)
    plain = mix(SKIN[low], SKIN[low + 1], tone - low)
    return mix(plain, (232, 140, 130) if rng.random() < 0.5 else (206, 158, 120), rng.uniform(0, 0.1))


def hair_colour(rng: np.random.Generator, name: str) -> Colour:
    """A hair colour of a named range."""
    return mix(*HAIR[name], rng.uniform(0, 1))


def pick(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """A key, with its share for its probability."""
    values = np.array(list(shares.values()))
    return list(shares)[int(np.searchsorted(np.cumsum(values / values.sum()), rng.random(), side="right"))]


def _colours(rng, ethnicity: str, age: int) -> dict:
    tone = skin(rng, ethnicity)
    natural = pick(rng, NATURAL[ethnicity])
    greyed, dyed, shown = rng.random(), rng.random(), rng.random()
    if greyed < (0.03 if 18 <= age < 45 else np.clip((age - 32) / 36, 0, 0.93)):
        natural = "white" if shown < (age - 50) / 60 else "grey"
    if age >= 18 and dyed < 0.05 + 0.06 * (age >= 55):
        natural = "dyed" if shown < 0.4 else "dark"
    if age < 18 and natural in ("grey", "white"):
        natural = "dark"
    iris = mix(IRIS[pick(rng, EYES[ethnicity])], (90, 80, 70), rng.uniform(0, 0.25))
    return {"skin": tone, "hair_name": natural, "hair_colour": hair_colour(rng, natural), "iris": iris}


def _face(rng, female: bool, age: int) -> dict:
    young = float(np.interp(age, [1, 3, 8, 15, 20], [1.0, 0.92, 0.64, 0.3, 0.0]))
    old = float(np.interp(age, [38, 45, 55, 59, 60, 80, 100], [0, 0.33, 0.45, 0.5, 0.72, 0.88, 1.0]))
    u = rng.uniform

    def by_sex(man: tuple[float, float], woman: tuple[float, float], child: float) -> float:
        low, high = woman if female else man
        return u(low, high) * (1 - young) + child * u(0.93, 1.07) * young

    return {
        "width": by_sex((0.68, 0.8), (0.66, 0.77), 0.88),
        "cheek": by_sex((0.92, 0.98), (0.9, 0.97), 1.0),
        "jaw": by_sex((0.7, 0.88), (0.6, 0.78), 0.78) + 0.05 * old,
        "chin": by_sex((0.28, 0.44), (0.2, 0.36), 0.36),
        "eye_x": by_sex((0.29, 0.36), (0.29, 0.36), 0.4),
        "eye_y": by_sex((-0.06, 0.04), (-0.05, 0.05), 0.26),
        "eye_w": by_sex((0.125, 0.165), (0.135, 0.175), 0.19),
        "eye_h": by_sex((0.065, 0.09), (0.07, 0.1), 0.145) * (1 - 0.15 * old),
        "eye_tilt": u(-6, 4) + 4 * old,
        "brow_w": by_sex((0.05, 0.085), (0.034, 0.065), 0.035),
        "brow_gap": by_sex((0.13, 0.18), (0.15, 0.21), 0.2),
        "brow_arch": by_sex((0.0, 0.05), (0.02, 0.07), 0.03),
        "nose_w": by_sex((0.12, 0.2), (0.1, 0.18), 0.085) + 0.02 * old,
        "nose_y": by_sex((0.32, 0.41), (0.3, 0.39), 0.47) + 0.03 * old,
        "mouth_w": by_sex((0.2, 0.28), (0.18, 0.26), 0.17),
        "mouth_y": by_sex((0.58, 0.65), (0.57, 0.64), 0.7),
        "lip_h": by_sex((0.05, 0.1), (0.065, 0.115), 0.06) * (1 - 0.35 * old),
        "lip_red": by_sex((0.2, 0.38), (0.3, 0.6), 0.35),
        "lashes": by_sex((0.0, 0.35), (0.3, 1.0), 0.4),
        "stubble": 0.0 if u() > 0.35 or female or age < 20 else u(0.08, 0.2),
        "freckles": bool(u() < 0.1),
        "wrinkles": float(np.clip(old + u(-0.06, 0.06), 0, 1)) if u() < np.interp(age, [39, 43], [0, 1]) else 0,
    }


def _hair(rng, female: bool, age: int) -> dict:
    styles = {"short": 0.72, "medium": 0.1, "curly": 0.14, "long": 0.01, "bun": 0.03}
    if female:
        styles = {"short": 0.2, "medium": 0.4, "curly": 0.15, "long": 0.05, "bun": 0.2}
    lines = {"side": 0.4, "centre": 0.15, "swept": 0.35, "receding": 0.0 if female or age < 30 else 0.1 + age / 200}
    style, line, wave = pick(rng, styles), pick(rng, lines), rng.random()
    return {
        "hair": "fuzz" if age < 2 else style,
        "wave": 0.0 if wave < 0.6 else rng.uniform(0.02, 0.06),
        "hairline": "side" if line == "receding" and style != "short" else line,
        "volume": rng.uniform(0.05, 0.2),
        "length": rng.uniform(0, 1),
        "part": int(rng.choice([-1, 1])),
    }


def _clothes(rng, female: bool, age: int) -> dict:
    young = float(np.interp(age, [1, 3, 8, 15, 20], [1.0, 0.9, 0.6, 0.25, 0.0]))
    neck, wide = ((0.27, 0.37), (1.2, 1.55)) if female else ((0.33, 0.45), (1.35, 1.75))
    cloth, trim = rng.choice(len(CLOTHES), 2, replace=False)
    return {
        "neck": rng.uniform(*neck) * (1 - 0.3 * young),
        "shoulders": rng.uniform(*wide) * (1 - 0.36 * young),
        "collar": str(rng.choice(["crew", "vneck", "shirt", "turtle", "hoodie", "crew", "jacket"])),
        "pattern": str(rng.choice(["plain", "plain", "stripes", "dots", "band", "upright"])),
        "cloth": mix(CLOTHES[cloth], (128, 128, 128), rng.uniform(0, 0.25)),
        "trim": mix(CLOTHES[trim], (250, 250, 250), rng.uniform(0, 0.5)),
    }


def _picture(rng) -> dict:
    chosen = rng.choice(len(BACKGROUNDS), 3)
    return {
        "backdrop": str(rng.choice(["plain", "disc", "stripes", "hills", "window", "dots", "plain"])),
        "back_colours": tuple(mix(BACKGROUNDS[n], (255, 255, 255), rng.uniform(-0.15, 0.35)) for n in chosen),
        "tilt": rng.uniform(-6, 6),
        "scale": rng.uniform(0.245, 0.295),
        "x": 0.5 + rng.uniform(-0.04, 0.04),
        "y": 0.46 + rng.uniform(-0.03, 0.03),
        "lit": int(rng.choice([-1, 1])),
        "detail": int(rng.integers(2**31)),
    }
