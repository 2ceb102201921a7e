"""Pipelines of transformers, tiny, with random weights: the same predictions and report as a function and a file."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
    pipeline,
)

import builder
from builder import __main__ as commands
from builder.evaluation.report import Report
from builder.models import vision_pipelines
from tests.fixtures import evaluations
from tests.fixtures.builds import picture_of
from tests.fixtures.random_weights import _tokenizer

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
FEATURES = {0: "banana", 1: "tea", 2: "base"}
PICTURES = [picture_of(seed, 16) for seed in range(3)]


def classifier(folder, labels=FEATURES):
    torch.manual_seed(1)
    config = ViTConfig(**VISION, id2label=labels, label2id={name: n for n, name in labels.items()})
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def detector(folder, labels):
    torch.manual_seed(1)
    names = {"id2label": labels, "label2id": {name: n for n, name in labels.items()}}
    config = YolosConfig(**{**VISION, "image_size": [32, 32]}, num_detection_tokens=5, **names)
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessor(size={"height": 32, "width": 32}, do_pad=False).save_pretrained(folder)
    return folder


def clip(folder):
    torch.manual_seed(1)
    words = _tokenizer()
    text = SMALL | {"vocab_size": len(words), "eos_token_id": words.eos_token_id, "max_position_embeddings": 32}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make(tmp_path_factory.mktemp("pipelines") / "release")


def same(one, other):
    assert one.document.cells == other.document.cells and one.document.overall == other.document.overall
    assert one.outcomes == other.outcomes


def evaluated(release, tmp_path, task, model, function, **options):
    """The report of a model's folder, which is that of a function and of the file that both leave behind."""
    named = builder.evaluate(str(model), release, task=task, out=tmp_path / "named", **options)
    same(named, builder.evaluate(function, release, task=task, out=tmp_path / "called", **options))
    for out in ("named", "called"):
        same(named, builder.evaluate(tmp_path / out / "predictions.jsonl", release, task=task, **options))
    return named


def test_an_image_classifier_is_evaluated_by_all_its_labels(release, tmp_path):
    model = classifier(tmp_path / "model")
    pipe = pipeline("image-classification", model=str(model), image_processor=AutoImageProcessor.from_pretrained(model))

    def function(images):
        return [{one["label"]: one["score"] for one in pipe(image, top_k=3)} for image in images]

    report = evaluated(release, tmp_path, "attribute", model, function)
    assert {*report.outcomes["said"].to_pylist()} <= {*FEATURES.values()} and report.document.overall.failures > 0


def test_an_object_detector_is_evaluated_by_its_faces_alone(release, tmp_path):
    model = detector(tmp_path / "model", {0: "face", 1: "hand"})
    pipe = pipeline("object-detection", model=str(model))

    def function(images):
        return [
            [
                [b["xmin"], b["ymin"], b["xmax"] - b["xmin"], b["ymax"] - b["ymin"], one["score"]]
                for one in pipe(image, threshold=0.05)
                if one["label"] == "face" and (b := one["box"])
            ]
            for image in images
        ]

    report = evaluated(release, tmp_path, "detect", model, function, threshold=0.1)
    assert any(report.outcomes["said"].to_pylist())


def test_a_clip_model_is_given_the_releases_labels_as_words(release, tmp_path):
    model = clip(tmp_path / "model")
    pipe = pipeline("zero-shot-image-classification", model=str(model))

    def function(images):
        names = ["young", "aged"]
        return [{one["label"]: one["score"] for one in pipe(image, candidate_labels=names)} for image in images]

    report = evaluated(release, tmp_path, "attribute", model, function, label="age_group")
    assert {*report.outcomes["said"].to_pylist()} <= {"young", "aged"}


FAKES = {0: "Real", 1: "AI-generated", 2: "Deepfake", 3: "a photo", 4: "GAN", 5: "diffusion", 6: "human", 7: "forged"}
"""More than a pipeline lists by itself."""


def test_a_classifiers_labels_that_mean_fake_are_summed(release, tmp_path):
    model, fakes = classifier(tmp_path / "model", FAKES), ("AI-generated", "Deepfake", "GAN", "diffusion", "forged")
    pipe = pipeline("image-classification", model=str(model), image_processor=AutoImageProcessor.from_pretrained(model))

    def function(images):
        return [sum(one["score"] for one in pipe(image, top_k=8) if one["label"] in fakes) for image in images]

    report = evaluated(release, tmp_path, "fake", model, function, threshold=0.7)
    assert 0 < report.document.overall.measures["score"].mean < 1 and report.document.model.name == str(model)


def test_a_label_that_is_said_to_mean_fake_counts_and_is_kept_apart(release, tmp_path, capsys):
    model, out = classifier(tmp_path / "model"), tmp_path / "out"
    command = ["evaluate", str(release), "--task", "fake", "--model", str(model), "--threshold", "0.3"]
    assert commands.main([*command, "--fake-label", "tea, base", "--out", str(out)]) == 0
    written = capsys.readouterr()
    assert f"{model} says tea or base of a fake" in written.err and f"**{model} (fake: tea, base)**" in written.out
    labelled = vision_pipelines.labeller(str(model), None, [])[0](PICTURES)
    scored = vision_pipelines.fake_scorer(str(model), None, ["tea", "base"])[0](PICTURES)
    assert scored == pytest.approx([own["tea"] + own["base"] for own in labelled])
    (out / "report.json").unlink()
    for name in ("report.md", "report.html", "cells.parquet", "outcomes.parquet"):
        (out / name).unlink()
    assert commands.main([*command, "--fake-label", "tea", "--out", str(out)]) == 2
    assert "is of model" in capsys.readouterr().err
    assert commands.main([*command, "--fake-label", "cake"]) == 2
    assert "has no label cake: banana, tea, base" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "fake"),
    [
        (["Fake", "Real"], ["Fake"]),
        (["artificial", "human"], ["artificial"]),
        (["ai", "hum"], ["ai"]),
        (["Realism", "Deepfake"], ["Deepfake"]),
        (["AIGenerated", "RealPhoto"], ["AIGenerated"]),
        (["not_fake", "FAKE"], ["FAKE"]),
        (["real", "not real"], ["not real"]),
        (["Artificial", "Deepfake", "Real"], ["Artificial", "Deepfake"]),
        (["LABEL_0", "LABEL_1"], None),
        (["real", "midjourney"], None),
        (["AI photo", "real"], None),
        (["fake"], None),
        (["real", "human"], None),
        (["rain", "surreal"], None),
    ],
)
def test_which_label_means_fake_is_told_by_its_words_or_not_at_all(labels, fake):
    if fake:
        assert vision_pipelines.fakes(labels) == fake
    else:
        with pytest.raises(ValueError, match=f"cannot be told from .*{labels[-1]}|midjourney|AI photo"):
            vision_pipelines.fakes(labels)


def test_labels_of_two_words_come_back_as_they_are(tmp_path):
    look, _ = vision_pipelines.labeller(str(clip(tmp_path / "model")), None, ["only_mask", "hat"])
    assert [{*scores} for scores in look(PICTURES)] == [{"only_mask", "hat"}] * 3


def test_another_models_weights_have_another_digest(tmp_path):
    one = vision_pipelines.labeller(str(classifier(tmp_path / "one")), None, [])[1]
    again = vision_pipelines.labeller(str(classifier(tmp_path / "again")), None, [])[1]
    other = vision_pipelines.labeller(str(classifier(tmp_path / "other", {0: "a", 1: "b"})), None, [])[1]
    assert one == again != other


@pytest.mark.parametrize(
    ("make", "task", "says"),
    [
        (
            lambda folder: detector(folder, {0: "cat", 1: "dog"}),
            "detect",
            "finds cat, dog: none, or more than one, of its",
        ),
        (lambda folder: classifier(folder), "detect", "cannot be loaded"),
        (lambda folder: classifier(folder), "landmark", "--task landmark: write module:function"),
        (
            lambda folder: classifier(folder),
            "fake",
            "which label means fake cannot be told from banana, tea, base: say --f",
        ),
        (
            lambda folder: classifier(folder, {0: "a", 1: "b"}),
            "attribute",
            "is a feature of the release: banana, base, tea",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_one_line(release, tmp_path, capsys, make, task, says):
    model = make(tmp_path / "model")
    assert commands.main(["evaluate", str(release), "--task", task, "--model", str(model)]) == 2
    written = capsys.readouterr()
    assert says in written.err and "Traceback" not in written.err and written.out == ""


def test_the_report_says_which_model_it_was(release, tmp_path):
    model = classifier(tmp_path / "model")
    report = builder.evaluate(str(model), release, task="attribute")
    assert report.document.model.name == str(model) and len(report.document.model.digest) == 64
    assert isinstance(report, Report) and np.isfinite(report.document.overall.rate)
