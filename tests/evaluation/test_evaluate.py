"""`agfd30k evaluate`: the same report from a file, a function and a name; nothing is mixed, nothing is overwritten."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import builder
from builder import __main__ as commands
from builder.common.errors import UserError
from builder.evaluation import pictures
from builder.evaluation.comparison import Comparison
from builder.evaluation.report import Report
from builder.evaluation.truth import Truth
from builder.models import opencv_faces
from builder.plan.plan import Plan
from builder.spec import table
from drawn_faces.drawing.draw import draw, labels_of
from tests.fixtures import evaluations
from tests.fixtures.builds import picture_of
from tests.fixtures.evaluations import brightness, write
from tests.fixtures.mediapipe_library import face, stand_in

ROOT = Path(__file__).parents[2]
MODEL = "tests.fixtures.evaluations:brightness"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make(tmp_path_factory.mktemp("evaluate") / "release")


@pytest.fixture(scope="module")
def verified(release):
    return Truth.of(release).chosen()


def run(capsys, *arguments):
    """Exit status, stdout and stderr of the command."""
    status = commands.main(["evaluate", *map(str, arguments)])
    return status, *capsys.readouterr()


def said(verified, score=lambda id: 0.9):
    """Scores of the verified pictures."""
    return [{"id": id, "score": float(score(id))} for id in verified.ids]


def scored(tmp_path, verified, name, score):
    """A saved report of such scores."""
    report = builder.evaluate(write(tmp_path / f"{name}.jsonl", said(verified, score)), verified.folder, task="fake")
    return report.save(tmp_path / name)


# Where predictions come from.


def test_a_file_a_function_and_a_name_give_the_same_report(release, tmp_path, capsys):
    status, out, error = run(capsys, release, "--task", "detect", "--model", MODEL, "--out", tmp_path / "named")
    assert status == 0 and error.startswith(f"evaluate: {MODEL} looks at 113 pictures of {release}; what it says goes")
    kept = tmp_path / "named" / "predictions.jsonl"
    other = ["--task", "detect", "--predictions", kept, "--out", tmp_path / "filed"]
    assert run(capsys, release, *other)[0] == 0
    function = builder.evaluate(brightness, release, task="detect")
    named, filed = (Report.load(tmp_path / name) for name in ("named", "filed"))
    assert named.document.cells == filed.document.cells == function.document.cells
    assert named.document == filed.document and function.outcomes == named.outcomes
    assert out.startswith(named.table()) and 0 < named.document.overall.failures < 113


def test_a_stopped_run_goes_on_and_looks_at_no_picture_twice(release, tmp_path):
    seen = []

    def stops(images):
        if len(seen) >= 40:
            raise KeyboardInterrupt
        seen.extend(images)
        return brightness(images)

    def goes_on(images):
        seen.extend(images)
        return brightness(images)

    stops.__qualname__ = goes_on.__qualname__ = "mine"
    with pytest.raises(KeyboardInterrupt):
        builder.evaluate(stops, release, out=tmp_path, batch_size=20)
    report = builder.evaluate(goes_on, release, out=tmp_path, batch_size=20)
    assert len(seen) == 113 and report.document.cells == builder.evaluate(brightness, release).document.cells


@pytest.mark.process
def test_a_killed_run_goes_on(release, tmp_path):
    """SIGKILL in the middle of a batch; what was said before is kept, and the report is that of a run never killed."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\nfrom tests.fixtures.evaluations import brightness\ncalls = []\n"
        "def look(images):\n    calls.append(1)\n"
        "    if len(calls) == 3 and os.environ.get('DIE'):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return brightness(images)\n"
    )
    command = [sys.executable, "-m", "builder", "evaluate", str(release), "--task", "detect", "--model", "slow:look"]
    command += ["--out", "out", "--batch-size", "20"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, cwd=tmp_path, env={**environment, "DIE": "1"}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len((tmp_path / "out/predictions.jsonl").read_text().splitlines()) == 1 + 40
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and ", 40 known already" in again.stderr
    assert Report.load(tmp_path / "out").document.cells == builder.evaluate(brightness, release).document.cells


def test_only_chosen_pictures_are_looked_at_and_others_of_the_file_are_left_out(release, tmp_path, capsys):
    """Predictions of everything give every split and choice without another look."""
    out = tmp_path / "all"
    assert run(capsys, release, "--task", "detect", "--model", MODEL, "--all", "--out", out)[0] == 0
    everything = Report.load(out).document
    assert (everything.release.pictures, everything.release.verified_only) == (len(Truth.of(release)), False)
    assert any("the generator's failures count as the model's" in limit for limit in everything.limits)
    kept = out / "predictions.jsonl"
    status, _, _ = run(
        capsys, release, "--task", "detect", "--predictions", kept, "--split", "test", "--out", tmp_path / "t"
    )
    test = Report.load(tmp_path / "t").document
    assert status == 0 and test.release.split == "test" and test.release.pictures < 30
    assert all(cell.grey for cell in test.cells) and Report.load(tmp_path / "t").worst() == []


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fails", r"fails on the pictures from \S+ on: RuntimeError: no memory"),
        ("too_few", "returns 31 values for 32 pictures, not a list of as many"),
        ("words", r"returns for \S+ what is not boxes"),
        ("NOTHING", "tests.fixtures.evaluations has no function NOTHING"),
        ("none_such", "tests.fixtures.evaluations has no function none_such"),
    ],
)
def test_what_is_wrong_with_a_function_is_one_line(release, capsys, function, says):
    model = f"tests.fixtures.evaluations:{function}"
    status, out, error = run(capsys, release, "--task", "detect", "--model", model)
    assert (status, out) == (2, "")
    assert re.search(says, error.splitlines()[-1]) and "Traceback" not in error


def test_a_damaged_picture_is_told_and_what_was_said_before_is_kept(release, tmp_path, monkeypatch):
    decoded = pictures._decoded
    monkeypatch.setattr(pictures, "_decoded", lambda row: decoded({**row, "sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"data/.*cannot be read: the picture of \S+ is not the one"):
        builder.evaluate(brightness, release, out=tmp_path)


def test_opencvs_detectors_see_a_drawn_face(tmp_path):
    """What OpenCV itself says of the picture, as it is."""
    sample = Plan(table.load(), ("base",), 1.0, 1, 16).sample(0)
    pixels = np.asarray(draw(labels_of(sample), 5, 256))
    (box,) = [box for box in opencv_faces.yunet()(pixels) if box[4] > 0.6]
    assert 60 < box[2] < 256 and 60 < box[3] < 256
    network = cv2.FaceDetectorYN.create(str(opencv_faces.MODEL), "", (256, 256), 0.05)
    rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
    assert opencv_faces.yunet()(pixels) == [[*map(float, row[:4]), float(row[14])] for row in rows]
    assert all(box[4] == 1 for box in opencv_faces.haar()(pixels))


# What is said and kept.


def test_the_report_is_read_back_as_it_was_saved(verified, tmp_path):
    folder = scored(tmp_path, verified, "one", lambda id: "banana" not in id)
    report = Report.load(folder)
    assert Report.load(folder / "report.json").document == report.document
    assert sorted(path.name for path in folder.iterdir()) == [
        *["cells.parquet", "outcomes.parquet", "report.json", "report.md"],
    ]
    assert report.table() == (folder / "report.md").read_text().rstrip("\n")
    rows = pq.read_table(folder / "cells.parquet").to_pylist()
    assert [row["failures"] for row in rows[1:]] == [cell.failures for cell in report.document.cells]
    assert rows[0]["by"] == "all" and rows[0]["failures"] == 47
    banana = next(cell for cell in report.document.cells if cell.key == {"feature": "banana", "sex": "male"})
    assert (banana.rate, banana.difference, banana.examples[0] in verified.ids) == (1, 1, True)


def test_the_worst_lead_the_table_and_grey_cells_follow(verified, tmp_path):
    path = write(tmp_path / "p.jsonl", said(verified, lambda id: 0.1 if "banana" in id or id.endswith("7") else 0.9))
    report = builder.evaluate(path, verified.folder, task="fake", by=[("feature",), ("sex",)])
    worst, *_ = report.worst()
    assert (
        all(not cell.grey for cell in report.worst(100))
        and worst.key == {"feature": "banana"}
        and worst.holm < 0.001
        and worst.loss > 0.5
    )
    lines = [line for line in report.table().splitlines() if line.startswith("| ")]
    assert lines[1].startswith("| --- ") or lines[2].startswith("| banana | 47 | 100.0% |")
    tea = next(line for line in lines if line.startswith("| tea"))
    assert "12 (grey)" in tea and lines.index(tea) > lines.index(next(x for x in lines if x.startswith("| banana")))


def test_the_command_names_what_is_certainly_worse(verified, tmp_path, capsys):
    """Not what may be chance, nor what is better, nor a slice of few pictures, however bad."""
    path = write(tmp_path / "p.jsonl", said(verified, lambda id: 0.9 if "base" in id else 0.1))
    arguments = [verified.folder, "--task", "fake", "--predictions", path, "--by", "feature"]
    end = "Certainly worse (Holm p at most 0.05, 30 pictures or more), worst first:"
    assert run(capsys, *arguments)[1].endswith(f"{end} banana\n")
    assert run(capsys, *arguments, "--baseline", "banana")[1].endswith(f"{end} nothing\n")
    assert end not in run(capsys, *arguments, "--worst", "0")[1]


def test_a_further_number_that_no_picture_has_is_no_column(release, tmp_path):
    """The face's box is null on every picture: there is no overlap with it."""
    bare = shutil.copytree(release, tmp_path / "bare")
    for path in bare.glob("metadata/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["face_x"]), path)
    heads = [
        builder.evaluate(brightness, folder).table().split("\n\n")[2].splitlines()[0] for folder in (release, bare)
    ]
    assert "| iou |" in heads[0] and "| iou |" not in heads[1] and "| further boxes |" in heads[1]


def test_real_pictures_give_the_false_alarms_of_a_fake_detector(release, verified, tmp_path, capsys):
    fake = write(tmp_path / "fake.jsonl", said(verified))
    real = write(tmp_path / "real.jsonl", [{"score": n / 100} for n in range(100)])
    arguments = [release, "--task", "fake", "--predictions", fake, "--threshold", "0.9", "--real", real]
    status, out, _ = run(capsys, *arguments)
    assert status == 0 and "Of 100 real pictures 10.0% (4.9 to 17.6) are taken for fake." in out
    status, _, error = run(capsys, *arguments[:-1], write(tmp_path / "no.jsonl", [{"score": None}]))
    assert status == 2 and "row 1 has no score" in error


def photographs(folder, number=7):
    """Pictures of one's own, one in a folder of its own, one on its side, beside what is none."""
    (folder / "more").mkdir(parents=True)
    for n in range(number - 2):
        picture_of(n, 20).save(folder / f"{n}.jpg")
    picture_of(9, 20).convert("L").save(folder / "more/grey.png")
    lying, exif = Image.new("RGB", (8, 24)), Image.Exif()
    exif[0x0112] = 6
    lying.save(folder / "more/lying.jpg", exif=exif)
    (folder / "notes.txt").write_text("none")
    return folder


def red(images):
    """How red a picture is, as a score."""
    assert all(image.mode == "RGB" and image.size != (8, 24) for image in images)
    return [image.resize((1, 1)).getpixel((0, 0))[0] / 255 for image in images]


def test_a_model_looks_at_real_pictures_of_a_folder_once(release, tmp_path, capsys):
    folder, out = photographs(tmp_path / "photographs"), tmp_path / "out"
    report = builder.evaluate(red, release, task="fake", real=folder, out=out, batch_size=3)
    assert report.document.real.pictures == 7 and report.document.real.interval[0] < report.document.real.rate
    kept = (out / "real.jsonl").read_bytes()
    names = [json.loads(line).get("id") for line in kept.splitlines()[1:]]
    assert names == [*(f"{n}.jpg" for n in range(5)), "more/grey.png", "more/lying.jpg"]
    (out / "real.jsonl").write_bytes(b"".join(kept.splitlines(keepends=True)[:4]))
    capsys.readouterr()
    again = builder.evaluate(red, release, task="fake", real=folder, out=out)
    assert again.document == report.document and (out / "real.jsonl").read_bytes() == kept
    assert f"looks at 4 pictures of {folder}, 3 known already" in capsys.readouterr().err
    filed = builder.evaluate(out / "predictions.jsonl", release, task="fake", real=out / "real.jsonl")
    assert filed.document.real == report.document.real
    assert builder.evaluate(red, release, task="fake", real=folder).document == report.document
    picture_of(8, 30).save(folder / "0.jpg")
    with pytest.raises(UserError, match=r"real\.jsonl: is of release digest"):
        builder.evaluate(red, release, task="fake", real=folder, out=out)


def test_a_folder_of_real_pictures_without_any_and_one_with_a_damaged_file_are_told(release, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"--real: .*none holds no picture files"):
        builder.evaluate(red, release, task="fake", real=tmp_path / "none")
    folder = photographs(tmp_path / "photographs")
    (folder / "torn.jpg").write_bytes((folder / "0.jpg").read_bytes()[:200])
    with pytest.raises(UserError, match=r"--real: .*torn\.jpg: is no picture that can be read"):
        builder.evaluate(red, release, task="fake", real=folder)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "detect"], "either --model or --predictions"),
        (["--predictions", "none.jsonl"], "--task: say what the model does"),
        (["--task", "detect", "--model", "opencv:yunet", "--predictions", "x"], "either --model or --predictions"),
        (["--task", "fake", "--model", "opencv:haar"], "--model opencv:haar: finds faces, which is --task detect"),
        (
            ["--task", "detect", "--model", "my_model"],
            "--model my_model: choose opencv:yunet, opencv:haar, a transformers model's folder or owner/name, or name",
        ),
        (["--task", "detect", "--predictions", "none.jsonl"], "none.jsonl: there is no such file of predictions"),
        (["--task", "detect", "--model", MODEL, "--by", "hats"], "--by hats: no such column; choose from attribute"),
        (["--task", "detect", "--model", MODEL, "--split", "dev"], "--split dev: choose train, validation, test"),
        (["--task", "detect", "--model", MODEL, "--real", "x"], "--real: goes with --task fake"),
        (["--task", "fake", "--model", MODEL, "--real", "x"], "x: there is no such file of scores"),
        (["--task", "fake", "--model", MODEL, "--fake-label", "x"], "--fake-label: goes with --task fake and a trans"),
        (["--task", "fake", "--predictions", "x", "--fake-label", "x"], "--fake-label: goes with --model"),
        (["--task", "fake", "--predictions", "x", "--real", "."], "--real .: a folder of pictures goes with --model"),
    ],
)
def test_what_is_wrong_is_one_line(release, capsys, arguments, says):
    status, out, error = run(capsys, release, *arguments)
    assert (status, out) == (2, "") and error.count("\n") == 1 and says in error


def test_a_folder_that_is_no_release_is_told(release, tmp_path, capsys):
    for place, says in ((tmp_path, "no release"), (release.parent / "raw", "a raw build, not a release")):
        status, _, error = run(capsys, place, "--task", "detect", "--model", MODEL)
        assert status == 2 and says in error and error.count("\n") == 1


def test_a_report_is_not_overwritten_and_predictions_are_not_mixed(release, tmp_path, capsys):
    arguments = [release, "--task", "detect", "--model", MODEL, "--out", tmp_path]
    assert run(capsys, *arguments)[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status, _, error = run(capsys, *arguments)
    assert status == 2 and f"{tmp_path}: holds outcomes.parquet of another report" in error
    for name in ("report.json", "report.md", "cells.parquet", "outcomes.parquet", "report.html"):
        (tmp_path / name).unlink()
    status, _, error = run(capsys, *arguments[:4], "opencv:haar", *arguments[5:])
    assert status == 2 and "predictions.jsonl: is of model tests.fixtures.evaluations:brightness, not opencv" in error
    assert (tmp_path / "predictions.jsonl").read_bytes() == before["predictions.jsonl"]


def test_what_is_saved_replaces_nothing(verified, tmp_path):
    one, other = (Report.load(scored(tmp_path, verified, name, lambda id: 1)) for name in ("one", "other"))
    before = {path: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    for saved in (other, Comparison.of(one, other)):
        with pytest.raises(UserError, match="of another report, which is not replaced; choose another --out"):
            saved.save(tmp_path / "one")
    assert {path: path.read_bytes() for path in (tmp_path / "one").iterdir()} == before


def test_predictions_of_another_release_or_task_are_refused(release, verified, tmp_path, capsys):
    kept = tmp_path / "one" / "predictions.jsonl"
    assert run(capsys, release, "--task", "detect", "--model", MODEL, "--out", tmp_path / "one")[0] == 0
    lines = kept.read_text().splitlines(keepends=True)
    header = json.loads(lines[0])
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({**header, "release_digest": "0123"}) + "\n" + "".join(lines[1:]))
    status, _, error = run(capsys, release, "--task", "detect", "--predictions", other)
    assert status == 2 and f"other.jsonl: is of release digest 0123, not {verified.digest}" in error


def test_an_older_release_has_no_points_and_is_evaluated_all_the_same(release, tmp_path):
    """Columns that its files lack are null."""
    older = shutil.copytree(release, tmp_path / "older")
    for path in older.glob("metadata/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["yaw", "roll", "pitch", "right_eye_x", "luminance"]), path)
    report = builder.evaluate(brightness, older, by=[("yaw",), ("feature", "sex")])
    assert [cell.key for cell in report.document.slices[0].cells] == [{"yaw": "not known"}]
    assert report.document.slices[1] == builder.evaluate(brightness, release).document.slices[0]
    with pytest.raises(UserError, match="no picture has a face's five points"):
        builder.evaluate(evaluations.fails, older, task="landmark")  # it is not asked


# Two models.


def test_two_models_are_compared_picture_by_picture(verified, tmp_path, capsys):
    """The first fails bananas alone, the second the men alone."""
    one = scored(tmp_path, verified, "one", lambda id: "banana" not in id)
    other = scored(tmp_path, verified, "other", lambda id: "-male-" not in id)
    status, out, _ = run(capsys, one / "report.json", other / "report.json", "--out", tmp_path / "both")
    assert status == 0
    document = json.loads((tmp_path / "both/comparison.json").read_text())
    cells = {tuple(cell["key"].values()): cell for cell in document["slices"][0]["cells"]}
    assert {key: (cell["only_first"], cell["only_second"]) for key, cell in cells.items()} == {
        ("banana", "male"): (0, 0),
        ("banana", "female"): (21, 0),
        ("base", "male"): (0, 29),
        ("base", "female"): (0, 0),
        ("tea", "male"): (0, 7),
        ("tea", "female"): (0, 0),
    }
    women = cells["banana", "female"]
    assert women["difference"] == 1 and women["difference_interval"][0] > 0.7
    assert women["p"] == pytest.approx(2 * 0.5**21) and women["holm"] == pytest.approx(5 * women["p"])
    first = next(line for line in out.splitlines() if line.startswith("| banana"))
    assert first.startswith("| banana | female | 21 (grey) | 100.0% | 0.0% | +100.0 |")


def test_a_model_compared_with_itself_has_no_difference(verified, tmp_path):
    one = Report.load(scored(tmp_path, verified, "one", lambda id: "banana" not in id))
    document = Comparison.of(one, one).document
    cells = [document.overall, *document.slices[0].cells]
    assert {(cell.difference, cell.p, cell.holm) for cell in cells} == {(0, 1, 1)}
    assert all(cell.difference_interval[0] <= 0 <= cell.difference_interval[1] for cell in cells)


def test_reports_of_other_pictures_or_tasks_are_not_compared(verified, release, tmp_path, capsys):
    one = scored(tmp_path, verified, "one", lambda id: 1)
    builder.evaluate(brightness, release).save(tmp_path / "detect")
    builder.evaluate(tmp_path / "one.jsonl", release, task="fake", split="test").save(tmp_path / "test")
    capsys.readouterr()
    for other, says in (("detect", "another task: fake and detect"), ("test", "another split: None and test")):
        status, out, error = run(capsys, one / "report.json", tmp_path / other / "report.json")
        assert (status, out) == (2, "") and says in error and error.count("\n") == 1
    assert run(capsys, one / "report.json")[2].endswith("is a report; name another one to compare it with\n")


def test_a_damaged_report_is_told(verified, tmp_path):
    folder = scored(tmp_path, verified, "one", lambda id: 1)
    (folder / "outcomes.parquet").write_bytes(
        (scored(tmp_path, verified, "two", lambda id: 0) / "outcomes.parquet").read_bytes()
    )
    with pytest.raises(UserError, match=r"outcomes.parquet: is not that of"):
        Report.load(folder)
    (folder / "report.json").write_text('{"agfd30k": "evaluation"}')
    with pytest.raises(UserError, match="is no report"):
        Report.load(folder)


# Recognition.


def faces(verified, spread):
    """Embeddings that are alike among bananas."""
    rng = np.random.default_rng(2)
    for id in verified.ids:
        vector = rng.standard_normal(16) * spread
        vector[0] += 4 * ("banana" in id)
        yield {"id": id, "embedding": vector.tolist()}


def test_false_matches_are_of_pairs_within_a_slice(verified, tmp_path):
    path = write(tmp_path / "p.jsonl", faces(verified, 1))
    report = builder.evaluate(path, verified.folder, task="recognise", by="feature", threshold=0.5)
    cells = {cell.key["feature"]: cell for cell in report.document.cells}
    banana, base = cells["banana"], cells["base"]
    assert (banana.pictures, banana.trials, base.trials) == (47, 47 * 46 // 2, 54 * 53 // 2)
    assert banana.rate > 0.2 > 0.1 > base.rate and banana.holm < 0.05 and report.worst(1) == [banana]
    matches = report.outcomes["matches by feature"].to_numpy()
    own = np.array([feature == "banana" for feature in report.outcomes["feature"].to_pylist()])
    assert matches[own].sum() == 2 * banana.failures


def test_without_a_baseline_pairs_are_compared_with_those_of_all_others(verified, tmp_path):
    path = write(tmp_path / "p.jsonl", faces(verified, 1))
    options = {"task": "recognise", "by": "feature", "threshold": 0.5}
    report = builder.evaluate(path, verified.folder, baseline="hat", **options)
    (banana,) = report.worst(1)
    assert banana.key == {"feature": "banana"} and banana.against.key == {} and banana.holm < 0.05
    left = len(verified) - 47
    assert banana.against.trials == left * (left - 1) // 2
    assert "most of which are of two slices" in report.table() and "less the others'" in report.table()
    assert "most of which" not in builder.evaluate(path, verified.folder, **options).table()
    by_sex = builder.evaluate(path, verified.folder, **{**options, "by": "sex"})
    assert all(cell.holm is not None for cell in by_sex.document.cells) and "most of which" in by_sex.table()


def test_two_recognisers_are_compared_on_the_same_pairs(verified, tmp_path):
    reports = []
    for name, spread in (("one", 1), ("other", 3)):
        path = write(tmp_path / f"{name}.jsonl", faces(verified, spread))
        options = {"task": "recognise", "by": "feature", "threshold": 0.5}
        reports.append(Report.load(builder.evaluate(path, verified.folder, **options).save(tmp_path / name)))
    cells = {cell.key.get("feature"): cell for cell in Comparison.of(*reports).document.slices[0].cells}
    assert cells["banana"].difference_interval[0] > 0.1 and cells["banana"].holm < 0.01
    assert cells["base"].difference_interval[0] < 0 < cells["base"].difference_interval[1]
    same = Comparison.of(reports[0], reports[0]).document
    assert {cell.p for cell in same.slices[0].cells} == {1}


# Fairlearn.


def test_a_metricframe_needs_fairlearn_and_says_so(verified, tmp_path, monkeypatch):
    report = Report.load(scored(tmp_path, verified, "one", lambda id: "banana" not in id))
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    with pytest.raises(UserError, match="fairlearn is not installed: pip install fairlearn"):
        report.to_metricframe()


def test_a_metricframe_gets_every_outcome_and_its_slices(verified, tmp_path, monkeypatch):
    report = Report.load(scored(tmp_path, verified, "one", lambda id: "banana" not in id))
    given = {}

    class Metrics:
        MetricFrame = staticmethod(lambda **options: given.update(options))

    monkeypatch.setitem(sys.modules, "fairlearn.metrics", Metrics)
    monkeypatch.setitem(sys.modules, "fairlearn", Metrics)
    report.to_metricframe(["feature"])
    assert given["y_pred"].sum() == 47 == sum(name == "banana" for name in given["sensitive_features"]["feature"])
    assert given["metrics"]["taken for real"](given["y_true"], given["y_pred"]) == pytest.approx(47 / 113)
    with pytest.raises(UserError, match="the report has no column yaw"):
        report.to_metricframe(["yaw"])


# What people judged.


def test_judgements_bound_the_rate_of_what_is_shown(release, verified, tmp_path):
    """Where people judged the feature, and for what was asked for and verified alone."""
    judged = shutil.copytree(release, tmp_path / "judged")
    row = {"feature": "banana", "judged": 50, "precision": 0.9, "precision_interval": [0.8, 0.95], "recall": None}
    (judged / "assets/calibration.json").write_text(json.dumps({"features": [row]}))
    labels = zip(verified.ids, verified.strings("feature"))
    rows = [{"id": id, "label": "tea" if id.endswith("1") else feature} for id, feature in labels]
    path = write(tmp_path / "p.jsonl", rows)
    report = builder.evaluate(path, judged, task="attribute")
    cells = {cell.key["feature"]: cell for cell in report.document.cells if cell.key["sex"] == "male"}
    low, high = cells["banana"].interval
    assert cells["banana"].bounds == pytest.approx((max(0, (low - 0.2) / 0.8), high / 0.8)) and not cells["tea"].bounds
    assert "| bounds |" in report.table() and any("People judged" in limit for limit in report.document.limits)
    for other in ({"label": "sex"}, {"verified": False}):
        ids = Truth.of(judged).ids
        path = write(tmp_path / "q.jsonl", [{"id": id, "label": "male" if "label" in other else "tea"} for id in ids])
        plain = builder.evaluate(path, judged, task="attribute", **other)
        assert not any(cell.bounds for cell in plain.document.cells) and "bounds" not in plain.table()


def test_what_a_model_said_is_kept_beside_the_report(release, tmp_path):
    outcomes = builder.evaluate(brightness, release).outcomes
    for failed, said in zip(outcomes["failed"].to_pylist(), outcomes["said"].to_pylist()):
        assert said == ([] if failed else [[*evaluations.BOX, 0.9]])


def test_mediapipes_model_is_named_by_its_file_and_let_go(release, tmp_path, capsys, monkeypatch):
    """Its library cannot let it go itself once Python ends."""
    library, model = stand_in(monkeypatch), tmp_path / "face_landmarker.task"
    model.write_bytes(b"model")
    library.pictures += [[face(0.25, 0.5, 0.0)], []] * 60
    assert run(capsys, release, "--task", "detect", "--model", model, "--out", tmp_path / "out")[0] == 0
    report = Report.load(tmp_path / "out")
    assert report.document.model.name == "mediapipe:face_landmarker.task" and library.closed == [True]
    assert 0.4 < report.document.overall.rate < 0.6
    status, _, error = run(capsys, release, "--task", "fake", "--model", model)
    assert status == 2 and "finds faces, which is --task detect" in error
    assert "there is no such file" in run(capsys, release, "--task", "detect", "--model", tmp_path / "no.task")[2]
