"""Rows that are appended to a published dataset: new files beside the old ones, seen in one commit, counted anew."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.annotation.annotate import annotate
from builder.checks.suite import Outcome
from builder.dataset import appended as appended_module
from builder.dataset import packing
from builder.dataset.appending import Comparison
from builder.dataset.build_info import BuildInfo
from builder.dataset.folder import DATA, FIRST, Release, batch_of
from builder.dataset.statistics import ChecksReport, FeatureCounts
from builder.hub import changes
from builder.hub.appender import Appender
from builder.linting import lint
from builder.models.identity import CheckVersion
from builder.raw.build import RawBuild
from tests.experiments.upload_faults import NO_READBACK, REPO, files_of, own_commits, upload
from tests.fixtures import builds, faces
from tests.fixtures.annotators import Brightness
from tests.fixtures.hub import Hub, until
from tests.fixtures.hub.store import Store
from tests.fixtures.scripts import LEAVE
from tests.fixtures.uploads import upload_here

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own
OLD_DATASETS = Path(__file__).parents[2] / ".venv-datasets3" / "bin" / "python"
NAME = "AGFD-30K"
APPEND = ("--append", "--allow-incomplete")
NO_LOOK_BACK = "readback.look_back = lambda *_, **__: None"
CHECKS = (CheckVersion("duplicates", 1),)
LOAD = (
    """
import json, sys
from datasets import load_dataset
found = {}
for config in ("all", "hair", "metadata"):
    loaded = load_dataset("user/AGFD-30K", config)
    found[config] = {split: list(rows["id"]) for split, rows in loaded.items()}
    for split, rows in loaded.items():
        assert config == "metadata" or rows[len(rows) - 1]["image"].size == (96, 96)
        streamed = load_dataset("user/AGFD-30K", config, split=split, streaming=True)
        assert [row["id"] for row in streamed] == found[config][split]
print(json.dumps(found))
"""
    + LEAVE
)
LOAD_BY_SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[2])
import agfd30k
found = {}
for config in ("all", "hair", "metadata"):
    loaded = agfd30k.load_dataset(config, data_dir=sys.argv[1])
    found[config] = {split: list(rows["id"]) for split, rows in loaded.items()}
print(json.dumps(found))
"""
COUNT = """
from datasets import load_dataset
print(len(load_dataset("user/AGFD-30K", "all", split="train")))
"""
READ_SLOWLY = """
import json, sys
from datasets import load_dataset
rows = iter(load_dataset("user/AGFD-30K", "all", split="train", streaming=True))
ids = [next(rows)["id"]]
print("begun", flush=True)
sys.stdin.readline()
ids += [row["id"] for row in rows]
print(json.dumps(ids))
"""


def pack(folder, raw="raw", side=96, **choice):
    """Make what is asked for of a raw build, or what it lacks of that, and the release of all that is there."""
    with mock.patch.object(builds, "picture_of", partial(builds.picture_of, side=side)):
        builds.write_raw(folder / raw, checks=CHECKS, **choice)
    return RawBuild.open(folder / raw)


def release_of(raw, folder):
    packing.pack(raw, folder / NAME)
    return folder / NAME


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The releases of one raw build, before and after more of its quotas were made."""
    folder = tmp_path_factory.mktemp("grown")
    older = release_of(pack(folder, scale=0.01), folder / "older")
    return older, release_of(pack(folder, scale=0.02), folder / "newer")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Releases of two raw builds that have no feature in common, and that of a third one, which has them all."""
    folder = tmp_path_factory.mktemp("parts")
    wants = {"one": ["hair/red", "occlusion"], "other": ["hair/blond", "pose"]}
    wants["both"] = [*wants["one"], *wants["other"]]
    return {
        n: release_of(pack(folder, n, side=16, scale=0.02, only=only), folder / f"of {n}") for n, only in wants.items()
    }


@pytest.fixture(scope="module")
def appended(tmp_path_factory, grown):
    """A dataset to which rows were appended, as a user does it; the Hub, the run, and what was there before."""
    folder = tmp_path_factory.mktemp("appended")
    with Hub(folder / "hub") as hub:
        upload_here(hub, grown[0], "--allow-incomplete")
        before = hub.store.resolve(REPO, "main")["tree"]
        yield hub, upload(hub, grown[1], *APPEND, "--tag", "v2"), before


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub") as hub:
        yield hub


def published(hub, release, *arguments):
    """Publish a release first. What the Hub has then is kept beside the release, for the next new Hub."""
    kept = release.with_name("hub")
    if arguments or not kept.exists():
        run = upload_here(hub, release, "--allow-incomplete", *arguments)
        assert run.status == 0, run.errors
        if not arguments:
            shutil.copytree(hub.store.folder, kept, ignore=shutil.ignore_patterns(hub.log.name))
    else:
        shutil.copytree(kept, hub.store.folder, dirs_exist_ok=True)
        hub.store = Store(hub.store.folder)
    return hub.store.resolve(REPO, "main")["tree"]


def downloaded(hub, folder):
    """What a user has who downloads everything."""
    for name, data in hub.files(REPO).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def ids_of(folder, config):
    """The ids of a config, split by split, as its globs give them."""
    release = Release(folder)
    return {
        split: [id for path in release.matching(globs) for id in pq.read_table(path, columns=["id"])["id"].to_pylist()]
        for split, globs in release.configs()[config].items()
    }


def body(folder):
    """The text of a card, but for what says which rows it was built from, and in which order they lie."""
    text = Release(folder).card[1]
    text = re.sub(r"so the Hub counts every picture more than once\.(.*\n)+?(?=\n)", "", text)
    return [line for line in text.splitlines() if not BuildInfo.parse(line)]


def faults(folder):
    return [str(fault) for fault in lint.check(Release(folder, NAME), True, True, True)]


@pytest.mark.process
def test_only_new_rows_are_sent_and_no_picture_is_downloaded(appended):
    """At most a tenth more than the new files, everything counted that a client puts into a request."""
    hub, run, before = appended
    assert run.status == 0, run.errors
    tree = hub.store.resolve(REPO, "main")["tree"]
    new = {name: entry["size"] for name, entry in tree.items() if name.endswith(".parquet") and name not in before}
    assert len(new) > 20 and all(batch_of(name) == 1 for name in new)
    sent = sum(record["received"] for record in run.requests)
    assert sum(new.values()) < sent <= 1.1 * sum(new.values())
    pictures = {entry["lfs"] for name, entry in before.items() if name.startswith(("data/", "first_page/"))}
    assert len(pictures) > 30 and not [r for r in run.requests if r["path"].rpartition("/")[2] in pictures]


@pytest.mark.process
def test_it_is_one_commit_that_changes_no_data_file(appended):
    hub, _, before = appended
    first, last = own_commits(hub, REPO)
    assert last["deleted"] == [] and "README.md" in last["added"]
    tree = hub.store.resolve(REPO, "main")["tree"]
    replaced = {name for name in before if tree[name] != before[name]}
    charts = {"assets/counts.png", "assets/balance.png"}
    assert replaced == {"README.md", "croissant.json", "assets/checks.json", *charts}
    assert hub.store.repos[REPO]["refs"]["refs/tags/v2"] == last["id"] != first["id"]


@pytest.mark.process
def test_what_is_there_is_a_whole_release(appended, grown, tmp_path):
    """Every row once, the old ones where they were, counted as in a release of all; lint finds nothing."""
    hub, run, _ = appended
    folder = downloaded(hub, tmp_path / NAME)
    assert faults(folder) == []
    for config in ("all", "metadata", "hair"):
        old, now, whole = (ids_of(some, config) for some in (grown[0], folder, grown[1]))
        for split, ids in now.items():
            assert ids[: len(old[split])] == old[split] and len(set(ids)) == len(ids)
            assert sorted(ids) == sorted(whole[split])
    assert ids_of(folder, "all") == ids_of(folder, "metadata")
    assert body(folder) == body(grown[1])
    assert ChecksReport.read(folder) == ChecksReport.read(grown[1])
    infos = {info["config_name"]: info["splits"] for info in Release(folder).card[0]["dataset_info"]}
    assert {s["name"]: s["num_examples"] for s in infos["all"]} == {s: len(i) for s, i in ids_of(folder, "all").items()}
    assert f"  all: train {len(ids_of(folder, 'all')['train']):,}" in run.output


@pytest.mark.process
@pytest.mark.parametrize("python", [Path(sys.executable), OLD_DATASETS], ids=["datasets", "old-datasets"])
def test_every_version_reads_it(appended, tmp_path, python):
    """`datasets` from the Hub, downloaded and streamed, and the project's own loader from a folder."""
    if not python.exists():
        pytest.skip("make test builds the environment")
    hub, _, _ = appended
    hub.store.repos[REPO]["private"] = False
    folder, environment = downloaded(hub, tmp_path / NAME), hub.environment(tmp_path / "home")
    environment.pop("PYTHONPATH", None)
    for code, arguments in ((LOAD, ()), (LOAD_BY_SCRIPT, (str(folder), str(Path(__file__).parents[2])))):
        command = [str(python), "-c", code, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {config: ids_of(folder, config) for config in ("all", "hair", "metadata")}


@pytest.mark.process
def test_a_reader_that_began_before_reads_on(hub, grown, tmp_path):
    published(hub, grown[0])
    command = [sys.executable, "-c", READ_SLOWLY]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = hub.environment(tmp_path / "reader", "hf_write")
    with subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **pipes) as reader:
        assert reader.stdout.readline() == "begun\n"
        assert upload_here(hub, grown[1], *APPEND).status == 0
        output, errors = reader.communicate("go on\n")
    assert reader.returncode == 0, errors
    assert json.loads(output) == ids_of(grown[0], "all")["train"]


@pytest.mark.process
def test_who_has_the_old_files_downloads_the_new_ones_alone(hub, grown, tmp_path):
    """The client keeps files by what they hold, and none that was there is another one."""
    before = published(hub, grown[0])
    environment = hub.environment(tmp_path / "reader", "hf_write")
    counts = []
    for append in (True, False):
        since = len(hub.requests)
        command = [sys.executable, "-c", COUNT]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        counts.append(int(done.stdout))
        if append:
            assert upload_here(hub, grown[1], *APPEND).status == 0
    assert counts == [len(ids_of(folder, "all")["train"]) for folder in grown]
    got = {record["path"].rpartition("/")[2] for record in hub.asked("GET /lfs/", since)}
    assert got and not got & {entry["lfs"] for entry in before.values()}


@pytest.mark.process
def test_killed_before_its_commit_it_leaves_all_as_it_was_and_goes_on(hub, grown):
    before = published(hub, grown[0])
    fault = hub.fault("POST /commit/", delay=1, reset=True)

    def stop(hub, process):
        until(lambda: fault.seen)
        process.kill()

    run = upload(hub, grown[1], *APPEND, stop=stop, patches=[NO_READBACK, NO_LOOK_BACK])
    assert run.status == -signal.SIGKILL
    assert hub.store.resolve(REPO, "main")["tree"] == before and len(own_commits(hub, REPO)) == 1
    again = upload_here(hub, grown[1], *APPEND)
    assert again.status == 0 and not again.bytes_put, again.errors
    assert own_commits(hub, REPO)[1]["deleted"] == [] and not list(grown[1].parent.glob(".*"))


def test_once_more_there_is_nothing_to_append(hub, parts):
    published(hub, parts["one"])
    assert upload_here(hub, parts["other"], *APPEND).status == 0
    there = hub.commits(REPO)
    run = upload_here(hub, parts["other"], *APPEND, "--tag", "v2")
    assert run.status == 0 and "nothing to append: every row is there" in run.errors, run.errors
    assert hub.commits(REPO) == there and not run.bytes_put
    assert hub.store.repos[REPO]["refs"]["refs/tags/v2"] == there[-1]["id"]
    assert upload_here(hub, parts["one"], *APPEND, "--verify-only").status == 0


def test_new_features_of_another_build(hub, parts, tmp_path):
    """It has none of what is there; the card counts both, and the contact sheet shows both."""
    before = published(hub, parts["one"])
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 0, run.errors
    folder = downloaded(hub, tmp_path / NAME)
    assert faults(folder) == []
    assert body(folder) == body(parts["both"])
    for config in ("all", "hair", "pose", "occlusion", "metadata"):
        now, whole = ids_of(folder, config), ids_of(parts["both"], config)
        assert {split: sorted(ids) for split, ids in now.items()} == {
            split: sorted(ids) for split, ids in whole.items()
        }
    assert ids_of(folder, "all") == ids_of(folder, "metadata")
    sheets = [folder / "assets" / "all.webp", *(parts[n] / "assets" / "all.webp" for n in ("one", "other"))]
    heights = [builds.Image.open(path).height for path in sheets]
    assert heights[0] == heights[1] + heights[2]
    assert (folder / "assets/pose.webp").exists()
    assert {name for name in before if name not in hub.files(REPO)} == set()


def test_what_was_seen_and_aligned_faces_grow_too(hub, tmp_path):
    """Every config has its new rows, in the order of the labels."""
    for name, scale in (("older", 0.01), ("newer", 0.02)):
        packing.pack(faces.write_raw(tmp_path / "raw", scale=scale), tmp_path / name / NAME, aligned=48)
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "larger" / NAME, aligned=64)
    before = published(hub, tmp_path / "older" / NAME)
    line = refused(hub, tmp_path / "larger" / NAME)
    assert line.endswith(
        f"its aligned faces are of 64×64 pixels, those of {REPO} of 48×48; make the release anew with --aligned 48"
    )
    run = upload_here(hub, tmp_path / "newer" / NAME, *APPEND)
    assert run.status == 0, run.errors
    folder = downloaded(hub, tmp_path / NAME)
    aligned = {entry["lfs"] for name, entry in before.items() if name.startswith("aligned/")}
    assert len(aligned) > 1 == len(aligned & {record["path"].rpartition("/")[2] for record in run.requests})
    assert faults(folder) == []
    for config in ("annotations", "aligned"):
        now, whole = ids_of(folder, config), ids_of(tmp_path / "newer" / NAME, config)
        assert {split: sorted(ids) for split, ids in now.items()} == {
            split: sorted(ids) for split, ids in whole.items()
        }
    assert ids_of(folder, "annotations") == ids_of(folder, "metadata")
    assert body(folder) == body(tmp_path / "newer" / NAME)


def test_a_build_of_one_attribute_that_others_come_to(hub, tmp_path):
    """`all` comes to be with the second attribute, and has what was appended before; every batch has its number.

    Nobody is told that somebody has edited the card of the second one.
    """
    choices = [{"only": ["hair"], "limit": 40}, {"only": ["hair"], "limit": 80}, {"only": ["emotion"], "limit": 30}]
    for number, choice in enumerate(choices):
        release = release_of(
            pack(tmp_path, "other" if number == 2 else "raw", side=16, **choice), tmp_path / str(number)
        )
        run = upload_here(hub, release, "--allow-incomplete", *(["--append"] if number else []))
        assert run.status == 0, run.errors
        folder = downloaded(hub, tmp_path / f"back {number}" / NAME)
        assert faults(folder) == []
        assert ids_of(folder, Release(folder).default_config) == ids_of(folder, "metadata")
        assert Release(folder).default_config == ("all" if number == 2 else "hair")
    assert {batch_of(name) for name in Release(folder).parquet} == {0, 1, 2}
    assert sum(map(len, ids_of(folder, "all").values())) == 110


def test_several_commits_are_merged_as_a_whole(hub, parts, monkeypatch):
    before = published(hub, parts["one"])
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 0, run.errors
    history = hub.commits(REPO)
    assert [commit["message"] for commit in history[-2:]] == ["Release", "Merge pull request 1"]
    assert history[-1]["deleted"] == [] and set(before) < set(history[-1]["tree"])


def test_what_several_commits_have_begun_is_gone_on_with(hub, parts, monkeypatch):
    """In the pull request that was left open; nothing of it was to be seen."""
    before = published(hub, parts["one"])
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    fault = hub.fault("POST /commit/", after=1, status=500, times=9)
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 2 and run.last_line.endswith("run it again to go on")
    assert hub.store.resolve(REPO, "main")["tree"] == before
    fault.times = 0
    again = upload_here(hub, parts["other"], *APPEND)
    assert again.status == 0 and "going on in" in again.errors and not again.bytes_put, again.errors
    assert set(before) < set(hub.store.resolve(REPO, "main")["tree"])
    assert len(hub.store.repos[REPO]["requests"]) == 1


def left_open(hub, monkeypatch, release, *arguments):
    """Begin an upload of several commits that ends after the first one, in a pull request that is left open."""
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    fault = hub.fault("POST /commit/", after=1, status=500, times=9)
    assert upload_here(hub, release, "--allow-incomplete", *arguments).status == 2
    fault.times = 0


@pytest.mark.parametrize("arguments", [("--append",), ()], ids=["append", "replacement"])
def test_what_another_upload_has_begun_is_not_merged(hub, parts, tmp_path, monkeypatch, arguments):
    """Its rows would be there twice, or its files in the place of those that were published."""
    before = published(hub, parts["one"])
    raw = pack(tmp_path, side=16, scale=0.02, only=["hair/red", "emotion", "occlusion"])
    left_open(hub, monkeypatch, release_of(raw, tmp_path / "begun"), *arguments)
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 2 and not run.bytes_put, run.errors
    assert re.search(r" is not of this upload: close the pull request http\S+/1, and run it again$", run.last_line)
    assert hub.store.resolve(REPO, "main")["tree"] == before


def test_a_pull_request_that_is_changed_at_the_last_moment_is_not_merged(hub, parts, monkeypatch):
    before = published(hub, parts["one"])
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    require = Appender._require_own

    def change(self, local, base, is_whole=False):
        if is_whole:
            hub.commit(REPO, {"data/pose/train-more001-00000-of-00009.parquet": b"more"}, revision=self.branch.revision)
        return require(self, local, base, is_whole)

    monkeypatch.setattr(Appender, "_require_own", change)
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 2 and "of-00009.parquet is not of this upload" in run.last_line, run.errors
    assert hub.store.resolve(REPO, "main")["tree"] == before


def test_a_branch_is_never_appended_to_in_parts(hub, parts, monkeypatch):
    """Where an append is more than a commit it needs a pull request, which only main gets unasked."""
    published(hub, parts["one"], "--revision", "next")
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    there = len(hub.commits(REPO, "next"))
    run = upload_here(hub, parts["other"], *APPEND, "--revision", "next")
    assert run.status == 2 and "of one commit, and would be seen in part" in run.last_line and not run.bytes_put
    assert len(hub.commits(REPO, "next")) == there
    assert upload_here(hub, parts["other"], *APPEND, "--revision", "next", "--create-pr").status == 0


def test_a_batch_that_is_there_in_part_is_not_built_upon(hub, parts):
    """Its rows would be sent again as another batch."""
    published(hub, parts["one"])
    hub.commit(REPO, {"data/hair/train-more001-00000-of-00001.parquet": b"part"})
    assert "of the batch -more001- only a part is there" in refused(hub, parts["other"])


@pytest.mark.process
def test_a_run_that_was_stopped_behind_its_commit_is_looked_at_anew(hub, grown):
    """Footers are held against the card, and a picture of the last batch is read, before it is tagged."""
    published(hub, grown[0])
    assert upload_here(hub, grown[1], *APPEND).status == 0
    good, name = hub.files(REPO), "data/hair/train-00000-of-00001.parquet"
    more = next(path for path in good if path.startswith("data/hair/train-more001-00000-"))
    spoiled = {"rows": (name, _fewer), "picture": (more, _no_picture)}
    for what, (path, spoil) in spoiled.items():
        hub.commit(REPO, {path: spoil(good[path])}, user="user")
        run = upload(hub, grown[1], *APPEND, "--tag", "v2")
        assert run.status == 2 and "what was sent does not load: hair: " in run.last_line, (what, run.errors)
        assert "refs/tags/v2" not in hub.store.repos[REPO]["refs"]
        hub.commit(REPO, {path: good[path]}, user="user")
    run = upload(hub, grown[1], *APPEND, "--tag", "v2")
    assert run.status == 0 and "refs/tags/v2" in hub.store.repos[REPO]["refs"], run.errors


def _fewer(data):
    return _parquet(pq.read_table(io.BytesIO(data))[1:])


def _no_picture(data):
    table = pq.read_table(io.BytesIO(data))
    column = pa.array([{"bytes": b"no picture", "path": "x.png"}] * len(table), table.schema.field("image").type)
    return _parquet(table.set_column(table.column_names.index("image"), table.schema.field("image"), column))


def _parquet(table):
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_a_card_that_lacks_a_config_s_size_is_one_line(hub, parts):
    published(hub, parts["one"])
    text = hub.files(REPO)["README.md"].decode()
    head, _, rest = text.partition("- config_name: metadata\n  splits:")
    assert rest
    hub.commit(REPO, {"README.md": f"{head}- config_name: other\n  splits:{rest}".encode()}, user="user")
    assert "its card does not say how many rows metadata has" in refused(hub, parts["one"])


@pytest.mark.parametrize("lost", ["POST /commit/", "POST /merge"])
def test_an_answer_that_is_lost_is_looked_for(hub, parts, monkeypatch, lost):
    """What has been done is not taken for somebody else's change."""
    published(hub, parts["one"])
    if lost == "POST /merge":
        monkeypatch.setattr(changes, "FILES_A_COMMIT", 10)
    there = len(hub.commits(REPO))
    fault = hub.fault(lost, lose_answer=True)
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 0 and fault.hits == 1, run.errors
    assert sum(bool(commit["added"]) for commit in hub.commits(REPO)[there:]) == 1


def test_what_somebody_else_has_changed_meanwhile_is_not_built_upon(hub, parts):
    published(hub, parts["one"])
    hub.fault("POST /commit/", before=lambda: hub.commit(REPO, {"notes.txt": b"mine"}))
    run = upload_here(hub, parts["other"], *APPEND)
    assert run.status == 2 and run.last_line == f"upload: {REPO}: was changed by somebody else meanwhile; run it again"
    assert "notes.txt" in hub.files(REPO) and not [name for name in hub.files(REPO) if batch_of(name)]
    assert upload_here(hub, parts["other"], *APPEND).status == 0 and "notes.txt" in hub.files(REPO)


def test_a_dry_run_lists_what_would_be_sent_and_sends_nothing(hub, parts):
    published(hub, parts["one"])
    there = hub.commits(REPO)
    run = upload_here(hub, parts["other"], *APPEND, "--dry-run")
    assert run.status == 0 and hub.commits(REPO) == there and not run.bytes_put
    assert "data/hair/train-more001-00000-of-00001.parquet" in run.output and "nothing was sent" in run.last_line


def refused(hub, release, *arguments):
    """The last line of an append that is refused, and sends nothing."""
    there = hub.commits(REPO) if REPO in hub.store.repos else None
    run = upload_here(hub, release, *APPEND, *arguments)
    assert run.status == 2 and not run.bytes_put, run.errors
    assert there is None or hub.commits(REPO) == there
    return run.last_line


def test_without_a_dataset_there_is_nothing_to_append_to(hub, parts):
    assert refused(hub, parts["other"]).endswith("there is no such dataset or branch that user may see")
    hub.store.create(REPO, False, "user")
    assert "holds no release of this tool to append to" in refused(hub, parts["other"])


def test_another_recipe_is_refused(hub, parts, tmp_path):
    published(hub, parts["one"])
    table, spec = builds.own_table(tmp_path)
    builds.write_raw(tmp_path / "raw", spec, table.read_text(), checks=())
    line = refused(hub, release_of(RawBuild.open(tmp_path / "raw"), tmp_path / "other"))
    assert "only rows of the same recipe are appended" in line


def test_a_published_row_does_not_change(hub, parts, tmp_path):
    """A label of a row that is there says something else."""
    shutil.copytree(parts["one"], tmp_path / "changed" / NAME)
    release = tmp_path / "changed" / NAME
    for path in (*release.glob("metadata/train-*.parquet"), *release.glob("data/*/train-*.parquet")):
        table = pq.read_table(path)
        place = (
            table["id"].to_pylist().index(first)
            if (first := "hair-red-male-00000") in table["id"].to_pylist()
            else None
        )
        if place is not None:
            rows = table.to_pylist()
            rows[place]["seed"] += 1
            options = {"write_page_index": True}
            pq.write_table(table.from_pylist(rows, schema=table.schema), path, row_group_size=100, **options)
    published(hub, parts["one"])
    with mock.patch.object(lint, "check", lambda *_: iter(())):
        line = refused(hub, release)
    assert "a row is published with another picture, label or split, first hair-red-male-00000" in line


def test_a_card_that_was_edited_there_is_not_overwritten(hub, parts):
    published(hub, parts["one"])
    whole = hub.files(REPO)["README.md"]
    text = whole.replace(b"## Uses\n", b"## Uses\n\nMine: none.\n")
    hub.commit(REPO, {"README.md": text}, user="user")
    assert "'Mine: none.' would be lost" in refused(hub, parts["other"])
    own = ("extra_gated_prompt: Ask me.\n---\n\n", "tags:\n- mine\n")
    for old, new in zip(("---\n\n", "tags:\n"), own):
        hub.commit(REPO, {"README.md": whole.replace(old.encode(), new.encode(), 1)}, user="user")
        first = new.partition("\n")[0]
        assert f"{first}" in refused(hub, parts["other"])
    assert upload_here(hub, parts["other"], *APPEND, "--force").status == 0


def test_annotations_of_both_grow_too(hub, parts, tmp_path):
    """What a model saw on the new pictures stands with what it saw on the old ones."""
    for name in ("one", "other", "both"):
        annotate(Path(shutil.copytree(parts[name], tmp_path / name / NAME)), Brightness())
    published(hub, tmp_path / "one" / NAME)
    run = upload_here(hub, tmp_path / "other" / NAME, *APPEND)
    assert run.status == 0, run.errors
    folder = downloaded(hub, tmp_path / NAME)
    assert faults(folder) == []
    assert ids_of(folder, "annotations_brightness") == ids_of(folder, "metadata")
    assert sorted(body(folder)) == sorted(body(tmp_path / "both" / NAME))
    again = upload_here(hub, tmp_path / "both" / NAME, *APPEND)
    assert again.status == 0 and "nothing to append" in again.errors


def test_other_configs_are_refused(hub, parts, tmp_path):
    """Annotations have every picture's row: those of the new ones are not there, or are another model's."""
    annotate(Path(shutil.copytree(parts["one"], tmp_path / "one" / NAME)), Brightness())
    published(hub, tmp_path / "one" / NAME)
    assert f"only {REPO} has the config annotations_brightness" in refused(hub, parts["other"])
    other = Path(shutil.copytree(parts["other"], tmp_path / "other" / NAME))
    annotate(
        other,
        SimpleNamespace(**{n: getattr(Brightness(), n) for n in ("name", "columns", "annotate")}, digest="b" * 64),
    )
    assert "its config annotations_brightness is of another model" in refused(hub, other)


@pytest.mark.parametrize(("shared", "asked"), [(0, 5), (3, 4)], ids=["another build", "the same build, grown"])
def test_a_feature_without_pictures_is_counted_once(shared, asked):
    """Another raw build's tries come to those that are published; the same one's have them already."""
    none = dict.fromkeys(("made", "verified", "not_judged"), 0)
    old, new = (
        FeatureCounts(
            **{"attribute": "hair", "feature": "red", "reasons": {}, "tries": None, "rejected_scores": None, **none},
            **dict.fromkeys(("asked", "unfilled", "rejected"), count),
        )
        for count in (1, 4)
    )
    comparison = Comparison(shared=Counter(blond=shared), published=Counter(blond=3))
    (counts,) = appended_module._reports({"red": old}, {"red": new}, comparison)
    assert counts.asked == asked


def test_a_part_of_what_is_there_is_refused(hub, parts, tmp_path):
    """Of its rejected tries nobody could tell which are counted already."""
    published(hub, parts["one"])
    raw = pack(tmp_path, side=16, scale=0.01, only=["hair/red", "pose"])
    line = refused(hub, release_of(raw, tmp_path / "part"))
    assert line.startswith("upload: red: ") and line.endswith("append a release that has all of them, or none")


def test_pictures_like_those_that_are_there_are_left_out(hub, parts, tmp_path):
    """By the build's own rule, and they count as missing."""
    labels = pq.read_table(next(parts["one"].glob("metadata/train-*.parquet")), columns=["perceptual_hash"])
    there = labels["perceptual_hash"][0].as_py()
    write = builds.write

    def write_a_copy(writer, attempt, outcome=None):
        if attempt.sample.id == "pose-left_right-male-00001":
            outcome = Outcome()
            outcome.checks["hash"] = f"{int(there, 16) ^ 1:016x}"
        return write(writer, attempt, outcome)

    with mock.patch.object(builds, "write", write_a_copy):
        raw = pack(tmp_path, side=16, scale=0.02, only=["pose"])
    release = release_of(raw, tmp_path / "copies")
    published(hub, parts["one"])
    run = upload_here(hub, release, *APPEND)
    assert run.status == 0, run.errors
    assert "1 more look like a picture that is there (first pose-left_right-male-00001, in 1 of 64 bits)" in run.errors
    folder = downloaded(hub, tmp_path / NAME)
    ids, wanted = ids_of(folder, "pose"), ids_of(release, "pose")
    assert set().union(*wanted.values()) - set().union(*ids.values()) == {"pose-left_right-male-00001"}
    (counts,) = [row for row in ChecksReport.read(folder).features if row.feature == "left_right"]
    (before,) = [row for row in ChecksReport.read(release).features if row.feature == "left_right"]
    assert (counts.made, counts.unfilled, counts.asked) == (before.made - 1, before.unfilled + 1, before.asked)
    assert counts.reasons["near duplicate"] == 1 and faults(folder) == []
    again = upload_here(hub, release, *APPEND)
    assert again.status == 0 and "nothing to append" in again.errors


def test_a_later_release_of_all_replaces_what_was_appended(hub, parts):
    """Without --append everything is as ever: one release, in the files that it has."""
    published(hub, parts["one"])
    upload_here(hub, parts["other"], *APPEND)
    published(hub, parts["both"])
    there = {name for name in hub.files(REPO) if DATA.fullmatch(name) or FIRST.fullmatch(name)}
    assert there == {name for name in files_of(parts["both"]) if name.endswith(".parquet")}
