"""The attribute check: scores against limits, light measured, and what a model is told to look for."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from builder.checks import loading
from builder.checks.attribute import LOOKS_MINOR, MINOR, OF_AGE, AttributeCheck, descriptions
from builder.checks.suite import Checks, Outcome
from builder.models.identity import Source
from builder.models.source import resolve_detector
from builder.spec import table
from builder.spec.criteria import Attribute
from builder.spec.spec import SEXES
from tests.fixtures.builds import picture_of
from tests.fixtures.photos import sample

SPEC = table.load()
PERSON = {"feature": "smile", "sex": "female", "age_group": "old", "minor": False}


class Reads:
    """A model that gives every picture the same scores."""

    def __init__(self, **scores):
        self.labels, self.scores = list(scores), list(scores.values())

    def read(self, images):
        return np.array([self.scores] * len(images))


def asked(**check):
    return replace(sample(**check), **PERSON)


def verdict(scores, check=None, image=None, **criteria):
    judge = AttributeCheck(Attribute(model="a model", **criteria), scores and Reads(**scores)).judge
    return judge([asked(**(check or {}))], [image or picture_of(1)])[0]


@pytest.mark.parametrize(
    ("scores", "passed", "reason", "detail"),
    [
        ({"smile": 0.5, "female": 0.2, "old": 0.2}, True, "", ""),
        ({"smile": 0.49, "female": 1, "old": 1}, False, "feature not seen", "0.49, at least 0.5"),
        ({"smile": 1, "female": 0.19, "old": 1}, False, "sex not seen", "0.19, at least 0.2"),
        ({"smile": 1, "female": 1, "old": 0.1}, False, "age not seen", "0.10, at least 0.2"),
        ({"smile": 0, "female": 0, "old": 0}, False, "feature not seen", "0.00, at least 0.5"),
        ({"smile": 0.9}, True, "", ""),
        ({"female": 0.9, "old": 0.9}, None, "", ""),
        ({"female": 0.1, "old": 0.9}, False, "sex not seen", "0.10, at least 0.2"),
        ({"angry": 0.0, "male": 0.0, "child": 0.0}, None, "", ""),
        ({"smile": 1, LOOKS_MINOR: 0.5}, False, "looks like a minor", "0.50, less than 0.5"),
        ({"smile": 0, LOOKS_MINOR: 0.9}, False, "looks like a minor", "0.90, less than 0.5"),
        ({"smile": 1, LOOKS_MINOR: 0.49}, True, "", ""),
        ({"smile": 1, LOOKS_MINOR: 0.1, "child": 0.9}, True, "", ""),
        ({"smile": 1, "child": 0.1, "teenager": 0.8}, False, "looks like a minor", "0.80, less than 0.5"),
        ({"smile": 1, "child": 0.7}, False, "looks like a minor", "0.70, less than 0.5"),
        ({"smile": 1, "child": 0.4, "teenager": 0.4}, True, "", ""),
    ],
)
def test_scores_must_reach_their_limits(scores, passed, reason, detail):
    """The feature its threshold, sex and age a lower one; what the model has no label for is not judged."""
    found = verdict(scores)
    assert (found.passed, found.reason, found.detail) == (passed, reason, detail)
    seen = {"attribute_score": "smile", "sex_score": "female", "age_score": "old"}
    own = [scores[label] for label in ("child", "teenager") if label in scores]
    young = scores.get(LOOKS_MINOR, max(own, default=None))
    assert found.observed == {name: scores.get(label) for name, label in seen.items()} | {"minor_score": young}


def test_a_features_own_threshold_goes_before_the_tables():
    assert verdict({"smile": 0.3}, {"threshold": 0.25}).passed is True
    assert verdict({"smile": 0.3}, {"threshold": 0.0}, threshold=0.9).passed is True
    assert verdict({"smile": 0.8}, {"threshold": 0.9}).detail == "0.80, at least 0.9"


@pytest.mark.parametrize(
    ("scores", "passed", "reason"),
    [
        ({"smile": 0.5, "female": 1, "old": 1}, True, ""),
        ({"smile": 0.51, "female": 1, "old": 1}, False, "the other's feature seen"),
        ({"smile": 0.0, "female": 0.1, "old": 1}, False, "sex not seen"),
        ({"female": 1, "old": 1}, None, ""),
        ({"smile": 0.0, LOOKS_MINOR: 0.9}, False, "looks like a minor"),
    ],
)
def test_a_twin_must_lack_the_feature(scores, passed, reason):
    """The feature of what it is the twin of; its own, which is none, is not looked for."""
    twin = replace(asked(), feature="twin", twin_of=asked())
    found = AttributeCheck(Attribute(model="a model"), Reads(**scores)).judge([twin], [picture_of(1)])[0]
    assert (found.passed, found.reason) == (passed, reason)
    assert found.observed["attribute_score"] == (1 - scores["smile"] if "smile" in scores else None)


def test_a_twin_must_not_be_dark_where_the_other_is():
    dark, bright = (Image.new("L", (64, 64), value).convert("RGB") for value in (30, 200))
    twin = replace(asked(), feature="twin", twin_of=replace(asked(darker_than=0.3), feature="dark"))
    judge = AttributeCheck(Attribute(model="a model"), None).judge
    assert [judge([twin], [image])[0].passed for image in (dark, bright)] == [False, True]


def test_an_age_group_with_descriptions_of_its_own_is_read_by_them():
    """A feature may have an age group's name: it says what the feature shows, not what the person's age looks like."""
    assert verdict({"smile": 1, "old": 0.0, OF_AGE.format("old"): 0.9}).passed is True
    assert verdict({"smile": 1, "old": 0.9, OF_AGE.format("old"): 0.0}).reason == "age not seen"


@pytest.mark.parametrize(("on_fail", "rejects"), [("reject", True), ("keep", False)])
def test_a_picture_that_fails_is_rejected_or_kept_as_not_verified(on_fail, rejects):
    check = AttributeCheck(Attribute(model="a model", on_fail=on_fail), Reads(smile=0.1))
    outcome = Outcome()
    Checks([], [check]).read([asked()], [picture_of(1)], [outcome])
    assert bool(outcome.reason) == rejects
    assert outcome.verified is False and outcome.checks["failed"] == ["attribute"]


@pytest.mark.parametrize("on_fail", ["reject", "keep"])
def test_whoever_looks_like_a_minor_and_was_not_asked_to_is_never_kept(on_fail):
    """Also where the table keeps what fails; one that was asked as a minor passes, and its score is written down."""
    check = AttributeCheck(Attribute(model="a model", on_fail=on_fail), Reads(smile=1, **{LOOKS_MINOR: 0.7}))
    samples, outcomes = [replace(asked(), minor=minor) for minor in (False, True)], [Outcome(), Outcome()]
    Checks([], [check]).read(samples, [picture_of(1), picture_of(2)], outcomes)
    assert [outcome.reason for outcome in outcomes] == ["looks like a minor", ""]
    assert [outcome.verified for outcome in outcomes] == [False, True]
    assert [outcome.checks["minor_score"] for outcome in outcomes] == [0.7, 0.7]


@pytest.mark.parametrize("light", [{"darker_than": 1.0}, {"highlights_over": 0.0}])
def test_a_feature_of_light_does_not_hide_a_minor(light):
    """The model reads every picture, also where the feature is judged without it."""
    assert verdict({LOOKS_MINOR: 0.9}, light).reason == "looks like a minor"
    assert verdict({LOOKS_MINOR: 0.1}, light).passed is True


def test_a_model_that_cannot_tell_minors_is_named(monkeypatch, caplog):
    """One whose own labels are neither child nor teenager: nothing is read, and the run says so."""
    sources = {"attribute": Source("folder", "mine", "/somewhere/mine", "sha256:1")}
    sources["face"] = resolve_detector("yunet", "main")
    for labels, said in (({"smile": 1}, 1), ({"smile": 1, "teenager": 1}, 0), ({LOOKS_MINOR: 1}, 0), ({"child": 1}, 0)):
        caplog.clear()
        monkeypatch.setattr(loading, "_reader", lambda *_, labels=labels: Reads(**labels))
        loading.build(SPEC, sources, None)
        assert len(caplog.messages) == said
        assert all("mine has no label child or teenager: no picture is judged" in line for line in caplog.messages)
    loading.build(SPEC.changed(checks=SPEC.checks.without(["attribute", "face"])), {}, None)
    assert "attribute check: there is none: no picture is judged for whether" in caplog.messages[-1]


def test_every_picture_gets_its_own_verdict_in_order():
    class Brightness(Reads):
        def read(self, images):
            return np.array([[np.asarray(image).mean() / 255] for image in images])

    images = [Image.new("RGB", (8, 8), (grey, grey, grey)) for grey in (250, 10, 200)]
    check = AttributeCheck(Attribute(model="a model"), Brightness(smile=0))
    assert [found.passed for found in check.judge([asked()] * 3, images)] == [True, False, True]
    assert check.judge([], []) == []


# Light.


def grey(value, white=0.0):
    pixels = np.full((100, 100, 3), value, dtype=np.uint8)
    pixels[: round(100 * white)] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("check", "image", "passed"),
    [
        ({"darker_than": 0.3}, grey(20), True),
        ({"darker_than": 0.3}, grey(70), True),
        ({"darker_than": 0.3}, grey(84), False),
        ({"darker_than": 0.3}, grey(255), False),
        ({"highlights_over": 0.03}, grey(100, white=0.2), True),
        ({"highlights_over": 0.03}, grey(100, white=0.04), True),
        ({"highlights_over": 0.03}, grey(100, white=0.01), False),
        ({"highlights_over": 0.03}, grey(240), False),
    ],
)
def test_light_is_measured(check, image, passed):
    """Dark is a low mean, strong light a share of nearly white pixels."""
    assert verdict(None, check, image).passed is passed


@pytest.mark.parametrize(
    ("check", "image", "passed"),
    [
        ({"darker_than": 0.3}, grey(20), True),
        ({"darker_than": 0.3}, grey(200), False),
        ({"highlights_over": 0.03}, grey(100, white=0.2), False),
        ({"highlights_over": 0.03}, grey(100), False),
    ],
)
def test_a_model_that_disagrees_counts_for_strong_light_alone(check, image, passed):
    """A window behind a head is bright as well: a model that knows the feature must see it, too."""
    assert verdict({"smile": 0.0 if passed or "highlights_over" in check else 1.0}, check, image).passed is passed
    assert verdict({"angry": 0.0}, {"highlights_over": 0.03}, grey(100, white=0.2)).passed is True


# What a CLIP or SigLIP model is told.


def test_every_feature_of_the_default_table_that_is_not_light_is_described():
    found = descriptions(SPEC)
    light = {"strong_light", "dark"}
    assert {feature.name for feature in SPEC.features} - set(found) == light
    for feature in SPEC.features:
        if feature.name not in light:
            assert found[feature.name] == (feature.check.shows, feature.check.opposite)


def test_a_sex_is_held_against_the_other_one():
    found, texts = descriptions(SPEC), SPEC.checks.attribute.sexes
    for sex, other in zip(SEXES, reversed(SEXES)):
        assert found[sex] == (texts[sex], texts[other])


def test_an_age_group_is_held_against_all_but_its_neighbours():
    """Nobody can tell 35 from 40: a young adult is held against children and old people."""
    found, texts = descriptions(SPEC), SPEC.checks.attribute.age_groups
    groups = ["child", "teenager", "young_adult", "old_adult", "old"]
    against = {"child": [2, 3, 4], "teenager": [3, 4], "young_adult": [0, 4], "old_adult": [0, 1], "old": [0, 1, 2]}
    for group, places in against.items():
        opposite = tuple(text for place in places for text in texts[groups[place]])
        assert found[OF_AGE.format(group)] == (texts[group], opposite)


def test_what_has_no_description_or_nothing_to_be_held_against_is_not_judged():
    attribute = SPEC.checks.attribute.changed(sexes={"male": ("a man",)}, age_groups={"child": ("a child",)})
    features = tuple(feature.changed(check=feature.check.changed(shows=(), opposite=())) for feature in SPEC.features)
    spec = SPEC.changed(features=features, checks=SPEC.checks.changed(attribute=attribute))
    assert descriptions(spec) == {LOOKS_MINOR: MINOR}


def test_what_a_minor_looks_like_is_told_whatever_the_table_says():
    """Children and teenagers against adults, and young adults among them."""
    yes, no = descriptions(SPEC)[LOOKS_MINOR]
    assert any("teenager" in text for text in yes) and any("child" in text for text in yes)
    assert any("25 years" in text for text in no) and not set(yes) & set(no)


def test_the_check_has_a_new_version():
    """A picture may get another verdict than from the version before."""
    assert AttributeCheck.version == loading.VERSIONS["attribute"] == 3
