"""Drawn faces: the same bytes every time, one composition at all sizes, and every feature there or not, as asked."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from builder.dataset.contact_sheets import LABEL_WIDTH
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.spec import SEXES
from drawn_faces.drawing import draw as drawing_draw
from drawn_faces.drawing import person
from drawn_faces.drawing.canvas import luminance
from drawn_faces.drawing.draw import AGES, FEATURES, Labels, draw, labels_of, look_of

SPEC = table.load()
PHRASES = [
    (feature.name, sex, phrase)
    for feature in SPEC.features
    for sex in SEXES
    for _, phrase in feature.variants(sex)
    if sex == "female" or feature.name != "complex"
]
ADULT = Labels("base", "female", "latino", 35)


def pixels(image):
    return np.asarray(image).astype(float)


def brightness(image):
    return float(pixels(image).mean((0, 1)) @ (0.299, 0.587, 0.114))


def detail(image):
    """Energy that a small blur takes away."""
    return float(((pixels(image) - pixels(image.filter(ImageFilter.GaussianBlur(2)))) ** 2).mean())


def asked(feature, seed, size=128, obey=True):
    """A drawing of a feature whose other labels follow from the seed."""
    ages = AGES.get(feature, (25, 35, 45, 55))
    return draw(
        Labels(feature, SEXES[seed % 2], list(person.TONES)[seed % 5], ages[seed % len(ages)]), seed, size, obey
    )


def test_features_are_those_of_the_table():
    assert tuple(feature.name for feature in SPEC.features) == FEATURES
    assert tuple(person.TONES) and set(person.TONES) == set(SPEC.ethnicities)


def test_labels_come_from_a_sample():
    sample = Plan(SPEC).sample(12345)
    labels = labels_of(sample)
    assert labels == Labels(sample.feature, sample.sex, sample.ethnicity, sample.age, sample.phrase)
    assert draw(labels, 2**53 - 1, 32).size == (32, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": "wings"}, "`feature` must be one of child, .*, got 'wings'"),
        ({"sex": "man"}, "`sex` must be one of male, female, got 'man'"),
        ({"ethnicity": "Asian"}, "`ethnicity` must be one of .*, got 'Asian'"),
        ({"age": -1}, "`age` must be 0 to 120 years, got -1"),
    ],
)
def test_wrong_labels_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ADULT, **change)


@pytest.mark.parametrize("feature", FEATURES)
def test_same_bytes_every_time(feature):
    assert asked(feature, 7).tobytes() == asked(feature, 7).tobytes()


def test_seeds_differ():
    assert len({draw(ADULT, seed, 64).tobytes() for seed in range(50)}) == 50


@pytest.mark.parametrize("feature", FEATURES)
def test_one_composition_at_all_sizes(feature):
    large = asked(feature, 3, 512).resize((128, 128), Image.Resampling.BOX)
    assert np.abs(pixels(large) - pixels(asked(feature, 3))).mean() < 3


@pytest.mark.parametrize("feature", FEATURES)
def test_every_sex_age_and_ethnicity_draws(feature):
    for sex in SEXES:
        for number, ethnicity in enumerate(person.TONES):
            for age in (1, 15, 100) if number == 0 else AGES.get(feature, (25, 55)):
                image = draw(Labels(feature, sex, ethnicity, age), number, 64)
                assert (image.mode, image.size) == ("RGB", (64, 64))


def test_every_phrase_of_the_table_draws():
    assert sum(name == "complex" for name, *_ in PHRASES) == 26
    for number, (name, sex, phrase) in enumerate(PHRASES):
        assert draw(Labels(name, sex, "asian", 35, phrase), number, 64).size == (64, 64)


@pytest.mark.parametrize(
    ("feature", "phrase", "shown"),
    [
        ("left_right", "side view, facing left", {"pose": "left"}),
        ("left_right", "side view, facing right", {"pose": "right"}),
        ("only_glasses", "sunglasses", {"glasses": "sun"}),
        ("only_mask", "antigas mask", {"mask": "gas"}),
        ("only_mask", "(masked:1.2)", {"mask": "surgical"}),
        ("dark", "dark light", {"light": "dim"}),
        ("dark", "(very dark scene:1.2)", {"light": "black"}),
        ("close_eyes", "(close eyes:1.2)", {"eyes": "closed"}),
        ("complex", "glasses, put Hand in front of face", {"glasses": "clear", "hands": ("face",), "mask": ""}),
        ("bald", "bald woman", {"hair": "bald"}),
    ],
)
def test_a_phrase_chooses_the_variant(feature, phrase, shown):
    for seed in range(5):
        look = look_of(Labels(feature, "female", "african", 45, phrase), seed)
        assert {name: getattr(look, name) for name in shown} == shown


@pytest.mark.parametrize("feature", FEATURES)
def test_disobedience_shows(feature):
    """Without its feature a picture differs where it matters, whatever the seed."""
    for seed in range(4):
        there, absent = pixels(asked(feature, seed)), pixels(asked(feature, seed, obey=False))
        assert (np.abs(there - absent).max(2) > 24).mean() > 0.001


def test_disobedient_hair_has_another_colour():
    for name in ("blond", "brown", "red"):
        for seed in range(200):
            labels = Labels(name, SEXES[seed % 2], "pale_skin", 35)
            assert look_of(labels, seed).hair_name == name != look_of(labels, seed, obey=False).hair_name


def test_features_keep_off_each_other():
    special = ["glasses", "mask", "makeup", "hands", "hat", "beard", "earrings", "light"]
    for seed in range(300):
        look = look_of(replace(ADULT, sex=SEXES[seed % 2]), seed)
        assert not any(getattr(look, name) for name in special)
        assert (look.mouth, look.brows, look.eyes, look.pose) == ("neutral", "calm", "open", "front")
        assert look.hair not in ("bald", "fuzz") and look.hairline != "bangs"


def test_only_dark_is_dark():
    for feature in FEATURES:
        for seed in range(6):
            mean = brightness(asked(feature, seed, 64))
            assert mean < 45 if feature == "dark" else mean > 80, (feature, seed, mean)


def test_blurry_has_no_detail():
    for seed in range(6):
        assert detail(asked("blurry", seed)) < 0.2 * detail(asked("blurry", seed, obey=False))


def test_skin_tones_are_ordered_and_overlap():
    """On average from pale to dark, and yet neighbours share a good part of their ranges."""
    order = ["pale_skin", "asian", "middle_east", "latino", "african"]
    rng = np.random.default_rng(0)
    tones = {name: sorted(luminance(person.skin(rng, name)) for _ in range(600)) for name in order}
    means = [np.mean(tones[name]) for name in order]
    assert means == sorted(means, reverse=True)
    for lighter, darker in itertools.pairwise(order):
        assert tones[lighter][12] < tones[darker][-12], (lighter, darker)  # the outer 2% of both


def test_grey_hair_is_not_only_for_the_old():
    def share(age):
        names = [person.look("male", "asian", age, seed).hair_name for seed in range(400)]
        return sum(name in ("grey", "white") for name in names) / 400

    shares = [share(age) for age in (15, 25, 45, 60, 100)]
    assert shares[0] == 0 < shares[1] < shares[3] < shares[4] < 1


def test_command_writes_a_sheet(tmp_path):
    options = ["--out", str(tmp_path / "sheet.png"), "--per", "2", "--size", "32", "--only", "hat,up"]
    assert drawing_draw.main(options) == 0
    assert Image.open(tmp_path / "sheet.png").size == (LABEL_WIDTH + 64, 64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--out", "none/sheet.png"],
            "write_sheet: --out must be a .png file in a folder that is there, got none/sheet.png",
        ),
        (["--out", "sheet"], "write_sheet: --out must be a .png file in a folder that is there, got sheet"),
        (["--size", "0"], "drawn_faces.drawing.draw: --size: must be a whole number from 1"),
        (["--per", "0"], "drawn_faces.drawing.draw: --per: must be a whole number from 1"),
        (["--seed", "-1"], "drawn_faces.drawing.draw: --seed: must be a whole number, 0 or more"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path, monkeypatch, capsys, options, says):
    monkeypatch.chdir(tmp_path)
    assert drawing_draw.main(["--out", "sheet.png", "--only", "hat", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(says) and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_help_names_defaults_and_an_example(capsys):
    assert drawing_draw.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "[default: 192]" in text and "example: python -m drawn_faces.drawing.draw" in text
