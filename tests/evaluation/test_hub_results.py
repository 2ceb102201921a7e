"""Evaluation results for the Hub: one value a report, in the client's own format; none of the preview's pictures."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

import builder
from builder import __main__ as commands
from builder.common.errors import UserError
from builder.evaluation import hub_results
from builder.evaluation.truth import Truth
from builder.hub import commits
from builder.hub.changes import differences
from tests.fixtures import builds, evaluations
from tests.fixtures.evaluations import brightness, write

DATASET, COMMIT = "user/AGFD-30K", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make(tmp_path_factory.mktemp("hub_results") / "release")


def parsed(path):
    """The only entry of a file, as the client reads it."""
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    return entry


def test_the_client_reads_what_was_written(release, tmp_path):
    """The value is the share of what did not fail; the interval and the counts are the report's."""
    report = builder.evaluate(brightness, release, task="detect")
    path = hub_results.save(tmp_path, report, DATASET, COMMIT, "2026-11-30")
    assert path == tmp_path / ".eval_results/AGFD-30K-detect.yaml"
    entry, overall = parsed(path), report.document.overall
    assert entry == hub_results.entry(report, DATASET, COMMIT, "2026-11-30")
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == (DATASET, "detect", COMMIT)
    assert entry.date == "2026-11-30" and entry.verify_token is entry.source_url is None
    assert entry.value == pytest.approx(1 - overall.failures / overall.trials, abs=1e-6) and 0 < entry.value < 1
    low, high = map(float, re.search(r"95%: (\S+) to (\S+)\)", entry.notes).groups())
    assert low < entry.value < high and low == pytest.approx(1 - overall.interval[1], abs=1e-3)
    assert f"1 - share of pictures missed, of {overall.trials} (" in entry.notes
    assert "; split all, verified only; threshold 0.5" in entry.notes


def test_a_date_is_that_of_the_day_and_an_unknown_commit_is_left_out(release, tmp_path):
    path = hub_results.save(tmp_path, builder.evaluate(brightness, release, task="detect", verified=False), DATASET)
    entry = parsed(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.date) and entry.dataset_revision is None
    assert "revision" not in path.read_text() and "verified or not" in entry.notes


def test_every_task_and_label_has_a_name_of_its_own(release, tmp_path):
    """Values of different labels are not comparable."""
    ids = Truth.of(release).ids
    rng = np.random.default_rng(0)
    said = {
        "attribute_feature": ("attribute", {"label": "feature"}, lambda: {"label": "banana"}),
        "attribute_sex": ("attribute", {"label": "sex"}, lambda: {"label": "male"}),
        "recognise": ("recognise", {"threshold": 0.5}, lambda: {"embedding": rng.normal(size=3).tolist()}),
        "fake": ("fake", {"split": "train"}, lambda: {"score": float(rng.random())}),
        "landmark": ("landmark", {}, lambda: {"points": rng.uniform(0, 16, (5, 2)).tolist()}),
    }
    for name, (task, options, answer) in said.items():
        file = write(tmp_path / f"{name}.jsonl", [{"id": id, **answer()} for id in ids])
        if task == "fake":
            options |= {"real": write(tmp_path / "real.jsonl", [{"score": n / 8} for n in range(8)])}
        report = builder.evaluate(file, release, task=task, **options)
        entry = parsed(hub_results.save(tmp_path / name, report, DATASET))
        assert entry.task_id == name and entry.value == pytest.approx(1 - report.document.overall.rate, abs=1e-6)
    assert "pairs false match" in entry_of(tmp_path, "recognise").notes
    assert "split train" in entry_of(tmp_path, "fake").notes
    assert "50.0% of 8 real pictures taken for fake" in entry_of(tmp_path, "fake").notes


def entry_of(place, name):
    """The entry below a folder."""
    return parsed(next((place / name).rglob("*.yaml")))


def test_the_slice_that_is_certainly_worse_is_told(release, tmp_path):
    """With how many of it do not fail; where none is, none is told."""
    scores = [{"id": id, "score": 0.1 if "banana" in id else 0.9} for id in Truth.of(release).ids]
    options = {"task": "fake", "by": ("feature",), "verified": False}
    report = builder.evaluate(write(tmp_path / "a.jsonl", scores), release, **options)
    assert "; worst slice banana: 0 (0 to " in hub_results.entry(report, DATASET).notes
    none = builder.evaluate(write(tmp_path / "b.jsonl", [{**row, "score": 0.9} for row in scores]), release, **options)
    assert none.worst(1) and "worst" not in hub_results.entry(none, DATASET).notes


def test_the_previews_pictures_give_no_result(tmp_path):
    drawn = evaluations.make(tmp_path / "drawn", source=builds.SOURCE)
    report = builder.evaluate(brightness, drawn, task="detect")
    for call in (
        lambda: hub_results.save(tmp_path, report, DATASET),
        lambda: hub_results.require_folder_measured(DATASET, drawn),
    ):
        with pytest.raises(UserError, match="user/AGFD-30K: its pictures are drawings of the preview model"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["drawn"]


def test_where_nothing_could_be_tried_there_is_no_result(release):
    report = builder.evaluate(brightness, release, task="detect")
    overall = report.document.overall.model_copy(update={"rate": None})
    empty = type(report)(report.document.model_copy(update={"overall": overall}), report.outcomes)
    with pytest.raises(UserError, match="nothing could be tried"):
        hub_results.entry(empty, DATASET)


def test_a_folder_is_no_dataset_on_the_hub(release, tmp_path, capsys, monkeypatch):
    """Also where its path looks like the name of one; told before anything is looked at."""
    monkeypatch.chdir(release.parent.parent)
    flags = ["--task", "detect", "--model", "opencv:yunet", "--hub-results"]
    for name in (str(release), f"{release.parent.name}/{release.name}"):
        assert commands.main(["evaluate", name, *flags, "--out", str(tmp_path / "out")]) == 2
        says = f"evaluate: --hub-results: {name} is no dataset on the Hub; evaluate the published one, owner/name\n"
        assert capsys.readouterr() == ("", says)
    assert commands.main(["evaluate", "user/none", *flags]) == 2
    assert capsys.readouterr().err == "evaluate: --hub-results: needs --out, the folder that they are written into\n"
    assert not (tmp_path / "out").exists()


def test_a_commit_is_known_where_all_files_are_of_it(tmp_path):
    """Of the client's cache by the folder's name, else by the client's notes."""
    cached = tmp_path / "snapshots" / COMMIT
    cached.mkdir(parents=True)
    assert commits.of(cached) == COMMIT and commits.of(tmp_path) is None
    assert commits.of(cached.rename(tmp_path / "snapshots/main")) is None
    notes = tmp_path / "whole/.cache/huggingface/download/metadata"
    notes.mkdir(parents=True)
    (notes / "a.parquet.metadata").write_text(f"{COMMIT}\netag\n1.0\n")
    assert commits.of(tmp_path / "whole") == COMMIT
    (notes / "b.parquet.metadata").write_text(f"{COMMIT[::-1]}\netag\n1.0\n")
    assert commits.of(tmp_path / "whole") is None


def test_a_later_upload_leaves_an_eval_yaml_that_somebody_added():
    """A release has none; what an older release had is removed."""
    older = "data/fruit/test-00000-of-00001.parquet"
    assert differences(SimpleNamespace(files={}), {"eval.yaml": None, older: None}) == ([], [older])
