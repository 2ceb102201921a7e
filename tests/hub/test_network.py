"""The whole way through the real Hub, `make network`: a private dataset is made, and deleted again."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from huggingface_hub import HfApi, get_token

from tests.experiments import upload_faults

UPLOAD = Path(__file__).parents[2] / "builder" / "upload.py"


@pytest.mark.network
@pytest.mark.skipif(not get_token(), reason="needs an access token that may write")
def test_a_private_dataset_is_published_and_loads(tmp_path):
    """Upload, verification, tag; the same once more sends nothing."""
    api = HfApi()
    repo = f"{api.whoami()['name']}/agfd30k-test-{uuid.uuid4().hex[:8]}"
    folder = upload_faults.make_release(tmp_path, limit=8)
    command = [sys.executable, str(UPLOAD), str(folder), "--repo-id", repo, "--allow-preview", "--tag", "v1"]
    try:
        first = subprocess.run(command, capture_output=True, text=True)
        assert first.returncode == 0, first.stderr
        commits = api.list_repo_commits(repo, repo_type="dataset")
        assert api.repo_info(repo, repo_type="dataset", revision="v1").sha == commits[0].commit_id
        again = subprocess.run(command, capture_output=True, text=True)
        assert again.returncode == 0 and "0 to send, 0 bytes" in again.stderr
        assert len(api.list_repo_commits(repo, repo_type="dataset")) == len(commits)
        assert get_token() not in first.stdout + first.stderr + again.stdout + again.stderr
    finally:
        api.delete_repo(repo, repo_type="dataset", missing_ok=True)
