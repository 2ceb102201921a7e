"""What a picture must be like to be kept: the thresholds of every check, as a table's [checks] give them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from builder.common import validation

FACE_RULES = ("one", "covered", "profile", "any")
"""How a feature's faces are looked for; see Shown."""
HAAR, CLASSIFIER = "haar", "classifier"
ON_FAIL = ("reject", "keep")


@dataclass(frozen=True)
class Integrity:
    """A picture with content. `sharpness` is the least variance of its Laplacian, `noise` the most share of its
    variance that lies between neighbouring pixels: 1 for white noise, under 0.1 for a photograph.
    """

    sharpness: float = 8.0
    noise: float = 0.5

    def __post_init__(self):
        validation.number("checks.integrity.sharpness", self.sharpness, 0, 10_000)
        validation.number("checks.integrity.noise", self.noise, 0, 2)


@dataclass(frozen=True)
class Face:
    """Exactly one face. `detector` is "haar" (comes with OpenCV), "classifier" (the attribute check's model, if that
    has a label `one_face`), or a YuNet model: a .onnx file, or a repository on the Hub. `smallest` is a face's least
    height as a share of the picture's; a classifier knows no size.
    """

    detector: str = HAAR
    revision: str = "main"
    smallest: float = 0.25

    def __post_init__(self):
        validation.text("checks.face.detector", self.detector)
        validation.text("checks.face.revision", self.revision)
        validation.number("checks.face.smallest", self.smallest, 0.02, 1)


@dataclass(frozen=True)
class Attribute:
    """The feature, the sex and the age that were asked for can be seen.

    `model` is a CLIP or SigLIP model, or an image classifier whose labels are names of features, sexes and age groups.
    A score under `threshold` fails the feature, one under `person` the sex or the age. `sexes` and `age_groups` hold
    descriptions by label. A picture that fails is rejected, or kept as not verified (`on_fail = "keep"`).
    """

    model: str
    revision: str = "main"
    threshold: float = 0.5
    person: float = 0.2
    on_fail: str = "reject"
    sexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    age_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self):
        validation.text("checks.attribute.model", self.model)
        validation.text("checks.attribute.revision", self.revision)
        validation.number("checks.attribute.threshold", self.threshold, 0, 1)
        validation.number("checks.attribute.person", self.person, 0, 1)
        validation.one_of("checks.attribute.on_fail", self.on_fail, ON_FAIL)
        for key in ("sexes", "age_groups"):
            validation.rule(
                isinstance(getattr(self, key), dict), f"`checks.attribute.{key}` must be a table", getattr(self, key)
            )
            for label, texts in getattr(self, key).items():
                validation.words(f"checks.attribute.{key}.{label}", texts)


@dataclass(frozen=True)
class Duplicates:
    """No picture twice. Two pictures whose perceptual hashes (64 bits) differ in at most so many bits are one: `radius`
    anywhere in the build, `radius_in_cell` among pictures of one feature and sex.
    """

    radius: int = 2
    radius_in_cell: int = 2

    def __post_init__(self):
        validation.whole("checks.duplicates.radius", self.radius, 0, 16)
        validation.whole("checks.duplicates.radius_in_cell", self.radius_in_cell, self.radius, 16)


@dataclass(frozen=True)
class Shown:
    """How one feature is checked, where it differs from the others.

    `shows` and `opposite` describe pictures with and without it, for a CLIP or SigLIP model; a feature without them is
    not judged by it. `darker_than` and `highlights_over` judge it by light instead: mean luminance, and the share of
    pixels that are nearly white, both from 0 to 1. `threshold` replaces the table's.

    `face` is "one" (exactly one, or the picture is rejected), "profile" or "covered" (profiles, or half of a face, are
    looked for too; where none is found the picture is not judged, and only several reject it) or "any" (not looked
    for). `smallest_face` replaces the table's. `sharp = false` exempts what is blurred by intent.
    """

    shows: tuple[str, ...] = ()
    opposite: tuple[str, ...] = ()
    darker_than: float | None = None
    highlights_over: float | None = None
    threshold: float | None = None
    face: str = "one"
    smallest_face: float | None = None
    sharp: bool = True

    def __post_init__(self):
        for key in ("shows", "opposite"):
            validation.words(f"check.{key}", getattr(self, key), empty=True)
        both = bool(self.shows) == bool(self.opposite)
        validation.rule(both, "`check.shows` and `check.opposite` must be given together", list(self.shows))
        for key in ("darker_than", "highlights_over", "threshold", "smallest_face"):
            if getattr(self, key) is not None:
                validation.number(f"check.{key}", getattr(self, key), 0, 1)
        light = [self.darker_than, self.highlights_over]
        validation.rule(None in light, "give `check.darker_than` or `check.highlights_over`, not both", light)
        validation.one_of("check.face", self.face, FACE_RULES)
        validation.rule(isinstance(self.sharp, bool), "`check.sharp` must be true or false", self.sharp)


@dataclass(frozen=True)
class Criteria:
    """Every check of a table; one that is None is not made. Black, flat and broken pictures are always rejected."""

    integrity: Integrity | None = None
    face: Face | None = None
    attribute: Attribute | None = None
    duplicates: Duplicates | None = None

    def __post_init__(self):
        alone = self.face and self.face.detector == CLASSIFIER and not self.attribute
        kept = [name for name in KINDS if getattr(self, name)]
        needs = '[checks.face] with detector = "classifier" needs [checks.attribute]; leave neither out, or both'
        validation.rule(not alone, needs, kept)

    def without(self, names: Iterable[str]) -> Criteria:
        """The same but for some checks. Raises SpecError for one that cannot be left out."""
        for name in names:
            validation.one_of("--without", name, tuple(KINDS))
        return replace(self, **dict.fromkeys(names))


KINDS: dict[str, type] = {"integrity": Integrity, "face": Face, "attribute": Attribute, "duplicates": Duplicates}


def read(table: Any) -> Criteria:
    """The criteria of a table's [checks]. Raises SpecError for whatever breaks a rule."""
    found = validation.keys("[checks]", table, "", optional=" ".join(KINDS))
    return Criteria(**{name: _section(name, values) for name, values in found.items()})


def _section(name: str, values: Any) -> Any:
    kind = KINDS[name]
    values = validation.keys(f"[checks.{name}]", values, "", optional=" ".join(kind.__dataclass_fields__))
    values = {key: _tuples(value) for key, value in values.items()}
    validation.rule(
        name != "attribute" or "model" in values, "[checks.attribute] needs the key `model`", sorted(values)
    )
    return kind(**values)


def shown(table: Any) -> Shown:
    """How a feature is checked, from its row's `check`."""
    values = validation.keys("`check`", table, "", optional=" ".join(Shown.__dataclass_fields__))
    return Shown(**{key: _tuples(value) for key, value in values.items()})


def restored(content: dict[str, Any]) -> Criteria:
    """The criteria that were kept as plain JSON values."""
    return Criteria(**{name: _section(name, values) for name, values in content.items() if values is not None})


def _tuples(value: Any) -> Any:
    """Lists as tuples, one level into a table."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
