"""A published dataset is evaluated: of predictions only labels are downloaded, a model needs the pictures too."""

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from builder.evaluation.report import Report
from builder.evaluation.truth import Truth
from tests.fixtures import evaluations
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
        hub.commit(REPO, {path.relative_to(release).as_posix(): path.read_bytes() for path in files})
        done = evaluate("--task", "fake", "--predictions", "mine.jsonl", "--out", "labels")
        assert done.returncode == 0, done.stderr
        got = {record["path"].rpartition("/main/")[2] for record in hub.asked("GET /resolve/")}
        assert not any("/data/" in path for path in got) and any("checks.json" in path for path in got)
        for out in ("seen", "again"):
            done = evaluate("--task", "detect", "--model", "tests.fixtures.evaluations:brightness", "--out", out)
        assert done.returncode == 2 and "AGFD-30K: is there already; evaluate on that" in done.stderr
    labels, seen = (Report.load(tmp_path / name).document for name in ("labels", "seen"))
    assert labels.release.digest == seen.release.digest == Truth.of(release).digest
    assert labels.release.name == REPO and 0 < seen.overall.failures < seen.overall.trials
    command = [sys.executable, "-m", "builder", "evaluate", "release/fruit", "--task", "fake"]
    command += ["--predictions", "mine.jsonl", "--out", "again"]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=tmp_path)
    assert Report.load(tmp_path / "again").document.cells == labels.cells
