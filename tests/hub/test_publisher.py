"""The publishing command, against a loopback Hub: the faults of `upload_faults.py`, and what it does undisturbed."""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.utils import _http

from builder import upload
from builder.common import retry
from builder.dataset import packing, parquet
from builder.dataset.folder import Release
from builder.hub import changes, readback, repository
from builder.linting import lint
from builder.raw.build import RawBuild
from tests.experiments import upload_faults
from tests.experiments.upload_faults import (
    CASES,
    NO_READBACK,
    REPO,
    Releases,
    allowed_again,
    duplicates,
    files_of,
    incomplete_cards,
    make_release,
    own_commits,
    trial,
)
from tests.fixtures.builds import write_raw
from tests.fixtures.hub import Hub, until
from tests.fixtures.hub.http import Answer
from tests.fixtures.scripts import LEAVE
from tests.fixtures.uploads import upload_here

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own
OLD_DATASETS = Path(__file__).parents[2] / ".venv-datasets3" / "bin" / "python"
LOAD = (
    """
import json
from datasets import load_dataset
found = {}
for config in ("occlusion", "metadata"):
    for streaming in (False, True):
        loaded = load_dataset("user/AGFD-30K", config, streaming=streaming)
        counts = {}
        for split, rows in loaded.items():
            sizes = [row["image"].size if "image" in row else (16, 16) for row in rows]
            assert set(sizes) == {(16, 16)}
            counts[split] = len(sizes)
        found[f"{config} {streaming}"] = counts
print(json.dumps(found))
"""
    + LEAVE
)


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    return Releases(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def older_and_newer(tmp_path_factory):
    """The release of a part of a build, and of the whole: more pictures, in Parquet files of four pictures each."""
    folder = tmp_path_factory.mktemp("grown")
    write_raw(folder / "raw", only=["occlusion"], limit=32)
    later = {path: path.read_bytes() for path in sorted(folder.glob("raw/shards/*/receipt.json"))[1:]}
    for path in later:
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS_A_GROUP", 4)
        patch.setattr(parquet, "FILE_BYTES", 1)
        packing.pack(RawBuild.open(folder / "raw"), folder / "older" / "AGFD-30K")
        for path, receipt in later.items():
            path.write_bytes(receipt)
        packing.pack(RawBuild.open(folder / "raw"), folder / "newer" / "AGFD-30K")
    return folder / "older" / "AGFD-30K", folder / "newer" / "AGFD-30K"


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub") as hub:
        yield hub


class Publisher:
    """Runs the command in this process; what is read back is noted in place of reading it."""

    def __init__(self, hub, capsys, read):
        self.hub, self.capsys, self.read = hub, capsys, read

    def __call__(self, folder, *arguments, status=0, repo=REPO):
        """Run it; returns what it wrote. `requests` are those it made."""
        self.capsys.readouterr()
        since = len(self.hub.requests)
        code = upload.main([str(folder), "--repo-id", repo, "--allow-preview", *arguments])
        written = self.capsys.readouterr()
        self.requests = self.hub.requests[since:]
        assert code == status, written.err
        return written.out + written.err

    @property
    def bytes_put(self):
        return sum(r["received"] for r in self.requests if r["method"] == "PUT" and r["path"].startswith("/lfs"))

    @property
    def commits(self):
        """How many commits it asked for."""
        return sum("/commit/" in r["path"] for r in self.requests)


@pytest.fixture
def publish(hub, tmp_path, monkeypatch, capsys):
    for name, value in hub.environment(tmp_path / "home", "hf_write").items():
        monkeypatch.setenv(name, value)
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    resolve = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + resolve)
    monkeypatch.setattr(repository, "HfApi", partial(huggingface_hub.HfApi, hub.endpoint))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(retry, "TRIES", 3)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    read = []

    def note(repo, revision, expected):
        known = hub.store.repos[repo]
        read.append((revision, known["private"], [ref for ref in known["refs"] if "tags" in ref], expected))

    monkeypatch.setattr(readback, "read_back", note)
    _http.close_session()
    yield Publisher(hub, capsys, read)
    _http.close_session()


def tagged(hub, repo=REPO):
    """Every tag's commit."""
    refs = hub.store.repos[repo]["refs"]
    return {name.removeprefix("refs/tags/"): oid for name, oid in refs.items() if "/tags/" in name}


def of_process(case):
    """Whether a case is about the process itself, or what it starts."""
    return bool(case.stop) or case.loads


@pytest.mark.parametrize("case", [case for case in CASES if not of_process(case)], ids=lambda case: case.fault)
def test_a_fault(case, tmp_path, releases):
    """Nothing torn, lost, doubled or shown, one line for the user, and another run ends well."""
    row = trial(case, tmp_path, releases, upload=upload_here)
    assert row["ok"], upload_faults.table([row])


@pytest.mark.process
@pytest.mark.parametrize("case", [case for case in CASES if of_process(case)], ids=lambda case: case.fault)
def test_a_fault_of_a_process(case, tmp_path, releases):
    """One that is killed, is stopped, or asks another process whether what was sent loads."""
    row = trial(case, tmp_path, releases, [NO_READBACK])
    assert row["ok"], upload_faults.table([row])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A release that is published, tagged and public."""
    folder = tmp_path_factory.mktemp("whole")
    made = make_release(folder, limit=24)
    with Hub(folder / "hub") as hub:
        run = upload_faults.upload(hub, made, "--tag", "v1.0.0", "--public")
        yield hub, made, run


@pytest.mark.process
def test_it_is_there_tagged_and_public(whole):
    hub, folder, run = whole
    assert run.status == 0, run.errors
    assert run.last_line.endswith(f'/datasets/{REPO} (public) holds the release: load_dataset("{REPO}", "occlusion")')
    assert {**hub.files(REPO), ".gitattributes": None} == {**files_of(folder), ".gitattributes": None}
    (commit,) = own_commits(hub, REPO)
    assert (commit["message"], tagged(hub)) == ("Release", {"v1.0.0": commit["id"]})
    assert not hub.store.repos[REPO]["private"] and not run.shows("hf_write")


@pytest.mark.process
@pytest.mark.parametrize("python", [Path(sys.executable), OLD_DATASETS], ids=["datasets", "old-datasets"])
def test_it_loads(whole, tmp_path, python):
    """As anyone would: every config, downloaded and streaming, on both versions of `datasets`."""
    hub, folder, _ = whole
    if not python.exists():
        pytest.skip("make test builds the environment")
    environment = hub.environment(tmp_path / "home")
    environment.pop("PYTHONPATH", None)
    command = [str(python), "-c", LOAD]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    infos = Release(folder, "AGFD-30K").card[0]["dataset_info"]
    counts = {info["config_name"]: {s["name"]: s["num_examples"] for s in info["splits"]} for info in infos}
    assert json.loads(done.stdout) == {f"{config} {how}": counts[config] for config in counts for how in (0 > 1, 1 > 0)}


def test_once_more_sends_nothing(whole):
    hub, folder, _ = whole
    before = hub.commits(REPO)
    run = upload_here(hub, folder, "--tag", "v1.0.0", "--public")
    assert run.status == 0, run.errors
    assert not run.bytes_put and not any("/commit/" in record["path"] for record in run.requests)
    assert hub.commits(REPO) == before and "0 to send, 0 bytes" in run.errors


def test_a_new_release_sends_what_changed_and_takes_away_what_is_gone(publish, hub, older_and_newer):
    """In one commit: the new card is never without its data, the old data never with the new."""
    older, newer = (files_of(folder) for folder in older_and_newer)
    publish(older_and_newer[0])
    publish(older_and_newer[1])
    had = set(older.values())
    changed = {path: content for path, content in newer.items() if content not in had}
    assert any(path.startswith("data/") and path not in changed for path in newer)
    assert {path.split("/")[0] for path in changed} == {"README.md", "assets", "croissant.json", "data", "metadata"}
    texts = {
        newer[name] for name in ("README.md", "croissant.json", "assets/checks.json")
    }  # which travel in the commit itself
    assert publish.bytes_put == sum(map(len, {*changed.values()} - texts))
    commit = own_commits(hub, REPO)[1]
    gone = sorted(older.keys() - newer.keys())
    assert gone and commit["deleted"] == gone and "README.md" in commit["added"] and publish.commits == 1
    assert {**hub.files(REPO), ".gitattributes": None} == {**newer, ".gitattributes": None}
    assert incomplete_cards(hub, REPO, newer) == incomplete_cards(hub, REPO, older) == duplicates(hub, REPO) - 1 == 0


def test_several_commits_bring_the_mark_first_and_the_card_last(publish, hub, releases, monkeypatch):
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 4)
    publish(releases["tiny"], "--tag", "v1")
    made = own_commits(hub, REPO)
    assert [commit["message"] for commit in made] == ["Data, part 1 of 3", "Data, part 2 of 3", "Release"]
    assert "recipe.toml" in made[0]["added"] and "README.md" in made[-1]["added"]
    assert [("README.md" in commit["tree"]) for commit in made] == [False, False, True]
    assert all(len(commit["added"]) <= 4 for commit in made) and tagged(hub) == {"v1": made[-1]["id"]}
    assert incomplete_cards(hub, REPO, files_of(releases["tiny"])) == 0


@pytest.mark.process
def test_a_first_upload_that_was_killed_between_commits_is_ours(publish, hub, releases, monkeypatch):
    folder, patches = releases["tiny"], [NO_READBACK, "changes.FILES_A_COMMIT = 3"]
    fault = hub.fault("POST /commit/", after=1, delay=1, reset=True)

    def stop(hub, process):
        until(lambda: fault.seen > 1)
        process.kill()

    assert upload_faults.upload(hub, folder, patches=patches, stop=stop).status == -signal.SIGKILL
    assert set(hub.files(REPO)) >= {"recipe.toml"} and "README.md" not in hub.files(REPO)
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 3)
    first = hub.files(REPO)
    publish(folder)
    sent = {path: content for path, content in files_of(folder).items() if path not in first}
    assert publish.bytes_put <= sum(map(len, sent.values())) and duplicates(hub, REPO) == 0
    assert {**hub.files(REPO), ".gitattributes": None} == {**files_of(folder), ".gitattributes": None}
    assert own_commits(hub, REPO)[-1]["added"][0] == "README.md"


def test_a_dry_run_asks_nothing_of_the_hub(hub, releases):
    run = upload_here(hub, releases["tiny"], "--dry-run", token=None)
    assert run.status == 0 and hub.requests == []
    files = files_of(releases["tiny"])
    listed = re.findall(r"^ +([\d,]+)  (\S+)$", run.output, re.MULTILINE)
    assert {name: int(size.replace(",", "")) for size, name in listed} == {p: len(c) for p, c in files.items()}
    total = sum(map(len, files.values()))
    told = f"would send to {REPO} at most {len(files)} files, {total:,} bytes, 1 commit; nothing was sent"
    assert run.last_line == told


def test_thorough_decodes_what_the_sample_leaves_out(hub, releases, tmp_path):
    """A bit of the second picture is another one: the sample is spread over the file, and begins with the first."""
    folder = make_release(tmp_path, limit=24)
    path = max(folder.glob("data/*/train-*.parquet"))
    table = pq.read_table(path)
    rows, size = table.to_pylist(), path.stat().st_size
    data = bytearray(rows[1]["image"]["bytes"])
    data[len(data) // 2] ^= 1
    rows[1]["image"]["bytes"] = bytes(data)
    with pq.ParquetWriter(path, table.schema, write_page_index=True) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    card = folder / "README.md"
    for info in Release(folder).card[0]["dataset_info"]:
        told = f"download_size: {info['download_size']}"
        changed = info["download_size"] + (path.stat().st_size - size) * (info["config_name"] != "metadata")
        card.write_text(card.read_text().replace(told, f"download_size: {changed}"))
    sampled = upload_here(hub, folder, "--dry-run")
    assert sampled.status == 0, sampled.errors
    thorough = upload_here(hub, folder, "--dry-run", "--thorough")
    said = f"pictures: {rows[1]['id']}: its picture is not the bytes that the row says"
    assert thorough.status == 2 and said in thorough.errors
    assert thorough.last_line == f"upload: {folder}: a fault, nothing was sent"


def test_a_pull_request_leaves_the_branch_alone(publish, hub, older_and_newer):
    older, newer = older_and_newer
    publish(older)
    before = hub.commits(REPO)
    written = publish(newer, "--create-pr")
    assert hub.commits(REPO) == before
    assert {**hub.files(REPO, "refs/pr/1"), ".gitattributes": None} == {**files_of(newer), ".gitattributes": None}
    told = f'/discussions/1 (private) holds the release: load_dataset("{REPO}", "occlusion", revision="refs/pr/1")'
    assert told in written
    assert publish.read[-1][0] == hub.commits(REPO, "refs/pr/1")[-1]["id"]


def test_several_commits_go_to_one_pull_request(publish, hub, older_and_newer, monkeypatch):
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    older, newer = older_and_newer
    publish(older)
    publish(newer, "--create-pr")
    assert [ref for ref in hub.store.repos[REPO]["refs"] if "/pr/" in ref] == ["refs/pr/1"] and publish.commits > 1
    assert hub.files(REPO, "refs/pr/1")["README.md"] == files_of(newer)["README.md"]


@pytest.mark.parametrize("lost", ["", "POST /commit/", "/merge"])
def test_several_commits_replace_a_release_at_once(publish, hub, older_and_newer, monkeypatch, lost):
    """Whoever looks sees the old release or the new one: no commit of the branch holds a part, nor is made twice."""
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 3)
    older, newer = older_and_newer
    publish(older)
    if lost:
        hub.fault(f"POST {lost}" if lost == "/merge" else lost, lose_answer=True)
    publish(newer, "--tag", "v2")
    first, second = (set(files_of(folder)) for folder in older_and_newer)
    trees = [set(commit["tree"]) - {".gitattributes"} for commit in own_commits(hub, REPO)]
    assert trees[-1] == second and trees[-2] == first and trees.count(second) == 1
    assert {**hub.files(REPO), ".gitattributes": None} == {**files_of(newer), ".gitattributes": None}
    assert tagged(hub) == {"v2": hub.commits(REPO)[-1]["id"]} and publish.read[-1][0] == tagged(hub)["v2"]
    assert [status for _, status in pull_requests(hub)] == ["merged"]


def pull_requests(hub):
    """The titles and states of the pull requests."""
    return [(asked["title"], asked["status"]) for asked in hub.store.repos[REPO].get("requests", [])]


@pytest.mark.parametrize("fault", [{"lose_answer": True}, {"status": 429}, {"reset": True}])
def test_a_pull_request_whose_answer_is_lost_is_not_made_twice(publish, hub, older_and_newer, fault):
    """Where it is not to be found it may still come: the user is asked to look."""
    older, newer = older_and_newer
    publish(older)
    hub.fault("POST /commit/", **fault)
    if "reset" in fault:
        written = publish(newer, "--create-pr", status=2).strip().splitlines()[-1]
        assert f"/datasets/{REPO}/discussions, before you run it again" in written and publish.commits == 1
    written = publish(newer, "--create-pr")
    assert pull_requests(hub) == [("Release", "open")] and duplicates(hub, REPO) == 0
    how = "going on in" if "lose_answer" in fault else "opened"
    assert f"{how} {hub.endpoint}/datasets/{REPO}/discussions/1" in written


def test_a_pull_request_that_is_open_is_gone_on_with(publish, hub, older_and_newer, monkeypatch):
    """Whether it was finished or not; until the branch has gone on, or somebody has a commit of their own in it."""
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    older, newer = older_and_newer
    publish(older)
    hub.fault("POST /commit/", after=1, status=400)
    assert "opened" in publish(newer, "--create-pr", status=2)
    begun = hub.files(REPO, "refs/pr/1")
    for commits in (len(files_of(newer).keys() - begun.keys()) > 0, 0):
        written = publish(newer, "--create-pr")
        assert f"going on in {hub.endpoint}/datasets/{REPO}/discussions/1" in written and publish.commits == commits
        assert "/discussions/1 (private) holds the release" in written
        assert {**hub.files(REPO, "refs/pr/1"), ".gitattributes": None} == {**files_of(newer), ".gitattributes": None}
    assert pull_requests(hub) == [("Data, part 1 of 2", "open")]

    for number, revision in ((1, "refs/pr/1"), (2, "main")):
        hub.commit(REPO, {"notes.txt": b"mine"}, revision=revision)
        left = f"{hub.endpoint}/datasets/{REPO}/discussions/{number} is still open; close it unless it is wanted"
        assert left in publish(newer, "--create-pr") and len(pull_requests(hub)) == number + 1


def test_a_replacement_that_was_stopped_goes_on_in_its_pull_request(publish, hub, older_and_newer, monkeypatch):
    """And not in one to another branch, of another name, or of another user."""
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 3)
    older, newer = older_and_newer
    publish(older)
    publish(older, "--revision", "next")
    publish(newer, "--revision", "next", "--create-pr")
    for title, user in (("Mend a word", "user"), ("Release", "other")):
        hub.store.commit(REPO, "main", [], title, "", user, create_pr=True)
    hub.fault("POST /commit/", after=3, status=400)
    address = f"{hub.endpoint}/datasets/{REPO}/discussions/4, to be merged when all is there"
    assert f"opened {address}" in publish(newer, status=2) and publish.commits == 4
    written = publish(newer, "--tag", "v2")
    assert f"going on in {address}" in written and "discussions/2" not in written and "discussions/3" not in written
    assert [status for _, status in pull_requests(hub)] == ["open", "open", "open", "merged"]
    assert {**hub.files(REPO), ".gitattributes": None} == {**files_of(newer), ".gitattributes": None}
    assert tagged(hub) == {"v2": hub.commits(REPO)[-1]["id"]}


@pytest.mark.parametrize("other", [("--tag", "v1"), ("--public",)])
def test_a_pull_request_is_neither_tagged_nor_published(publish, hub, releases, other):
    written = publish(releases["tiny"], "--create-pr", *other, status=2)
    assert "--create-pr goes with neither --tag nor --public" in written and hub.requests == []


def test_a_branch_of_its_own(publish, hub, older_and_newer):
    older, newer = older_and_newer
    publish(older)
    before = hub.commits(REPO)
    written = publish(newer, "--revision", "next", "--tag", "v2")
    assert f'(private) holds the release: load_dataset("{REPO}", "occlusion", revision="next")' in written
    assert hub.commits(REPO) == before and hub.commits(REPO, "next")[-2]["id"] == before[-1]["id"]
    assert tagged(hub) == {"v2": hub.commits(REPO, "next")[-1]["id"]}
    assert {**hub.files(REPO, "next"), ".gitattributes": None} == {**files_of(newer), ".gitattributes": None}


def test_a_pull_request_to_a_branch(publish, hub, older_and_newer):
    """Which the Hub knows, and the client too: the branch is left alone as well as main."""
    older, newer = older_and_newer
    publish(older)
    publish(newer, "--revision", "next", "--create-pr")
    assert hub.commits(REPO, "next") == hub.commits(REPO)
    (asked,) = hub.asked("POST /commit/next?create_pr=1")
    assert asked["status"] == 200
    assert {**hub.files(REPO, "refs/pr/1"), ".gitattributes": None} == {**files_of(newer), ".gitattributes": None}


def test_verify_only(publish, hub, releases):
    """It sends nothing, and tells what differs."""
    written = publish(releases["tiny"], "--verify-only", status=2)
    assert f"upload: {REPO}: there is no such dataset or branch that user may see" in written
    publish(releases["tiny"])
    publish(releases["tiny"], "--verify-only", "--tag", "v1")
    assert publish.commits == publish.bytes_put == 0 and len(publish.read) == 2 and "v1" in tagged(hub)

    hub.commit(REPO, {"data/occlusion/train-00000-of-00001.parquet": b"torn"})
    name = "data/occlusion/train-00000-of-00001.parquet"
    written = publish(releases["tiny"], "--verify-only", status=2)
    assert f"upload: {REPO}: {name} is not what is here (one file differs)" in written
    assert publish.commits == publish.bytes_put == 0 and len(publish.read) == 2


@pytest.mark.parametrize("moved", [False, True], ids=["at the head", "at an older commit"])
def test_a_tag_that_is_taken_is_refused_before_anything_is_sent(publish, hub, older_and_newer, moved):
    older, newer = older_and_newer
    publish(older, "--tag", "v1")
    if moved:
        hub.commit(REPO, {"notes.txt": b""})
    before, tags = hub.commits(REPO), tagged(hub)
    written = publish(newer, "--tag", "v1", status=2)
    assert f"upload: {REPO}: the tag v1 stands for another commit already; choose a new one" in written
    assert publish.commits == publish.bytes_put == 0
    assert (hub.commits(REPO), tagged(hub)) == (before, tags)
    publish(newer, "--tag", "v2")
    assert tagged(hub).keys() == {"v1", "v2"}


def test_it_is_private_and_untagged_until_it_was_loaded_back(publish, hub, releases):
    publish(releases["tiny"], "--tag", "v1", "--public")
    head = hub.commits(REPO)[-1]["id"]
    assert publish.read == [(head, True, [], {name: {"train": 1} for name in ("occlusion", "metadata")})]
    assert tagged(hub) == {"v1": head} and not hub.store.repos[REPO]["private"]


def test_without_public_it_stays_as_it_is(publish, hub, older_and_newer):
    """A new dataset is private; one that is public stays so."""
    older, newer = older_and_newer
    assert "(private) holds the release" in publish(older)
    assert hub.store.repos[REPO]["private"] and tagged(hub) == {}
    hub.store.repos[REPO]["private"] = False
    assert "(public) holds the release" in publish(newer)


def test_force_replaces_the_release_and_nothing_else(publish, hub, releases):
    hub.store.create(REPO, False, "user")
    hub.commit(REPO, {"README.md": b"# Mine", "mine.csv": b"1,2"})
    publish(releases["tiny"], "--force")
    assert hub.files(REPO)["mine.csv"] == b"1,2"
    assert hub.files(REPO)["README.md"] == files_of(releases["tiny"])["README.md"]


def test_a_card_that_was_edited_there_is_not_overwritten_unasked(publish, hub, older_and_newer, tmp_path):
    """Unless it is edited here in the same way, or a new release brings its own card."""
    older = shutil.copytree(older_and_newer[0], tmp_path / "older" / "AGFD-30K")
    publish(older)
    edited = files_of(older)["README.md"] + b"\nBy me.\n"
    hub.commit(REPO, {"README.md": edited})
    (last,) = publish(older, status=2).strip().splitlines()[-1:]
    assert last.startswith(f"upload: {REPO}: the card there has another text, of the same release: bring what was ")
    assert last.endswith("or replace it with --force") and publish.commits == publish.bytes_put == 0
    (older / "README.md").write_bytes(edited)
    publish(older)
    assert publish.commits == 0 and hub.files(REPO)["README.md"] == edited

    (older / "README.md").write_bytes(files_of(older_and_newer[0])["README.md"])
    publish(older, "--force")
    assert hub.files(REPO)["README.md"] == files_of(older)["README.md"]
    hub.commit(REPO, {"README.md": edited})
    publish(older_and_newer[1])
    assert hub.files(REPO)["README.md"] == files_of(older_and_newer[1])["README.md"]


STRANGERS = {
    "AGFD-30K.py": "makes loading fail, because `datasets` takes it for a loading script",
    ".huggingface.yaml": "overrides the card",
    "data/occlusion/train-mine.parquet": "would be loaded as a part of the release",
    "metadata/train-mine.parquet": "would be loaded as a part of the release",
}


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("name", STRANGERS)
def test_what_would_keep_it_from_loading_is_refused_before_anything_is_sent(publish, hub, releases, name, force):
    """With --force and, in a repository that is ours, without."""
    if force:
        hub.store.create(REPO, False, "user")
    else:
        publish(releases["tiny"])
    lying = {name: b"theirs", "mine/AGFD-30K.py": b"", "mine/metadata/train-mine.parquet": b""}
    hub.commit(REPO, {"README.md": b"# Mine", **lying} if force else lying)
    before, arguments = hub.commits(REPO), ["--force"] * force
    said = f"upload: {REPO}: {name}, which lies there, {STRANGERS[name]}; delete it there, or choose another name"
    assert publish(releases["tiny"], *arguments, status=2).strip().splitlines()[-1] == said
    assert publish.bytes_put == 0 and hub.commits(REPO) == before

    hub.commit(REPO, delete=[name])
    publish(releases["tiny"], *arguments)
    assert hub.files(REPO).items() >= {**files_of(releases["tiny"]), "mine/AGFD-30K.py": b""}.items()


CHANGES = {
    "written": lambda path: path.write_bytes(path.read_bytes()),
    "replaced": lambda path: (
        path.with_name("new").write_bytes(path.read_bytes()) and path.with_name("new").replace(path)
    ),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("when", ["GET /whoami", "POST objects/batch", "GET /tree/main", "POST /commit/"])
def test_a_release_that_changes_meanwhile_is_no_mixture(publish, hub, releases, tmp_path, when, change):
    """Nothing is committed after the change; and where the commit is under way, it is not said to be the release."""
    folder = shutil.copytree(releases["tiny"], tmp_path / "AGFD-30K")
    path = next(folder.glob("data/*/*.parquet"))
    publish(folder, "--dry-run")
    hub.fault(when, before=lambda: CHANGES[change](path))
    written = publish(folder, status=2).strip().splitlines()[-1]
    assert written == f"upload: {path}: was changed while it was checked or sent; run it again"
    assert publish.commits == (when == "POST /commit/") and publish.read == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_release_that_changes_between_check_and_sending(publish, hub, releases, tmp_path, monkeypatch, change):
    folder = shutil.copytree(releases["tiny"], tmp_path / "AGFD-30K")
    check = lint.check

    def disturbed(release, *arguments):
        yield from check(release, *arguments)
        CHANGES[change](folder / "README.md")

    monkeypatch.setattr(lint, "check", disturbed)
    written = publish(folder, status=2).strip().splitlines()[-1]
    assert written == f"upload: {folder / 'README.md'}: was changed while it was checked or sent; run it again"
    assert publish.requests == []


def test_what_was_put_together_is_not_shown_when_the_release_has_changed(publish, hub, older_and_newer, monkeypatch):
    """Between the last commit to the pull request and its merge."""
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 3)
    older, newer = older_and_newer
    publish(older)
    before, require, path = hub.commits(REPO), changes.Snapshot.require_same, newer / "recipe.toml"

    def disturbed(state):
        if any(commit["message"] == "Release" for commit in hub.store.commits.values() if commit not in before):
            path.write_bytes(path.read_bytes())
        require(state)

    monkeypatch.setattr(changes.Snapshot, "require_same", disturbed)
    assert f"{path}: was changed while it was checked or sent" in publish(newer, status=2)
    assert hub.commits(REPO) == before


def test_an_answer_of_the_tag_or_the_publication_is_lost(publish, hub, releases):
    lost = [hub.fault(match, lose_answer=True) for match in ("POST /tag/", "PUT /settings", "POST /repos/create")]
    publish(releases["tiny"], "--tag", "v1", "--public")
    assert [fault.hits for fault in lost] == [1, 1, 1]
    assert tagged(hub) == {"v1": hub.commits(REPO)[-1]["id"]} and not hub.store.repos[REPO]["private"]


def test_preview_pictures_and_gaps_are_not_sent_unasked(publish, hub, releases, capsys):
    assert upload.main([str(releases["tiny"]), "--repo-id", REPO]) == 2
    written = capsys.readouterr().err
    assert "--allow-preview" in written and "--allow-incomplete" in written and "nothing was sent" in written
    assert upload.main([str(releases["tiny"].parent / "nowhere"), "--repo-id", REPO]) == 2
    assert "there is no such folder; make it with builder/generate.py" in capsys.readouterr().err
    assert hub.requests == []


def test_a_raw_build_is_told_what_to_do_first(publish, hub, tmp_path, capsys):
    write_raw(tmp_path / "raw", only=["base"], scale=0.01)
    assert upload.main([str(tmp_path / "raw"), "--repo-id", REPO]) == 2
    said = capsys.readouterr().err
    assert f"run `agfd30k release --raw {tmp_path / 'raw'}` first" in said and said.count("\n") == 1
    assert hub.requests == []


def test_a_full_disk_is_one_line(publish, releases, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/cache")

    monkeypatch.setattr(readback, "read_back", full)
    (last,) = publish(releases["tiny"], status=2).strip().splitlines()[-1:]
    assert last == f"upload: {REPO}: OSError: [Errno 28] No space left on device: '/cache'"


@pytest.mark.parametrize("arguments", [(), ("--verify-only",)])
def test_no_room_to_load_it_back_is_told_before_anything_is_sent(publish, releases, monkeypatch, tmp_path, arguments):
    """It is downloaded, and its largest config is unpacked beside that."""
    folder = releases["tiny"]
    publish(folder)
    unpacked = max(info["dataset_size"] for info in Release(folder).card[0]["dataset_info"])
    needed = unpacked + sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    free = needed - 1
    monkeypatch.setattr(readback.tempfile, "gettempdir", lambda: "/scratch")

    def room(path):
        return SimpleNamespace(free=free if path == "/scratch" else 2**40)

    monkeypatch.setattr(readback.shutil, "disk_usage", room)
    written = publish(folder, *arguments, status=2).strip().splitlines()[-1]
    assert written.startswith("upload: /scratch: 0.00 GB are free, and 0.00 GB are needed to load the dataset back; ")
    assert written.endswith("or let TMPDIR name a folder that has it") and publish.requests == []
    publish(folder, "--dry-run")
    free = needed
    publish(folder, *arguments)


@pytest.mark.process
def test_what_loading_back_takes(releases, tmp_path, hub, monkeypatch):
    """No more than it is said to."""
    folder, most = releases["several"], 0
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()

    def watch(hub, process):
        nonlocal most
        while process.poll() is None:
            most = max(most, held(tmp_path / "scratch"))
            time.sleep(0.01)

    assert upload_faults.upload(hub, folder, stop=watch).status == 0
    unpacked = max(info["dataset_size"] for info in Release(folder).card[0]["dataset_info"])
    downloaded = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    assert downloaded < most < 1.05 * (downloaded + unpacked)


def held(folder):
    """How many bytes lie in a folder that others are busy in."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


@pytest.mark.parametrize("name", ["AGFD-30K", "a/b/c", "you/", "/x", "you/a b", "you/a--b", "you/a.git"])
def test_a_name_that_is_none(capsys, name):
    assert upload.main(["folder", "--repo-id", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("upload: --repo-id: must be owner/name") and said.count("\n") == 1


def test_an_address_is_told_without_what_lets_one_send_to_it(publish, hub, releases, monkeypatch):
    """An error of the storage names the address, which is signed on the Hub."""
    monkeypatch.setattr(_http, "time", type("Time", (), {"sleep": staticmethod(lambda seconds: None)}))
    hub.part_size = 5000
    hub.fault("PUT /lfs", status=503, times=math.inf)
    (last,) = publish(releases["tiny"], status=2).strip().splitlines()[-1:]
    assert "the Hub answers 503" in last and "uploadId" not in last and last.endswith("run it again to go on")


@pytest.mark.parametrize("number", [401, 403, 404])
def test_what_is_refused_over_xet_is_not_tried_again(publish, hub, releases, monkeypatch, number):
    """`hf_xet` itself, which says ConnectionError: told as the Hub's answer, not as a lost connection."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    hub.fault("GET /xet-write-token/", status=number, times=math.inf)
    written = publish(releases["tiny"], status=2)
    assert re.search(f"^upload: {REPO}: the Hub answers {number}: .*HTTP status client error", written.splitlines()[-1])
    assert "run it again" not in written and "trying again" not in written and publish.commits == 0
    assert len(hub.asked("GET /xet-write-token/")) == 1


@pytest.mark.parametrize(
    ("said", "number", "passing"),
    [
        ("HTTP status client error (408 Request Timeout), domain: http://x/y", 408, True),
        ("HTTP status client error (429 Too Many Requests), domain: http://x/y", 429, True),
        ("HTTP status server error (503 Service Unavailable), domain: http://x/y", 503, True),
        ("HTTP status client error (413 Payload Too Large), domain: http://x/y", 413, False),
        ("error sending request for url (http://x/y)", None, True),
    ],
)
def test_what_passes_over_xet(said, number, passing):
    error = ConnectionError(f"Network error: Request error: {said}")
    assert (retry.status(error), retry.is_passing(error)) == (number, passing)


def test_a_token_that_the_hub_repeats_is_not_shown(publish, hub, releases):
    hub.fault("GET /api/whoami", status=400, message="what is hf_write?")
    assert "the Hub answers 400: what is ***?" in publish(releases["tiny"], status=2)


def test_offline(publish, hub, releases, monkeypatch):
    """It says what to unset, and does not wait for a network that it was told to do without."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "offline: unset HF_HUB_OFFLINE" in publish(releases["tiny"], status=2) and hub.requests == []
    publish(releases["tiny"], "--dry-run")


@pytest.mark.process
def test_the_reason_why_it_does_not_load_is_told(publish, hub, releases, monkeypatch):
    """`datasets` says of a damaged file no more than that there was an error."""
    publish(releases["tiny"])
    monkeypatch.undo()

    def spoil(answer):
        return Answer(answer.status, b"x" * len(answer), answer.headers)

    hub.fault("GET /lfs", change=spoil, times=math.inf)
    run = upload_faults.upload(hub, releases["tiny"], "--verify-only")
    assert run.status == 2 and "does not load: occlusion: ArrowInvalid: " in run.last_line


def test_what_a_kill_may_cost_is_bounded(releases):
    assert allowed_again(releases["several"]) < sum(map(len, files_of(releases["several"]).values()))
