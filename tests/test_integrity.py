"""What is no picture is told from what is one, by its pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from builder import table
from builder.checks.integrity import IntegrityCheck
from builder.plan import Plan

SAMPLE = Plan(table.load()).sample(0)


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
