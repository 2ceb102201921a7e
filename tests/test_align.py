"""Aligned faces: what was turned, scaled and shifted comes back, and a dataset's transform gives the same pictures."""

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import agfd30k
from agfd30k import ARCFACE, WHOLE_FACE, align, aligned
from tests.fixtures.faces import centres, drawn, moved


@given(st.floats(-180, 180), st.floats(100, 480), st.tuples(st.floats(250, 260), st.floats(250, 260)))
def test_a_face_that_was_turned_scaled_and_shifted_comes_back_within_a_pixel(degrees, scale, middle):
    """Also where it is smaller or larger than the target."""
    points = moved(degrees, scale, middle)
    picture = align(drawn(points, radius=scale / 40), points)
    assert picture.size == (256, 256) and picture.mode == "RGB"
    assert np.abs(centres(picture) - WHOLE_FACE * 256).max() < 1


@pytest.mark.parametrize("size", [64, 112, 256])
def test_what_stands_on_the_template_already_stays_as_it_is(size):
    """Not a pixel is moved or made softer, on either template."""
    picture = drawn(WHOLE_FACE * size, size / 40, side=size)
    assert align(picture, WHOLE_FACE * size, size).tobytes() == picture.tobytes()
    assert align(picture, (ARCFACE * size).ravel(), size, ARCFACE).tobytes() == picture.tobytes()


@given(st.floats(-30, 30), st.floats(0.5, 3))
def test_unlike_points_come_as_near_as_can_be(degrees, scale):
    """No other turn, scale or shift brings them nearer by the squares of their distances."""
    rng = np.random.default_rng(7)
    points = moved(degrees, 100 * scale, (200, 300)) + rng.normal(0, 3 * scale, (5, 2))
    turn, shift = agfd30k._similarity(points, WHOLE_FACE * 256)
    place, goal = points @ [1, 1j], WHOLE_FACE * 256 @ [1, 1j]
    least = (abs(turn * place + shift - goal) ** 2).sum()
    for other in (turn * 1.001, turn / 1.001, turn * np.exp(0.001j), turn * np.exp(-0.001j)):
        assert (abs(other * place + (goal - other * place).mean() - goal) ** 2).sum() > least
    for step in (0.1, -0.1, 0.1j, -0.1j):
        assert (abs(turn * place + shift + step - goal) ** 2).sum() > least


def test_a_large_face_is_averaged_and_does_not_flicker():
    """Lines that are finer than the target's pixels become grey: sampled, they would be a pattern."""
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    points = moved(10, 1800, (1024, 1024))
    inside = np.asarray(align(Image.fromarray(stripes), points, 128))[32:96, 32:96]
    assert np.abs(inside.astype(int) - 127.5).max() < 3


def test_outside_of_the_picture_is_black():
    picture = Image.new("RGB", (256, 256), (255, 255, 255))
    corner = np.asarray(align(picture, WHOLE_FACE * 256 - [128, 0]))
    assert (corner[:, :126] == 0).all() and (corner[:, 130:] == 255).all()


def test_the_whole_face_is_ffhq_s_frame():
    """3.6 times the way from the eyes to the mouth, its middle a tenth of that way below the eyes."""
    eyes, mouth = WHOLE_FACE[:2].mean(axis=0), WHOLE_FACE[3:].mean(axis=0)
    assert np.linalg.norm(mouth - eyes) * 3.6 == pytest.approx(1)
    assert eyes + 0.1 * (mouth - eyes) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    "points",
    [
        [[1, 2]] * 5,
        np.zeros((4, 2)),
        [None] * 10,
        np.full((5, 2), np.nan),
        WHOLE_FACE * [-256, 256],  # a mirrored face
    ],
    ids=["one place", "four", "null", "not finite", "mirrored"],
)
def test_points_that_are_no_face_s_are_refused(points):
    with pytest.raises(ValueError, match="five points"):
        align(Image.new("RGB", (64, 64)), points)


def test_absurd_points_cost_no_memory():
    """A face a million pixels wide is averaged first: what is turned has at most four times the target's side."""
    assert align(Image.new("RGB", (64, 64), "white"), WHOLE_FACE * 1e6).size == (256, 256)


@pytest.fixture
def faces():
    """Four rows, one of them without a face."""
    points = [moved(degrees, 200, (128, 128)) for degrees in (0, 20, -20)]
    rows = [{"image": drawn(each, 5, 256), **dict(zip(agfd30k.POINTS, each.ravel()))} for each in points]
    rows.insert(1, {"image": Image.new("RGB", (256, 256)), **dict.fromkeys(agfd30k.POINTS)})
    rows = [{**row, "id": f"id-{number}"} for number, row in enumerate(rows)]
    columns = {name: datasets.Value("float32") for name in agfd30k.POINTS}
    schema = datasets.Features({"image": datasets.Image(), **columns, "id": datasets.Value("string")})
    return datasets.Dataset.from_list(rows, features=schema)


def test_a_dataset_s_pictures_are_aligned_when_they_are_read(faces):
    """Rows without a face are left out; the same for what is streamed, and for all splits."""
    loaded = aligned(faces, 64)
    assert loaded["id"] == ["id-0", "id-2", "id-3"] == loaded[:]["id"]
    streamed = list(aligned(faces.to_iterable_dataset(), 64))
    assert [row["id"] for row in streamed] == loaded["id"]
    for row, other in zip(loaded, streamed):
        assert np.abs(centres(row["image"]) - WHOLE_FACE * 64).max() < 1
        assert other["image"].tobytes() == row["image"].tobytes()
    splits = aligned(datasets.DatasetDict(train=faces, test=faces), 64)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 3, "test": 3}


def test_a_dataset_without_points_is_refused(faces):
    with pytest.raises(ValueError, match="lacks nose_x"):
        aligned(faces.remove_columns("nose_x"))
