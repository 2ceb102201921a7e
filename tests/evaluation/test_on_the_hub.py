"""A published dataset is evaluated: of predictions only labels are downloaded, a model needs the pictures too."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, parse_eval_result_entries

from builder.evaluation.report import Report
from builder.evaluation.truth import Truth
from tests.fixtures import builds, evaluations
from tests.fixtures.hub import Hub

ROOT = Path(__file__).parents[2]
REPO = "user/AGFD-30K"
pytestmark = pytest.mark.process


def test_the_report_of_a_published_dataset_is_that_of_its_folder(tmp_path):
    release = evaluations.make(tmp_path / "release")
    files = [path for path in release.rglob("*") if path.is_file()]
    scores = [{"id": id, "score": 0.9} for id in Truth.of(release).ids]
    evaluations.write(tmp_path / "mine.jsonl", scores)
    with Hub(tmp_path / "hub", lfs_threshold=1000) as hub:
        environment = {**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)}

        def evaluate(*arguments):
            command = [sys.executable, "-m", "builder", "evaluate", REPO, *arguments]
            return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

        HfApi(hub.endpoint, token="hf_write").create_repo(REPO, repo_type="dataset")
        commit = hub.commit(REPO, {path.relative_to(release).as_posix(): path.read_bytes() for path in files})
        done = evaluate("--task", "fake", "--predictions", "mine.jsonl", "--out", "labels", "--hub-results")
        assert done.returncode == 0, done.stderr
        assert f"the Hub shows it only where {REPO} is registered as a benchmark with the task fake\n" in done.stdout
        got = {record["path"].rpartition("/main/")[2] for record in hub.asked("GET /resolve/")}
        assert not any("/data/" in path for path in got) and any("checks.json" in path for path in got)
        for out in ("seen", "again"):
            done = evaluate(
                "--task", "detect", "--model", "tests.fixtures.evaluations:brightness", "--out", out, "--hub-results"
            )
        assert done.returncode == 2 and "AGFD-30K: is there already; evaluate on that" in done.stderr
    labels, seen = (Report.load(tmp_path / name).document for name in ("labels", "seen"))
    assert labels.release.digest == seen.release.digest == Truth.of(release).digest
    for name, task, document in (("labels", "fake", labels), ("seen", "detect", seen)):
        (file,) = (tmp_path / name / ".eval_results").iterdir()
        (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
        assert (file.name, entry.dataset_id) == (f"AGFD-30K-{task}.yaml", REPO)
        assert (entry.task_id, entry.dataset_revision) == (task, commit["id"])
        assert entry.value == pytest.approx(1 - document.overall.rate, abs=1e-6)
    assert labels.release.name == REPO and 0 < seen.overall.failures < seen.overall.trials
    command = [sys.executable, "-m", "builder", "evaluate", "release/fruit", "--task", "fake"]
    command += ["--predictions", "mine.jsonl", "--out", "again"]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=tmp_path)
    assert Report.load(tmp_path / "again").document.cells == labels.cells


def test_a_published_preview_is_known_by_its_card_and_gives_no_result(tmp_path):
    """Its labels alone do not say that it is one."""
    release = evaluations.make(tmp_path / "release", source=builds.SOURCE)
    evaluations.write(tmp_path / "mine.jsonl", [{"id": id, "score": 0.9} for id in Truth.of(release).ids])
    flags = ["--task", "fake", "--predictions", "mine.jsonl"]
    with Hub(tmp_path / "hub", lfs_threshold=1000) as hub:
        environment = {**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
        HfApi(hub.endpoint, token="hf_write").create_repo(REPO, repo_type="dataset")
        files = [path for path in release.rglob("*") if path.is_file()]
        hub.commit(REPO, {path.relative_to(release).as_posix(): path.read_bytes() for path in files})
        for more, status in ((["--out", "report"], 0), (["--out", "other", "--hub-results"], 2)):
            command = [sys.executable, "-m", "builder", "evaluate", REPO, *flags, *more]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
            assert done.returncode == status, done.stderr
    assert Report.load(tmp_path / "report").document.release.preview
    assert "pictures are drawings of the preview model" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "other").exists()
