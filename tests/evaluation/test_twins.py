"""The effect of a feature: pictures against their twins, each pair once, whatever else the report says."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

import builder
from builder.common.errors import UserError
from builder.evaluation import page
from builder.evaluation.report import Report
from builder.evaluation.truth import Truth
from tests.fixtures import evaluations
from tests.fixtures.evaluations import write


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make(tmp_path_factory.mktemp("twins") / "release", twins=True)


@pytest.fixture(scope="module")
def truth(release):
    return Truth.of(release).chosen()


def fails(id):
    """Planted: a banana is taken for real by seven of ten, tea by two of ten, and twins as often as base."""
    rates = {"fruit": 7, "drink": 2, "twins": 1, "plain": 1}
    return int(id.split("-")[-1]) * 7 % 10 < rates[id.split("-")[0]]


def scores(ids, path):
    return write(path, [{"id": id, "score": 0.1 if fails(id) else 0.9} for id in ids])


@pytest.fixture(scope="module")
def report(release, truth, tmp_path_factory):
    file = scores(truth.ids, tmp_path_factory.mktemp("scores") / "scores.jsonl")
    return builder.evaluate(file, release, task="fake", by=[("feature", "sex"), ("feature",)])


def pairs(truth):
    """Every verified picture with its verified twin, by feature and sex."""
    rows = {row["id"]: row for row in truth.table.to_pylist()}
    for row in rows.values():
        if row["twin_of"] in rows:
            yield rows[row["twin_of"]], row


def test_every_pair_is_counted_once(report, truth):
    for effects in report.document.effects:
        for effect in effects.effects:
            own = [
                (one["id"], two["id"])
                for one, two in pairs(truth)
                if all(one[name] == value for name, value in effect.key.items())
            ]
            alone = [sum(fails(a) and not fails(b) for a, b in order) for order in (own, [(b, a) for a, b in own])]
            assert (effect.pairs, effect.only_picture, effect.only_twin) == (len(own), *alone) and own
            assert effect.rates == tuple(np.mean([fails(pair[place]) for pair in own]) for place in (0, 1))
            assert effect.difference == pytest.approx(effect.rates[0] - effect.rates[1])
            low, high = effect.difference_interval
            assert -1 <= low <= effect.difference <= high <= 1
            exact = binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0
            assert effect.p == pytest.approx(exact) and effect.holm >= effect.p
    by_feature = {effect.name: effect for effect in report.document.effects[1].effects}
    assert [*by_feature] == ["banana", "tea"] and by_feature["banana"].holm < 0.001


def test_twins_are_in_no_other_number(report, truth):
    """Slices, rates and pictures are those of the release without twins."""
    others = [row for row in truth.table.to_pylist() if row["twin_of"] is None]
    assert report.document.release.pictures == len(others) == report.document.overall.trials
    assert {cell.key["feature"] for cell in report.document.cells} == {"banana", "tea", "base"}
    assert report.outcomes["id"].to_pylist() == [row["id"] for row in others]


def test_pairs_of_one_seed_are_told(report, truth):
    same = sum(one["seed"] == two["seed"] for one, two in pairs(truth))
    assert sum(effect.same_seed for effect in report.document.effects[1].effects) == same


def test_the_report_keeps_them(report, tmp_path):
    again = Report.load(report.save(tmp_path / "report"))
    assert again.document == report.document and again.document.effects
    assert "| feature | pairs | same seed | picture | twin | difference | 95% | Holm p |" in report.table()
    older = json.loads((tmp_path / "report" / "report.json").read_text())
    del older["effects"]
    (tmp_path / "report" / "report.json").write_text(json.dumps(older))
    assert not Report.load(tmp_path / "report").document.effects


def test_the_page_draws_them(report, release):
    html = page.of_report(report, release).decode()
    assert html.count('id="twins-') == 2 * 2  # the section and its title
    assert "By feature: pictures and their twins" in html and "asked for without the feature" in html


def test_twins_need_no_predictions(release, truth, tmp_path):
    """A file may be of the other pictures alone, or of some twins: these are compared."""
    plain = [id for id in truth.ids if not id.startswith("twins-")]
    twins = [row["id"] for _, row in pairs(truth)]
    for some in ([], twins[:5]):
        report = builder.evaluate(scores([*plain, *some], tmp_path / "scores.jsonl"), release, task="fake", by="sex")
        assert sum(effect.pairs for own in report.document.effects for effect in own.effects) == len(some)
        assert report.document.overall.trials == len(plain)


def test_a_feature_is_no_question_to_its_twin(release, truth, tmp_path):
    """Who reads features, or compares people, is not asked of twins, which have none, and are no impostors."""
    plain = truth.without_twins()
    labels = [{"id": id, "label": feature} for id, feature in zip(plain.ids, plain.strings("feature"))]
    report = builder.evaluate(write(tmp_path / "labels.jsonl", labels), release, task="attribute")
    assert not report.document.effects and report.document.overall.failures == 0
    vectors = [{"id": id, "embedding": [1.0, n]} for n, id in enumerate(plain.ids)]
    report = builder.evaluate(write(tmp_path / "vectors.jsonl", vectors), release, task="recognise", threshold=0.5)
    assert not report.document.effects and report.document.overall.pictures == len(plain)
    sexes = [{"id": id, "label": sex} for id, sex in zip(truth.ids, truth.strings("sex"))]
    report = builder.evaluate(write(tmp_path / "sexes.jsonl", sexes), release, task="attribute", label="sex")
    assert report.document.effects


def test_where_no_pair_is_left_there_are_no_effects(release, truth, tmp_path):
    """Twins are there, but none of them with what it is the twin of; that is no error."""
    plain = truth.without_twins()
    rows = [{"id": id, "label": sex} for id, sex in zip(plain.ids, plain.strings("sex"))]
    report = builder.evaluate(write(tmp_path / "sexes.jsonl", rows), release, task="attribute", label="sex")
    assert not report.document.effects and report.document.overall.failures == 0


def test_nothing_but_twins_is_told(release, tmp_path):
    truth = Truth.of(release)
    twins = truth.table.filter(truth.table["twin_of"].is_valid())
    with pytest.raises(UserError, match="has nothing but twins"):
        truth.__class__(**{**vars(truth), "table": twins}).without_twins()
