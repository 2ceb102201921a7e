"""The agreement table counts what it says, on planted answers."""

import numpy as np
import pytest
import torch
from PIL import Image

from builder import preview
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.criteria import Criteria
from drawn_faces.drawing.truth import FEATURES, LABELS
from drawn_faces.training import evaluate, networks
from drawn_faces.training.verifier import Verifier
from tests.fixtures import random_weights

SPEC = table.load()


def test_counts_of_a_reading():
    truths = np.array([[1, 0], [1, np.nan], [0, 1], [0, 0]])
    scores = np.array([[0.9, 0.2], [0.1, 0.9], [0.8, 0.5], [0.3, 0.1]])
    reading = evaluate.Reading.of(truths, scores)
    assert reading.shown.tolist() == [2, 1] and reading.found.tolist() == [1, 1]
    assert reading.absent.tolist() == [2, 2] and reading.wrong.tolist() == [1, 0]
    assert reading.accuracy.tolist() == [0.5, 1.0]


def test_what_a_picture_may_have_of_itself_is_not_held_against_it():
    """Nobody is without an age, and brown hair beside a mask is no mistake; a mask beside brown hair is one."""
    plan = Plan(SPEC)
    samples = {cell.feature.name: plan.at(cell, 0) for cell in plan.cells if cell.sex == "male"}
    row = dict(zip(LABELS, evaluate.asked(samples["only_mask"], LABELS)))
    assert row["only_mask"] == row["male"] == row["one_face"] == 1
    assert row["only_glasses"] == row["base"] == row["female"] == 0
    assert np.isnan(row["old"]) and np.isnan(row["brown"])
    row = dict(zip(LABELS, evaluate.asked(samples["brown"], LABELS)))
    assert row["brown"] == 1 and row["only_mask"] == 0 and np.isnan(row["base"])


def test_preview_has_its_guidance_in_every_row_few_steps_and_is_read_by_its_own_verifier():
    spec = preview.fitted(SPEC)
    assert {feature.guidance_scale for feature in spec.features} == {preview.GUIDANCE}
    assert {feature.check.darker_than for feature in spec.features} == {None}
    assert spec.checks.attribute.model == "preview" and spec.checks.face.detector == "classifier"
    assert spec.changed(recipe=SPEC.recipe, features=SPEC.features, checks=SPEC.checks) == SPEC
    assert spec.recipe.steps == preview.STEPS < SPEC.recipe.steps
    assert preview.fitted(SPEC.changed(recipe=SPEC.recipe.changed(steps=5))).recipe.steps == 5
    plain = SPEC.changed(checks=Criteria())
    assert preview.fitted(plain).checks == Criteria()


@pytest.fixture
def verifier(tmp_path):
    torch.manual_seed(0)
    networks.save_verifier(networks.verifier(LABELS), tmp_path / "verifier")
    return tmp_path / "verifier"


def test_verifier_reads_pictures_of_any_size_and_mode(verifier):
    read = Verifier(verifier)
    image = Image.effect_noise((512, 512), 80).convert("RGB")
    scores = read.read([image, image.resize((128, 128), Image.Resampling.BOX), image.convert("RGBA")])
    assert scores.shape == (3, len(LABELS)) and (scores > 0).all() and (scores < 1).all()
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
    np.testing.assert_allclose(scores[0], scores[2], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(read.features([image]), axis=1), 1, rtol=1e-5)


def test_table_has_every_feature_and_the_seeds_are_measured(verifier, tmp_path, capsys, monkeypatch):
    """The whole command, with a model and a verifier of random weights."""
    random_weights.build().save_pretrained(tmp_path / "model", safe_serialization=True)
    quick = preview.fitted(SPEC).recipe.changed(steps=1, width=64, height=64)
    monkeypatch.setattr(preview, "fitted", lambda spec: spec.changed(recipe=quick))
    monkeypatch.setattr(evaluate, "SEEDS", 2)
    options = ["--model", str(tmp_path / "model"), "--verifier", str(verifier), "--each", "2", "--drawn", "40"]
    assert evaluate.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert [row[0] for row in cells[2:]] == [*LABELS, "mean of the features"]
    features = [row for row in cells[2:-1] if row[0] in FEATURES]
    assert {row[2] for row in features} == {"2"} and {row[3] for row in features} <= {"0.00", "0.50", "1.00"}
    spread = [line for line in lines if line.startswith("seeds of one prompt differ by")]
    assert len(spread) == 2


def test_what_is_missing_is_said_in_one_line(tmp_path, capsys):
    assert evaluate.main(["--verifier", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("agreement: ")


@pytest.mark.parametrize("option", ["--each", "--drawn"])
def test_of_nothing_there_is_no_table(capsys, option):
    assert evaluate.main([option, "0"]) == 2
    assert capsys.readouterr().err.startswith(
        f"drawn_faces.training.evaluate: {option}: must be a whole number, 1 or more"
    )
