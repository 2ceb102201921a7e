"""A published dataset is annotated and sent back: through a loopback Hub, by processes of the commands themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

from builder.common.files import sha256
from builder.dataset import packing
from builder.dataset.folder import Release
from tests.fixtures.annotators import Brightness
from tests.fixtures.faces import write_raw
from tests.fixtures.hub import Hub

ROOT = Path(__file__).parents[2]
REPO = "user/AGFD-30K"
pytestmark = pytest.mark.process


class Client:
    """Runs commands in a folder, with a token for this Hub."""

    def __init__(self, hub, folder):
        self.folder = folder
        self.environment = {**hub.environment(folder / "home", "hf_write"), "PYTHONPATH": str(ROOT)}

    def __call__(self, *arguments, status=0):
        command = [sys.executable, "-m", "builder", *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub", lfs_threshold=1000) as hub:
        yield hub


@pytest.fixture
def client(hub, tmp_path):
    (tmp_path / "client").mkdir()
    return Client(hub, tmp_path / "client")


def test_a_dataset_is_downloaded_annotated_and_sent_back(hub, client, tmp_path):
    """What is read back is every config, that of the aligned faces too; of the pictures nothing is sent twice."""
    raw = write_raw(tmp_path / "raw", limit=60)
    packing.pack(raw, tmp_path / "faces", aligned=48)
    upload = ["upload", "--repo-id", REPO, "--allow-preview", "--allow-incomplete"]
    written = client(*upload, tmp_path / "faces")
    for config in ("annotations", "aligned"):
        assert f"\n  {config}: train " in f"\n{written}"
    hub.fault("GET /resolve/", status=503, times=1)
    client("annotate", REPO, "--with", "tests.fixtures.annotators:Brightness")
    folder = client.folder / "AGFD-30K"
    before, after = Release(tmp_path / "faces"), Release(folder)
    assert [name for name in after.files if name not in before.files] == [
        f"annotations/brightness/{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")
    ]
    changed = {name for name in before.files if sha256(folder / name) != sha256(tmp_path / "faces" / name)}
    assert changed == {"README.md", "croissant.json"}
    written = client(*upload, folder)
    assert "\n  annotations_brightness: train " in f"\n{written}"
    added = [set(commit["added"]) for commit in hub.commits(REPO)][-1]
    assert added == {*changed, *(name for name in after.files if name not in before.files)}
    assert "is there already" in client("annotate", REPO, "--with", f"{Brightness.__module__}:Brightness", status=2)


def test_what_is_not_there_is_one_line(hub, client):
    flags = ["--with", "tests.fixtures.annotators:Brightness"]
    written = client("annotate", "user/none", *flags, status=2)
    assert written.count("\n") == 1 and "user/none: no such folder, and no such dataset on the Hub" in written
    assert not (client.folder / "none").exists()
    client.environment["HF_HUB_OFFLINE"] = "1"
    assert "the Hub's client is offline" in client("annotate", "user/none", *flags, status=2)
