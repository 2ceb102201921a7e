"""What is no picture is told from what is one, by its pixels."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from builder.checks.integrity import IntegrityCheck, noise, sharpness
from builder.checks.loading import build
from builder.checks.suite import Checks
from builder.spec import table
from builder.spec.criteria import Criteria, Integrity
from tests.fixtures.photos import SAMPLE, landscape, portrait, sample


def integrity(image):
    """The reason why a picture is rejected when nothing but content is asked for."""
    return IntegrityCheck(None).judge([SAMPLE], [image])[0].reason or None


def picture(low, high, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(low, high + 1, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "image, reason",
    [
        pytest.param(Image.new("RGB", (64, 64)), "black", id="all zero"),
        pytest.param(picture(0, 7), "black", id="noise too dark to see"),
        pytest.param(Image.new("RGB", (64, 64), (255, 255, 255)), "flat", id="white"),
        pytest.param(picture(127, 129), "flat", id="grey with a trace of noise"),
        pytest.param(picture(0, 255), None, id="ordinary"),
        pytest.param(picture(0, 20), None, id="dark, not black"),
        pytest.param(picture(235, 255), None, id="bright, not white"),
    ],
)
def test_integrity(image, reason):
    """Black means nothing to see, flat means one colour; dark and bright pictures with content are kept."""
    assert integrity(image) == reason


@given(colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_integrity_one_colour(colour):
    """A picture of one colour is never kept, whichever colour."""
    assert integrity(Image.new("RGB", (16, 16), colour)) == ("black" if max(colour) < 8 else "flat")


def verdict(image, size=None, checked=SAMPLE, **criteria):
    """What the check says of a picture with these thresholds, else the default ones."""
    return IntegrityCheck(Integrity(**criteria), size).judge([checked], [image])[0]


def blurred(radius):
    return portrait().filter(ImageFilter.GaussianBlur(radius))


def grain(image, share):
    """A picture of which a share gives way to white noise."""
    return Image.blend(image, picture(0, 255).resize(image.size, Image.Resampling.NEAREST), share)


def test_photographs_pass_and_are_measured():
    for image in (portrait(), landscape()):
        found = verdict(image, size=(512, 512))
        assert found.passed is True and found.observed["noise"] < 0.1 and found.observed["sharpness"] > 15
        assert found.observed["luminance"] == pytest.approx(np.asarray(image.convert("L")).mean() / 255, abs=0.01)


def test_white_noise_is_rejected():
    """Where neighbouring pixels know nothing of each other there is no picture, be it fine or coarse noise."""
    static = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    assert verdict(static).reason == "noise" and verdict(static).detail == "1.00, at most 0.2"
    assert noise(np.asarray(static.convert("L"))) == pytest.approx(1, abs=0.02)
    assert verdict(picture(0, 255)).reason == "noise"


def test_film_grain_is_no_noise():
    """The prompts ask for film grain: a tenth of noise on a photograph passes."""
    assert verdict(grain(portrait(), 0.1)).passed is True


@pytest.mark.parametrize(("radius", "reason"), [(0, ""), (1, ""), (2, "not sharp"), (6, "not sharp")])
def test_what_is_not_sharp_is_rejected_unless_it_was_asked_for(radius, reason):
    assert verdict(blurred(radius)).reason == reason
    assert verdict(blurred(radius), checked=sample(sharp=False)).passed is True


def test_what_need_not_be_sharp_must_still_be_a_picture():
    static = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    assert verdict(static, checked=sample(sharp=False)).reason == "noise"
    assert verdict(Image.new("RGB", (64, 64)), checked=sample(sharp=False)).reason == "black"


def test_sharpness_means_the_same_at_any_size():
    """A picture made larger is no sharper."""
    large, small = portrait().resize((1024, 1024)), portrait().resize((256, 256))
    own = sharpness(np.asarray(portrait().convert("L")))
    assert sharpness(np.asarray(large.convert("L"))) == pytest.approx(own, rel=0.3)
    assert sharpness(np.asarray(small.convert("L"))) < 1.5 * own


def test_jpeg_changes_no_verdict():
    buffer = io.BytesIO()
    portrait().save(buffer, "JPEG", quality=75)
    assert verdict(Image.open(buffer).convert("RGB")).passed is True


@pytest.mark.parametrize(("name", "least", "most"), [("sharpness", 31, 32), ("noise", 0.0053, 0.0051)])
def test_thresholds_are_those_of_the_table(name, least, most):
    """The portrait's own sharpness is 31.9 and its noise 0.0052: a limit on one side of it passes, on the other not."""
    assert verdict(portrait(), **{name: least}).passed is True
    assert verdict(portrait(), **{name: most}).passed is False


def test_a_picture_of_another_size_is_rejected():
    found = verdict(portrait(), size=(512, 768))
    assert (found.passed, found.reason, found.detail) == (False, "wrong size", "512×512")


@pytest.mark.parametrize("named", [True, False])
def test_broken_pictures_are_rejected_also_without_the_check(named):
    """Leaving the check out stops it from asking for sharpness; black, flat and wrong sizes are always rejected."""
    spec = table.load()
    spec = spec.changed(checks=Criteria(integrity=Integrity() if named else None))
    checks = build(spec, {}, None)
    assert isinstance(checks, Checks)
    looked = {
        name: checks.look(SAMPLE, image)
        for name, image in {
            "black": Image.new("RGB", (512, 512)),
            "flat": Image.new("RGB", (512, 512), (90, 90, 90)),
            "wrong size": portrait().resize((256, 256)),
            "not sharp" if named else "": blurred(6),
        }.items()
    }
    assert {name: outcome.reason for name, outcome in looked.items()} == {name: name for name in looked}
    good = checks.look(SAMPLE, portrait())
    assert good.checks["passed"] == (["integrity"] if named else []) and good.verified is None
