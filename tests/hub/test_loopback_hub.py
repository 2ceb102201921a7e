import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import _http

from tests.fixtures.hub import Hub, until
from tests.fixtures.hub.faults import QUOTA
from tests.fixtures.scripts import LEAVE

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own
REPO, DATASET = "user/faces", {"repo_id": "user/faces", "repo_type": "dataset"}
OLD_DATASETS = Path(__file__).parents[2] / ".venv-datasets3" / "bin" / "python"
CARD = b"""---
configs:
- config_name: table
  data_files: [{split: train, path: table/*.parquet}]
- config_name: index
  data_files: [{split: train, path: index/*.parquet}]
---
Faces
"""
UPLOAD = """
import sys
from huggingface_hub import HfApi
HfApi().upload_folder(repo_id=sys.argv[1], repo_type="dataset", folder_path=sys.argv[2])
"""
LOAD = (
    """
import json
from datasets import load_dataset
found = {}
for config in ("table", "index"):
    for streaming in (False, True):
        rows = load_dataset("user/faces", config, split="train", streaming=streaming)
        found[f"{config} {streaming}"] = [row["age"] for row in rows]
print(json.dumps(found))
"""
    + LEAVE
)


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub", lfs_threshold=100_000) as hub:
        yield hub


@pytest.fixture
def waits(monkeypatch):
    """The client's waits between two tries, which are not waited for."""
    waits = []

    class Time:
        sleep = staticmethod(waits.append)

    monkeypatch.setattr(_http, "time", Time)
    return waits


@pytest.fixture
def api(hub, tmp_path, monkeypatch, waits):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "*")
    _http.close_session()  # one that may have been made to use a proxy
    return HfApi(hub.endpoint, token="hf_write")


@pytest.fixture
def folder(tmp_path):
    """Files on both sides of the LFS threshold, and a path that has to be quoted."""
    contents = {
        "README.md": CARD,
        "data/regular.txt": b"regular\n",
        "data/large.txt": os.urandom(150_000),
        "data/part 1 #é.png": os.urandom(5_000),
        "empty.txt": b"",
    }
    for path, content in contents.items():
        (tmp_path / "folder" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / path).write_bytes(content)
    return tmp_path / "folder"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def client(hub, home, program, *arguments, token="hf_write", python=sys.executable):
    """A client in a process of its own."""
    return subprocess.Popen(
        [str(python), "-c", program, *map(str, arguments)],
        env=hub.environment(home, token),
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_uploaded_folder_is_there_byte_for_byte(hub, api, folder):
    url = api.create_repo(**DATASET, private=True)
    assert (url.repo_id, url.repo_type) == (REPO, "dataset")
    api.create_repo(**DATASET, exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(**DATASET)
    info = api.upload_folder(**DATASET, folder_path=folder, commit_message="All of it")

    sent = contents(folder)
    assert {**hub.files(REPO), ".gitattributes": None} == {**sent, ".gitattributes": None}
    assert hub.bytes_put() == 155_000
    first, last = hub.commits(REPO)
    assert (last["id"], last["parent"], last["message"]) == (info.oid, first["id"], "All of it")
    assert last["added"] == sorted(sent) and last["deleted"] == []
    verified = api.verify_repo_checksums(**DATASET, local_dir=folder)
    assert (verified.checked_count, verified.mismatches) == (5, []) and verified.missing_paths == [".gitattributes"]

    told = api.dataset_info(REPO, files_metadata=True)
    assert told.private and told.sha == info.oid
    assert {sibling.rfilename: sibling.size for sibling in told.siblings if sibling.lfs} == {
        "data/large.txt": 150_000,
        "data/part 1 #é.png": 5_000,
    }
    before = len(hub.requests)
    assert api.upload_folder(**DATASET, folder_path=folder).oid == info.oid  # nothing to do
    assert hub.asked("* /commit/", before) == [] and hub.bytes_put(before) == 0


def test_trees_and_paths(hub, api, folder):
    api.create_repo(**DATASET)
    api.upload_folder(**DATASET, folder_path=folder)
    hub.page_size = 2
    tree = list(api.list_repo_tree(**DATASET, recursive=True, expand=True))
    assert {entry.path for entry in tree} == {*contents(folder), "data", ".gitattributes"}
    assert [entry.last_commit.title.split()[0] for entry in tree[:2]] == ["initial", "Upload"]
    assert {entry.path for entry in api.list_repo_tree(**DATASET, path_in_repo="data")} == {
        path for path in contents(folder) if path.startswith("data/")
    }
    found = api.get_paths_info(**DATASET, paths=["data", "data/large.txt", "none"])
    assert [entry.path for entry in found] == ["data", "data/large.txt"] and found[1].lfs.size == 150_000
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(**DATASET, path_in_repo="none"))
    assert [commit.title for commit in api.list_repo_commits(**DATASET)] == [
        "Upload folder using huggingface_hub",
        "initial commit",
    ]


def test_multipart(hub, api):
    api.create_repo(**DATASET)
    hub.part_size = 100_000
    content = os.urandom(250_001)
    api.upload_file(**DATASET, path_or_fileobj=content, path_in_repo="a.parquet")
    assert hub.files(REPO)["a.parquet"] == content
    assert [record["received"] for record in hub.asked("PUT /lfs")] == [100_000, 100_000, 50_001]
    assert list((hub.store.folder / "incoming").iterdir()) == []


def test_commits_know_their_parent(hub, api):
    api.create_repo(**DATASET)
    parent = hub.commit(REPO, {"old.txt": b"old", "kept.txt": b"kept"})["id"]
    replace = [CommitOperationDelete("old.txt"), CommitOperationAdd("new.txt", b"new")]
    info = api.create_commit(**DATASET, operations=replace, commit_message="Replace", parent_commit=parent)
    assert (hub.commits(REPO)[-1]["added"], hub.commits(REPO)[-1]["deleted"]) == (["new.txt"], ["old.txt"])

    late = [CommitOperationAdd("late.txt", b"late")]
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api.create_commit(**DATASET, operations=late, commit_message="Late", parent_commit=parent)
    assert error.value.response.status_code == 412 and hub.commits(REPO)[-1]["id"] == info.oid
    with pytest.raises(EntryNotFoundError):
        api.delete_file("old.txt", **DATASET)
    hub.commit(REPO, {"folder/a.txt": b"", "folder/b/c.txt": b"", "folder.txt": b""})
    info = api.delete_folder("folder", **DATASET)
    assert hub.commits(REPO)[-1]["deleted"] == ["folder/a.txt", "folder/b/c.txt"]

    fault = hub.fault("POST /commit/", before=lambda: hub.commit(REPO, {"theirs.txt": b""}))
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(
            **DATASET, operations=[CommitOperationAdd("mine.txt", b"")], commit_message="Mine", parent_commit=info.oid
        )
    assert fault.hits == 1 and "theirs.txt" in hub.files(REPO)


def test_refs(hub, api):
    api.create_repo(**DATASET)
    first = hub.commit(REPO, {"a.txt": b"1"})["id"]
    api.create_tag(**DATASET, tag="v1")
    api.create_tag(**DATASET, tag="v1", exist_ok=True)
    api.create_branch(**DATASET, branch="next", revision=first)
    second = api.upload_file(**DATASET, path_or_fileobj=b"2", path_in_repo="a.txt", revision="next").oid
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(**DATASET, tag="v1", revision="next")
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(**DATASET, tag="v2", revision="none")

    other = HfApi(hub.endpoint, token="hf_other")
    request = other.upload_file(**DATASET, path_or_fileobj=b"3", path_in_repo="a.parquet", create_pr=True)
    assert (request.pr_revision, request.pr_num) == ("refs/pr/1", 1)
    third = api.upload_file(**DATASET, path_or_fileobj=b"3", path_in_repo="b.txt", revision="refs/pr/1").oid
    assert hub.files(REPO, "refs/pr/1")["a.parquet"] == b"3" and "a.parquet" not in hub.files(REPO)

    refs = api.list_repo_refs(**DATASET, include_pull_requests=True)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": first, "next": second}
    assert [(ref.ref, ref.target_commit) for ref in refs.tags] == [("refs/tags/v1", first)]
    assert [(ref.ref, ref.target_commit) for ref in refs.pull_requests] == [("refs/pr/1", third)]
    assert api.dataset_info(REPO, revision="refs/pr/1").sha == third
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(REPO, revision="none")


def test_who_may_what(hub, api):
    api.create_repo(**DATASET, private=True)
    reader, other, nobody = (HfApi(hub.endpoint, token=token) for token in ("hf_read", "hf_other", False))
    assert (reader.whoami()["name"], reader.whoami()["auth"]["accessToken"]["role"]) == ("user", "read")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(hub.endpoint, token="hf_unknown").whoami()
    for stranger in (other, nobody):
        for ask in (stranger.repo_info, stranger.auth_check, stranger.list_repo_files):
            with pytest.raises(RepositoryNotFoundError):
                ask(**DATASET)
    api.auth_check(**DATASET, write=True)
    reader.auth_check(**DATASET)

    upload = {**DATASET, "path_or_fileobj": b"", "path_in_repo": "a.txt"}
    for ask in (
        lambda: reader.upload_file(**upload),
        lambda: reader.auth_check(**DATASET, write=True),
        lambda: reader.create_repo("user/another", repo_type="dataset"),
        lambda: api.create_repo("other/another", repo_type="dataset"),
    ):
        with pytest.raises(HfHubHTTPError, match="403"):
            ask()
    api.update_repo_settings(**DATASET, private=False)
    assert not nobody.dataset_info(REPO).private
    with pytest.raises(HfHubHTTPError, match="create_pr"):
        other.upload_file(**upload)
    with pytest.raises(RepositoryNotFoundError):
        nobody.upload_file(**upload)
    assert len(hub.commits(REPO)) == 1


def test_the_card_is_validated(hub, api):
    api.create_repo(**DATASET)
    hub.validation = {"errors": [{"message": '"license" must be one of these'}], "warnings": []}
    with pytest.raises(ValueError, match="license"):
        api.upload_file(**DATASET, path_or_fileobj=CARD, path_in_repo="README.md")
    assert "README.md" not in hub.files(REPO)


def test_downloads(hub, api, folder, tmp_path, monkeypatch):
    api.create_repo(**DATASET, private=True)
    commit = api.upload_folder(**DATASET, folder_path=folder).oid
    for path, content in contents(folder).items():
        got = Path(api.hf_hub_download(**DATASET, filename=path, cache_dir=tmp_path / "cache"))
        assert got.read_bytes() == content and commit in got.parts
    whole = Path(api.snapshot_download(**DATASET, cache_dir=tmp_path / "whole"))
    assert contents(whole) == {**contents(folder), ".gitattributes": hub.files(REPO)[".gitattributes"]}
    large = "data/large.txt"
    url = huggingface_hub.hf_hub_url(REPO, large, repo_type="dataset", endpoint=hub.endpoint)
    told = api.get_hf_file_metadata(url=url)
    assert (told.commit_hash, told.size) == (commit, 150_000)
    assert told.location.endswith(told.etag) and not told.location.startswith(hub.endpoint)
    assert {record["user"] for record in hub.asked("GET /lfs/")} == {None}

    fault = hub.fault("GET /lfs/", cut=100_000)
    got = api.hf_hub_download(**DATASET, filename=large, cache_dir=tmp_path / "other")
    assert Path(got).read_bytes() == contents(folder)[large] and fault.hits == 1

    files = HfFileSystem(endpoint=hub.endpoint, token="hf_write", skip_instance_cache=True)
    with files.open(f"datasets/{REPO}/{large}", block_size=1000) as file:
        file.seek(149_990)
        assert file.read(100) == contents(folder)[large][149_990:]
    assert [hub.asked("GET /lfs/")[-1][key] for key in ("status", "sent")] == [206, 10]
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(**DATASET, filename="none", cache_dir=tmp_path / "cache")


@pytest.mark.process
@pytest.mark.parametrize("python", [Path(sys.executable), OLD_DATASETS], ids=["datasets", "old-datasets"])
def test_load_dataset(hub, api, tmp_path, python):
    if not python.exists():
        pytest.skip("make test builds the environment")
    api.create_repo(**DATASET, private=True)
    operations = [CommitOperationAdd("README.md", CARD)]
    for number, path in enumerate(["table/train-00000.parquet", "table/train-00001.parquet", "index/train.parquet"]):
        pq.write_table(pa.table({"age": [number, number + 10]}), tmp_path / "table.parquet")
        operations.append(CommitOperationAdd(path, (tmp_path / "table.parquet").read_bytes()))
    api.create_commit(**DATASET, operations=operations, commit_message="Tables")
    with client(hub, tmp_path / "home", LOAD, python=python) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    ages = {"table": [0, 10, 1, 11], "index": [2, 12]}
    assert {r["status"] for r in hub.requests if not r["path"].startswith("/")} <= {404}  # it got nowhere else
    assert json.loads(output) == {f"{config} {how}": ages[config] for config in ages for how in (False, True)}


def test_faults_that_the_client_gets_over(hub, api, waits):
    api.create_repo(**DATASET)
    content = os.urandom(200_000)
    faults = [
        hub.fault("PUT /lfs", status=503, times=2),
        hub.fault("PUT /lfs", status=429, headers={"Retry-After": "7"}),
        hub.fault("PUT /lfs", reset=True, bytes=70_000),
        hub.fault("PUT /lfs", lose_answer=True),
        hub.fault("POST objects/batch", lose_answer=True),
    ]
    api.upload_file(**DATASET, path_or_fileobj=content, path_in_repo="a.parquet")
    assert hub.files(REPO)["a.parquet"] == content
    assert [fault.hits for fault in faults] == [2, 1, 1, 1, 1]
    assert [(r["status"], r["received"]) for r in hub.asked("PUT /lfs")] == [
        *[(503, 200_000), (503, 200_000), (429, 200_000)],
        *[(None, 70_000), (None, 200_000), (200, 200_000)],
    ]
    assert 8 in waits  # what it was asked to wait, and a second


def test_faults_that_the_client_gives_up_at(hub, api):
    api.create_repo(**DATASET)
    upload = {**DATASET, "path_or_fileobj": b"content", "path_in_repo": "a.parquet"}
    hub.fault("POST objects/batch", status=403, message=QUOTA)
    with pytest.raises(HfHubHTTPError, match="403 Forbidden: Private repository storage limit reached"):
        api.upload_file(**upload)
    hub.fault("POST objects/batch", status=413, message="too much")
    with pytest.raises(HfHubHTTPError, match="too much"):
        api.upload_file(**upload)
    gone = hub.fault("PUT /lfs", status=500, times=math.inf)
    with pytest.raises(RuntimeError, match=r"a\.parquet"):
        api.upload_file(**upload)
    assert gone.hits == 6
    hub.faults.clear()

    hub.fault("POST /commit/", lose_answer=True)
    with pytest.raises(_http.httpx2.TransportError):
        api.upload_file(**upload)
    assert hub.files(REPO)["a.parquet"] == b"content"  # it does not know, but it was done
    after = hub.fault("POST /commit/", after=1, delay=0.1, status=504)
    api.upload_file(**DATASET, path_or_fileobj=b"1", path_in_repo="1.txt")
    with pytest.raises(HfHubHTTPError, match="504"):
        api.upload_file(**DATASET, path_or_fileobj=b"2", path_in_repo="2.txt")
    assert after.hits == 1 and {"1.txt", "2.txt"} & hub.files(REPO).keys() == {"1.txt"}

    def spoil(answer):
        answer.body = answer.body.replace(b"main", b"niam")
        return answer

    hub.fault("GET /refs", change=spoil)
    assert [[ref.name for ref in api.list_repo_refs(**DATASET).branches] for _ in range(2)] == [["niam"], ["main"]]


@pytest.mark.process
def test_a_client_is_killed_in_the_middle(hub, api, tmp_path):
    api.create_repo(**DATASET)
    (tmp_path / "folder").mkdir()
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / "folder" / name).write_bytes(os.urandom(8_000_000))
    hub.put_rate = 4_000_000
    with client(hub, tmp_path / "home", UPLOAD, REPO, tmp_path / "folder") as process:
        until(lambda: hub.bytes_put() > 500_000)
        process.kill()
    hub.put_rate, seen = None, len(hub.requests)
    until(lambda: not hub.busy)
    assert 500_000 < hub.bytes_put() < 16_000_000 and len(hub.commits(REPO)) == 1
    assert [r["status"] for r in hub.asked("PUT /lfs")] == [None, None]
    assert [*(hub.store.folder / "lfs").iterdir(), *(hub.store.folder / "incoming").iterdir()] == []
    api.upload_folder(**DATASET, folder_path=tmp_path / "folder")
    assert hub.bytes_put(seen) == 16_000_000


def test_it_goes_on_where_it_stopped(hub, api, folder, tmp_path):
    api.create_repo(**DATASET, private=True)
    info = api.upload_folder(**DATASET, folder_path=folder)
    api.create_tag(**DATASET, tag="v1")
    files = hub.files(REPO)
    hub.stop()
    with pytest.raises(_http.httpx2.ConnectError):
        api.repo_info(**DATASET)
    with Hub(tmp_path / "hub", hub.port) as again:
        assert api.repo_info(**DATASET, revision="v1").sha == info.oid and api.repo_info(**DATASET).private
        assert again.files(REPO) == files and again.bytes_put() == hub.bytes_put() == 155_000
        api.upload_file(**DATASET, path_or_fileobj=b"", path_in_repo="more.txt")
        assert [commit["parent"] for commit in again.commits(REPO)][-1] == info.oid
    hub.start()  # for the fixture to stop


# Models


MODEL = "owner/model"


@pytest.fixture
def model(hub, folder):
    """A model repository on main, whose large file LFS keeps, and another state of it in a pull request."""
    (folder / "data/large.txt").rename(folder / "data/large.bin")
    (folder / "data/small.safetensors").write_bytes(b"weights")
    hub.put_model(MODEL, folder)
    asked = folder.with_name("asked")
    asked.mkdir()
    (asked / "model.safetensors").write_bytes(b"converted")
    hub.put_model(MODEL, asked, "refs/pr/4")
    return folder


def test_a_model_is_listed_with_sizes_and_digests(hub, api, model):
    """What a client plans a download by is what lies there; a pull request is a revision like any other."""
    told = api.model_info(MODEL, files_metadata=True)
    assert (told.id, told.sha, told.gated, told.private) == (
        MODEL,
        hub.commits("models/owner/model")[0]["id"],
        False,
        False,
    )
    assert {file.rfilename: file.size for file in told.siblings} == {k: len(v) for k, v in contents(model).items()}
    digests = {file.rfilename: file.lfs.sha256 for file in told.siblings if file.lfs}
    large = contents(model)["data/large.bin"]
    assert digests.keys() == {"data/large.bin", "data/small.safetensors"}
    assert digests["data/large.bin"] == hashlib.sha256(large).hexdigest()

    asked = api.model_info(MODEL, revision="refs/pr/4")
    assert [file.rfilename for file in asked.siblings] == ["model.safetensors"] and asked.sha != told.sha
    assert api.model_info(MODEL, revision=asked.sha).sha == asked.sha
    refs = api.list_repo_refs(MODEL, include_pull_requests=True)
    assert [(ref.ref, ref.target_commit) for ref in refs.pull_requests] == [("refs/pr/4", asked.sha)]
    assert {entry.path for entry in api.list_repo_tree(MODEL, recursive=True)} == {*contents(model), "data"}
    assert [entry.size for entry in api.get_paths_info(MODEL, ["data/large.bin", "none"])] == [150_000]
    assert api.list_repo_files(MODEL, revision="refs/pr/4") == ["model.safetensors"]
    with pytest.raises(RevisionNotFoundError):
        api.model_info(MODEL, revision="refs/pr/5")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(MODEL)  # a dataset of that name is another repository


def test_a_model_is_downloaded_byte_for_byte(hub, api, model, tmp_path):
    """Files come by commit, those of LFS from another origin without the token, once and never again."""
    whole = Path(api.snapshot_download(MODEL, cache_dir=tmp_path / "cache"))
    assert contents(whole) == contents(model) and hub.bytes_got() == sum(map(len, contents(model).values()))
    assert {record["user"] for record in hub.asked("GET /lfs/")} == {None}
    asked = api.hf_hub_download(MODEL, "model.safetensors", revision="refs/pr/4", cache_dir=tmp_path / "cache")
    assert Path(asked).read_bytes() == b"converted"
    before = len(hub.requests)
    api.snapshot_download(MODEL, cache_dir=tmp_path / "cache")
    assert hub.bytes_got(before) == 0
    kept = api.snapshot_download(MODEL, cache_dir=tmp_path / "cache", local_files_only=True)
    assert Path(kept) == whole


def test_a_download_that_breaks_off(hub, api, tmp_path):
    """After a closed connection the client continues from its last whole 10 MiB; at one that was reset it gives up."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "large.bin").write_bytes(content := os.urandom(25 << 20))
    hub.put_model(MODEL, tmp_path / "folder")
    hub.fault("GET /lfs/", cut=22 << 20)
    got = api.hf_hub_download(MODEL, "large.bin", cache_dir=tmp_path / "cut")
    assert Path(got).read_bytes() == content
    assert [(r["status"], r["sent"] >> 20) for r in hub.asked("GET /lfs/")] == [(200, 22), (206, 5)]

    before = len(hub.requests)
    fault = hub.fault("GET /lfs/", reset=True, cut=22 << 20)
    with pytest.raises(_http.httpx2.ReadError):
        api.hf_hub_download(MODEL, "large.bin", cache_dir=tmp_path / "reset")
    assert fault.hits == 1 and hub.bytes_got(before) == 22 << 20
    assert not list((tmp_path / "reset").rglob("*.incomplete"))  # nothing is left to continue
    hub.fault("GET /lfs/", status=503)
    with pytest.raises(HfHubHTTPError, match="503"):
        api.hf_hub_download(MODEL, "large.bin", cache_dir=tmp_path / "reset")


def test_a_slow_download(hub, api, model, tmp_path):
    """A rate holds for what a GET of a file brings."""
    hub.get_rate = 300_000
    begin = time.monotonic()
    api.hf_hub_download(MODEL, "data/large.bin", cache_dir=tmp_path / "cache")
    assert time.monotonic() - begin > 0.45


def test_a_gated_model(hub, api, folder, tmp_path):
    """Anybody may list its files; only who was granted access may read one."""
    hub.put_model(MODEL, folder, gated=True, granted=["user"])
    other, nobody = HfApi(hub.endpoint, token="hf_other"), HfApi(hub.endpoint, token=False)
    assert other.model_info(MODEL).gated == nobody.model_info(MODEL).gated == "auto"
    for stranger, status, text in ((other, 403, "not in the authorized list"), (nobody, 401, "Please log in")):
        for ask in (
            lambda who: who.auth_check(MODEL),
            lambda who: who.get_hf_file_metadata(url=f"{hub.endpoint}/{MODEL}/resolve/main/empty.txt"),
        ):
            with pytest.raises(GatedRepoError, match=text) as error:
                ask(stranger)
            assert error.value.response.status_code == status
        with pytest.raises(GatedRepoError, match=text):
            stranger.hf_hub_download(MODEL, "empty.txt", cache_dir=tmp_path / "strangers")
    assert Path(api.hf_hub_download(MODEL, "empty.txt", cache_dir=tmp_path / "cache")).read_bytes() == b""


def test_a_private_model(hub, api, folder, tmp_path):
    """For everybody but its owner it is not there; a token that nobody has is told so."""
    hub.put_model("user/model", folder, private=True)
    assert api.model_info("user/model").private
    for token in ("hf_other", False):
        stranger = HfApi(hub.endpoint, token=token)
        for ask in (stranger.model_info, stranger.auth_check):
            with pytest.raises(RepositoryNotFoundError):
                ask("user/model")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as error:
        HfApi(hub.endpoint, token="hf_wrong").model_info("user/model")
    assert error.value.response.status_code == 401


def test_models_are_kept(hub, api, model, tmp_path):
    """A Hub that is started again on a folder has its models."""
    with Hub(tmp_path / "hub", tokens=hub.tokens) as again:
        info = HfApi(again.endpoint, token="hf_read").model_info(MODEL, revision="refs/pr/4")
    assert info.sha == api.model_info(MODEL, revision="refs/pr/4").sha


@pytest.mark.process
def test_as_a_command(api, tmp_path):
    command = [sys.executable, "-m", "tests.fixtures.hub", "--folder", tmp_path / "another"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        endpoint = process.stdout.readline().split()[1].removeprefix("HF_ENDPOINT=")
        token = process.stdout.readline().partition(":")[0]
        assert HfApi(endpoint, token=token).whoami()["name"] == "user"
        process.terminate()
