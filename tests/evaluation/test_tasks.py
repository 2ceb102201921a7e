"""What a model says becomes a failure or none, by hand; and every report says what its truth is worth."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from builder.common.errors import UserError
from builder.evaluation import cells, slices
from builder.evaluation.cells import Counter
from builder.evaluation.predictions import FORMATS, Identity
from builder.evaluation.slices import Slicing
from builder.evaluation.tasks import TASKS, Outcomes, Question, overlaps
from builder.evaluation.truth import Detector, Truth
from tests.fixtures.evaluations import BOX, POINTS, make

IDENTITY = Identity("detect", "mine", None, "release", "1")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return Truth.of(make(tmp_path_factory.mktemp("tasks") / "release"))


@pytest.fixture(scope="module")
def three(release):
    """Three rows: two with a face's box, one without."""
    boxed = ~np.isnan(release.numbers("face_x")[:, 0])
    places = [*np.flatnonzero(boxed)[:2], np.flatnonzero(~boxed)[0]]
    return replace(release, table=release.table.take(pa.array(places)))


def outcomes(truth, predictions, task, **question):
    return TASKS[task].outcomes(Question.of(task, **question), truth, predictions)


def limits(truth, predictions, task, identity=IDENTITY, **question):
    asked = Question.of(task, **question)
    return " ".join(TASKS[task].limits(asked, truth, outcomes(truth, predictions, task, **question), identity))


def five(points):
    """Five points without those of any copy."""
    return FORMATS["landmark"].parse({"points": points})


def boxes(*rows):
    return np.array(rows, dtype=float).reshape(-1, 5)


# Detection.


def test_the_overlap_of_boxes_by_hand():
    others = np.array([[0, 0, 4, 4, 1], [2, 0, 4, 4, 1], [8, 8, 1, 1, 1], [0, 0, 4, 2, 1], [0, 0, 0, 0, 1]])
    assert overlaps(np.array([0, 0, 4, 4.0]), others) == pytest.approx([1, 8 / 24, 0, 0.5, 0])


def test_a_face_is_found_by_a_sure_box_that_overlaps_enough_and_where_none_is_known_by_any(three):
    x, y, width, height = BOX
    half, less = (x, y, width, height / 2), (x, y, width, height / 2 - 0.1)
    found = outcomes(three, [boxes([*BOX, 0.5]), boxes([*half, 0.9]), boxes([0, 0, 1, 1, 0.7])], "detect")
    assert found.failed.tolist() == [0, 0, 0] and found.values["further_boxes"].tolist() == [0, 0, 0]
    assert found.values["iou"][:2] == pytest.approx([1, 0.5]) and np.isnan(found.values["iou"][2])
    missed = outcomes(three, [boxes([*BOX, 0.49]), boxes([*less, 0.9]), boxes()], "detect")
    assert missed.failed.tolist() == [1, 1, 1] and missed.values["further_boxes"].tolist() == [0, 1, 0]
    assert outcomes(three, [boxes([*BOX, 0.49])] * 3, "detect", threshold=0.4).failed.tolist() == [0, 0, 0]


def test_a_second_sure_box_is_a_further_one(three):
    two = boxes([*BOX, 0.9], [0, 0, 1, 1, 0.6])
    assert outcomes(three, [two, two, two], "detect").values["further_boxes"].tolist() == [1, 1, 1]
    assert outcomes(three, [two, two, two], "detect", threshold=0.7).values["further_boxes"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("detector", "identity", "says"),
    [
        (None, {}, "does not say that a detector checked it"),
        (Detector("yunet", "sha256:abc"), {"model": "mine"}, "yunet found one"),
        (Detector("yunet", "sha256:abc"), {"model": "mine", "model_digest": "abc"}, "filtered by this very detector"),
        (Detector("yunet"), {"model": "opencv:yunet", "model_digest": "abc"}, "filtered by this very detector"),
        (Detector("haar"), {"model": "opencv:haar"}, "filtered by this very detector (haar)"),
        (Detector("haar"), {"model": "opencv:yunet", "model_digest": "abc"}, "haar found one"),
        (Detector("yunet", "sha256:abc"), {"model": "opencv:yunet", "model_digest": "abd"}, "yunet found one"),
    ],
)
def test_it_says_whether_the_model_filtered_the_pictures(three, detector, identity, says):
    truth = replace(three, detector=detector)
    assert says in limits(truth, [boxes()] * 3, "detect", replace(IDENTITY, **identity))


def test_it_says_on_how_many_pictures_any_box_counts(three):
    assert "on 1 picture without its box any box counts" in limits(three, [boxes()] * 3, "detect")


# The others.


def test_an_attribute_is_wrong_where_it_is_not_the_one_asked_for(release):
    sexes = release.strings("sex")
    said = ["male"] * len(release)
    assert outcomes(release, said, "attribute", label="sex").failed.tolist() == (sexes != "male").tolist()
    assert outcomes(release, [*release.strings("feature")], "attribute").failed.sum() == 0
    assert "the sex that was asked for, not what people saw" in limits(release, said, "attribute", label="sex")


def test_labels_of_another_world_are_told(release):
    with pytest.raises(UserError, match=r"such as 'Man', is a sex of the release: female, male"):
        outcomes(release, ["Man"] * len(release), "attribute", label="sex")


def test_the_distance_of_points_is_a_share_of_that_between_the_eyes(three):
    """The eyes are 4 apart: all points 1 away are at 0.25; one of five that is 4 away at 0.2."""
    points = np.array(POINTS).reshape(5, 2)
    one = points.copy()
    one[2, 0] += 4
    found = outcomes(three, [five(points + np.array([1, 0])), five(one), five(points)], "landmark", threshold=0.2)
    assert found.values["distance"][:2] == pytest.approx([0.25, 0.2]) and np.isnan(found.values["distance"][2])
    assert found.failed[:2].tolist() == [1, 0] and np.isnan(found.failed[2])
    says = limits(three, [five(points)] * 3, "landmark")
    assert "Consistency, not accuracy" in says and "yunet" in says and "Left out: 1 picture" in says


def test_how_far_points_move_on_copies_by_hand(three):
    """The eyes are 4 apart; what is 1, 2, 3 and 4 away moves by 0.25, the mean of 0.5 and 0.75, and 1."""
    points = np.array(POINTS).reshape(5, 2)
    copies = {
        name: (points + np.array([0, shift])).tolist()
        for shift, name in enumerate(("flip", "turn_left", "turn_right", "jitter"), 1)
    }
    whole = FORMATS["landmark"].parse({"points": points, **copies})
    found = outcomes(three, [whole, five(points), whole], "landmark").values
    assert {name: values[0] for name, values in found.items()} == {
        **{"distance": 0, "flip": 0.25, "turn": 0.625, "jitter": 1}
    }
    assert all(np.isnan(found[name][1:]).all() for name in ("flip", "turn", "jitter"))
    says = limits(three, [whole, five(points), whole], "landmark")
    assert "turned by 10° to either side (turn)" in says and "jitter is known on 1 of 2 pictures" in says


def test_without_points_there_is_nothing_to_compare_with(three):
    bare = replace(three, table=three.table.slice(2))
    with pytest.raises(UserError, match="no picture has a face's five points"):
        outcomes(bare, [five(np.zeros((5, 2)))], "landmark")


def test_a_fake_is_found_from_the_threshold_on(three):
    assert outcomes(three, [0.5, 0.49, 1.0], "fake").failed.tolist() == [0, 1, 0]
    assert "nothing is said of other generators" in limits(three, [0.5] * 3, "fake")


def test_pairs_match_from_the_cosine_on_whatever_the_block(monkeypatch):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((50, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hits = vectors @ vectors.T >= 0.3
    np.fill_diagonal(hits, False)
    for rows in (1, 7, 50, 1024):
        monkeypatch.setattr(cells, "ROWS_A_BLOCK", rows)
        counter = Counter(Outcomes(np.zeros(50), {}, vectors, 0.3))
        assert counter.matches(np.arange(50)).tolist() == hits.sum(axis=1).tolist()
    counts = counter.count(np.arange(50))
    assert (counts.failures, counts.trials) == (hits.sum() / 2, 50 * 49 / 2)


@pytest.mark.parametrize("rows", [1, 7, 50, 1024])
def test_pairs_among_the_rest_are_those_of_the_pictures_left(monkeypatch, rows):
    """Whatever the block, and however the slices' pictures lie among each other; each pair is looked at once."""
    monkeypatch.setattr(cells, "ROWS_A_BLOCK", rows)
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((60, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = rng.permutation([0] * 5 + [1] * 1 + [2] * 24 + [3] * 30)
    counter = Counter(Outcomes(np.zeros(60), {}, vectors, 0.3))
    blocks = []
    monkeypatch.setattr(
        Counter, "_blocks", lambda self, places, real=Counter._blocks: blocks.append(1) or real(self, places)
    )
    for group in ([0, 1, 2, 3], [1, 2, 3]):
        for code in group:
            left = np.flatnonzero(np.isin(codes, group) & (codes != code))
            hits = vectors[left] @ vectors[left].T >= 0.3
            np.fill_diagonal(hits, False)
            assert counter.rest(codes, group, code).tolist() == hits.sum(axis=1).tolist()
    assert len(blocks) == 1


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"task": "parse"}, "--task parse: choose detect, attribute, landmark, recognise, fake"),
        ({"task": "recognise"}, "--threshold: say at which cosine"),
        ({"task": "detect", "label": "sex"}, "--label sex: goes with --task attribute"),
        (
            {"task": "attribute", "label": "hat"},
            "--label hat: goes with --task attribute, and is feature, sex, age_group",
        ),
        ({"task": "attribute", "threshold": 0.5}, "--threshold: --task attribute has none"),
        ({"task": "fake", "threshold": float("nan")}, "--threshold: must be a finite number"),
    ],
)
def test_a_question_that_is_none_is_told(question, says):
    with pytest.raises(UserError) as error:
        Question.of(**question)
    assert str(error.value).startswith(says)


# Slices.


def test_numbers_fall_into_bins_that_hold_their_lower_edge():
    names = slices.bins((-15, 15))
    assert slices._binned(np.array([-15.1, -15, 14.9, 15, np.nan]), (-15, 15)).tolist() == [
        *[names[0], names[1], names[1], names[2], slices.UNKNOWN],
    ]


def test_slices_are_in_the_order_of_the_classes_and_hold_every_picture_once(release):
    slicing = Slicing.of(release, ["feature", "sex"])
    assert slicing.keys[:3] == (("banana", "male"), ("banana", "female"), ("tea", "male"))
    for code, key in enumerate(slicing.keys):
        places = np.flatnonzero(slicing.codes == code)
        assert {*zip(release.strings("feature")[places], release.strings("sex")[places])} == {key}
    yaw = Slicing.of(release, ["yaw"])
    assert [key[0] for key in yaw.keys] == slices.bins(slices.EDGES["yaw"])
    size = Slicing.of(release, ["face_size"])
    assert size.keys == (("0.4 to 0.6",), (slices.UNKNOWN,))  # 8 of 16 pixels


@pytest.mark.parametrize("by", [["height"], ["sex", "sex"], []])
def test_slices_that_are_none_are_told_with_those_that_are(release, by):
    with pytest.raises(UserError, match="feature, sex, ethnicity"):
        Slicing.of(release, by)


# Cells.


def counted(failed, keys, by, baseline="base"):
    """Cells of pictures with these outcomes."""
    distinct = [*dict.fromkeys(keys)]
    codes = np.array([distinct.index(key) for key in keys])
    slicing = Slicing(by, tuple(distinct), codes)
    ids = [f"p{n}" for n in range(len(keys))]
    (made,) = cells.slices(Counter(Outcomes(np.array(failed, dtype=float))), ids, [slicing], baseline)
    return {tuple(cell.key.values()): cell for cell in made.cells}


def test_a_cell_is_compared_with_the_baseline_of_the_same_sex():
    keys = [("base", "m")] * 40 + [("hat", "m")] * 40 + [("base", "f")] * 20 + [("hat", "f")] * 20
    made = counted([0] * 40 + [1] * 10 + [0] * 30 + [1] * 5 + [0] * 15 + [0] * 20, keys, ("feature", "sex"))
    hat, other = made["hat", "m"], made["hat", "f"]
    assert (hat.pictures, hat.failures, hat.rate, hat.difference, hat.grey) == (40, 10, 0.25, 0.25, False)
    assert hat.against.key == {"feature": "base", "sex": "m"} and hat.against.failures == 0
    assert hat.difference_interval[0] > 0.05 and hat.holm == pytest.approx(2 * hat.p)
    assert (other.difference, other.grey, other.against.failures) == (-0.25, True, 5)
    assert made["base", "m"].against is None and made["base", "m"].holm is None
    assert hat.examples == tuple(f"p{n}" for n in range(40, 50))


def test_without_the_baseline_a_cell_is_compared_with_all_others_of_its_sex():
    keys = [("x", "m")] * 40 + [("y", "m")] * 30 + [("z", "m")] * 30 + [("x", "f")] * 50
    made = counted([1] * 10 + [0] * 30 + [1] * 3 + [0] * 27 + [1] * 3 + [0] * 27 + [1] * 50, keys, ("feature", "sex"))
    against = made["x", "m"].against
    assert (against.key, against.trials, against.failures) == ({}, 60, 6)
    assert made["x", "f"].against is None  # nobody else of that sex


def test_pairs_of_a_cell_are_compared_with_the_pairs_of_all_others_of_its_sex():
    """All of x's pictures match, and half of y's with half of z's."""
    x, y, z = [[1, 0, 0]] * 4, [[0, 1, 0], [0, 0, 1]] * 3, [[0, 1, 0], [0, 0, -1]] * 2
    vectors = np.array([*x, *y, *z, *x], dtype=np.float32)
    keys = [("x", "m"), ("y", "m"), ("z", "m"), ("x", "f")]
    codes = np.repeat(range(4), [4, 6, 4, 4])
    counter = Counter(Outcomes(np.zeros(18), {}, vectors, 0.9))
    (made,) = cells.slices(counter, [""] * 18, [Slicing(("feature", "sex"), tuple(keys), codes)], "base")
    x, y, z, women = made.cells
    assert (x.rate, x.against.key, x.against.trials) == (1, {}, 45)
    assert x.against.failures == 2 * 3 + 2 + 3 * 2  # within y, within z's two kinds, and between y and z
    assert (y.against.trials, y.against.failures) == (28, 6 + 2)
    assert x.difference == pytest.approx(1 - 14 / 45) and x.holm is not None and women.against is None


def test_pictures_that_could_not_be_tried_are_no_trials():
    made = counted([1, np.nan, 0, np.nan], [("base",)] * 3 + [("hat",)], ("feature",))
    assert (made["base",].pictures, made["base",].trials, made["base",].failures) == (3, 2, 1)
    assert (made["hat",].rate, made["hat",].difference, made["hat",].interval) == (None, None, (0, 1))


def test_the_bounds_of_a_share_by_hand():
    """Of 100 pictures 30 to 40 fail, 80 show what was asked for: 10 to 40 of these fail."""
    assert cells.bounds(0.3, 0.4, 0.8) == pytest.approx((0.125, 0.5))
    assert cells.bounds(0.1, 0.9, 0.8) == (0, 1) and cells.bounds(0.1, 0.9, 1) == (0.1, 0.9)
