"""What a picture must be like to be kept: the thresholds of every check, as a table's [checks] give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from builder.spec.faults import Fault, SpecError, nearest
from builder.spec.field_types import AnyWords, Between, Degrees, Flag, Label, OneOf, SexLabel, Share, Text, Words
from builder.spec.model import Model

YUNET, HAAR, CLASSIFIER = "yunet", "haar", "classifier"

SHAPES = ("jaw_open", "eye_blink", "smile")
"""What a face does, from 0 to 1, as far as the face detector tells: MediaPipe's does."""


class Integrity(Model):
    """A picture with content. Black, flat and broken pictures are rejected even without this section."""

    sharpness: Annotated[float, Between(0, 10_000)] = 17.0
    """Least size of the strongest edges, one pixel in a thousand, at 512 pixels: the more, the sharper."""
    noise: Annotated[float, Between(0, 2)] = 0.2
    """Most share of the variance that lies between neighbouring pixels: white noise has 1, a photograph under 0.1."""


class Face(Model):
    """Exactly one face."""

    detector: Text = YUNET
    """`yunet` (comes along), `haar` (comes with OpenCV; blind to tilted heads), `classifier` (the attribute check's
    model, if it has a label `one_face`), another YuNet model (a .onnx file, or a repository on the Hub), or MediaPipe's
    Face Landmarker (a .task file; needs mediapipe)."""
    revision: Text = Field(default="main", examples=["main"])
    """Branch, tag or commit of a detector on the Hub."""
    smallest: Annotated[float, Between(0.02, 1)] = 0.25
    """Least height of a face as a share of the picture's; a classifier knows no size."""


class Attribute(Model):
    """The feature, the sex and the age that were asked for can be seen, and no picture that was asked to show an adult
    looks like one of a child or teenager."""

    model: Text
    """A CLIP or SigLIP model, or an image classifier whose labels are names of features, sexes and age groups; without
    a label `child` or `teenager` it cannot tell who looks like a minor."""
    revision: Text = "main"
    """Branch, tag or commit of a model on the Hub."""
    threshold: Share = 0.5
    """Least score of the feature."""
    person: Share = 0.2
    """Least score of sex and age: a low one rejects only what clearly contradicts."""
    on_fail: Annotated[Literal["reject", "keep"], OneOf()] = "reject"
    """What becomes of a picture that fails: `reject` it, or `keep` it, marked as not verified. An adult who looks like
    a minor is never kept."""
    sexes: dict[SexLabel, Words] = Field(default={}, examples=[{"male": ["a portrait photo of a man"]}])
    """Descriptions by sex, for a CLIP or SigLIP model."""
    age_groups: dict[Label, Words] = Field(default={}, examples=[{"old": ["a photo of an old person"]}])
    """Descriptions by label of [age_groups], for a CLIP or SigLIP model."""


class Duplicates(Model):
    """No picture twice: two whose perceptual hashes (64 bits) differ in few bits are one."""

    radius: Annotated[int, Between(0, 16)] = 2
    """Most bits in which two pictures differ and are still one, anywhere in the build."""
    radius_in_cell: Annotated[int, Between(0, 16)] = 2
    """The same among pictures of one feature and sex; not less than `radius`."""

    def faults(self) -> Iterator[Fault]:
        if self.radius_in_cell < self.radius:
            rule = f"<key> must be a whole number from {self.radius} (the `radius`) to 16"
            yield Fault(rule, self.radius_in_cell, ("radius_in_cell",))


class Shown(Model):
    """How one feature is checked, where it differs from the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"shows": ["opposite"], "opposite": ["shows"]},
            "not": {"required": ["darker_than", "highlights_over"]},
        }
    )

    shows: AnyWords = ()
    """Descriptions of pictures with the feature, for a CLIP or SigLIP model; without them it is not judged."""
    opposite: AnyWords = ()
    """Descriptions of pictures without it; given together with `shows`."""
    darker_than: Share | None = None
    """Judge by light: most mean luminance; of the face, five sixths of it. Not together with `highlights_over`."""
    highlights_over: Share | None = None
    """Judge by light: least share of pixels that are nearly white, in the picture and in the face; a classifier with a
    label of the feature's name must agree."""
    yaw_over: Degrees | None = None
    """Judge by the face: least degrees by which it is turned to either side. Like all of these up to `smile`, it takes
    the place of `shows` where it can be measured."""
    yaw_under: Degrees | None = Field(default=None, examples=[10])
    """Judge by the face: most degrees by which it is turned to either side."""
    pitch_under: Annotated[float, Between(-90, 90)] | None = None
    """Judge by the face: most degrees by which it looks down; a negative number for one that looks up."""
    tilt: Degrees | None = Field(default=None, examples=[20])
    """Judge by the face: least degrees by which it leans to either side."""
    face_height_under: Share | None = None
    """Judge by the face: most height, as a share of the picture's."""
    sharpness_under: Annotated[float, Between(0, 10_000)] | None = None
    """Judge by sharpness, as [checks.integrity] measures it: the most."""
    jaw_open: Share | None = None
    """Judge by the face: least opening of the mouth, if the detector is MediaPipe's, as the next two."""
    eye_blink: Share | None = None
    """Judge by the face: least closing of the more closed eye."""
    smile: Share | None = None
    """Judge by the face: least smile."""
    threshold: Share | None = Field(default=None, examples=[0.4])
    """Least score of this feature, in place of that of [checks.attribute]."""
    face: Annotated[Literal["one", "covered", "profile", "any"], OneOf()] = "one"
    """`one`: exactly one face, or the picture is rejected. `profile` and `covered`: profiles, or half of a face, are
    looked for too; where none is found the picture is not judged, and only several reject it. `any`: not looked for."""
    smallest_face: Share | None = None
    """Least height of a face, in place of that of [checks.face]."""
    sharp: Flag = True
    """`false` exempts what is blurred by intent from the check of sharpness."""

    def is_measured(self, mesh: bool = False) -> bool:
        """Whether the feature is judged by what can be measured; `mesh`: with MediaPipe as the face detector."""
        return any(getattr(self, key) is not None for key in (*MEASURES, *(MESH_MEASURES if mesh else ())))

    def unmeasured(self) -> Shown:
        """Return the same but for whatever is measured: a model alone judges the feature."""
        return self.changed(**dict.fromkeys((*MEASURES, *MESH_MEASURES)))

    def faults(self) -> Iterator[Fault]:
        if bool(self.shows) != bool(self.opposite):
            rule = "`check.shows` and `check.opposite` must be given together"
            yield Fault(rule, list(self.shows or self.opposite), ("shows" if self.shows else "opposite",))
        light = [self.darker_than, self.highlights_over]
        if None not in light:
            yield Fault("give `check.darker_than` or `check.highlights_over`, not both", light, ("darker_than",))


MEASURES = (
    *["darker_than", "highlights_over", "yaw_over", "yaw_under", "tilt", "face_height_under", "sharpness_under"],
)
"""Keys of `Shown` by which a feature is judged without the attribute check's model."""
MESH_MEASURES = ("pitch_under", *SHAPES)
"""The same, where MediaPipe is the face detector."""


LATER = (*MEASURES[2:], *MESH_MEASURES)
"""Those that tables of before do not have: not given, they change nothing."""


class Criteria(Model):
    """What a picture must be like to be kept; one that fails is made again with a new seed. A check whose section is
    left out is not made."""

    integrity: Integrity | None = None
    """The picture has content."""
    face: Face | None = None
    """It shows exactly one face."""
    attribute: Attribute | None = None
    """It shows what was asked for."""
    duplicates: Duplicates | None = None
    """It is no picture that is there already."""

    def faults(self) -> Iterator[Fault]:
        if self.face and self.face.detector == CLASSIFIER and not self.attribute:
            rule = '[checks.face] with detector = "classifier" needs [checks.attribute]; leave neither out, or both'
            yield Fault(rule, [name for name in KINDS if getattr(self, name)])

    def without(self, names: Iterable[str]) -> Criteria:
        """Return the same but for some checks. Raises SpecError for one that cannot be left out."""
        names = list(names)
        for name in names:
            if name not in KINDS:
                rule = f"`--without` must be one of {', '.join(KINDS)}"
                raise SpecError.of(Fault(rule, name, meant=nearest(name, KINDS)))
        return self.changed(**dict.fromkeys(names))


KINDS: dict[str, type[Model]] = {
    "integrity": Integrity,
    "face": Face,
    "attribute": Attribute,
    "duplicates": Duplicates,
}
