"""`agfd30k annotate`: what a model sees becomes a config, and nothing else of a release changes, whatever happens."""

import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import mlcroissant
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

import agfd30k
from builder import __main__ as commands
from builder.annotation import annotate as annotation
from builder.annotation.annotator import load
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.dataset import packing
from builder.dataset.folder import Release, addition, sweep
from builder.dataset.parquet import annotation_schema
from builder.linting import lint
from builder.raw.build import RawBuild
from tests.fixtures import annotators
from tests.fixtures.annotators import Brightness
from tests.fixtures.builds import write_raw

ROOT = Path(__file__).parents[2]
OLD_DATASETS = ROOT / ".venv-datasets3" / "bin" / "python"
TEXTS = {"README.md", "croissant.json"}
FIXTURES = "tests.fixtures.annotators"
KILLED = """
import os, signal, sys
from pathlib import Path
from builder.annotation.annotate import annotate
from builder.dataset import additions, folder
from tests.fixtures.annotators import Brightness

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[2]
if where == "looking":
    Brightness.annotate = die
elif where == "describing":
    additions.describe = die
elif where == "texts":
    folder.Path.replace = die
elif where == "whole":
    additions.bring_in = die
else:
    folder.sync_folder = die
annotate(Path(sys.argv[1]), Brightness())
"""
WITHOUT_HEAVY_LIBRARIES = """
import sys
import weakref
for name in ("torch", "cv2", "diffusers", "transformers", "accelerate", "scipy", "matplotlib", "imagehash"):
    sys.modules[name] = None
from builder import annotate
sys.exit(annotate.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotated")
    write_raw(folder / "raw", scale=0.02)
    packing.pack(RawBuild.open(folder / "raw"), folder / "faces")
    return folder / "faces"


@pytest.fixture
def faces(packed, tmp_path):
    """A release of one's own."""
    return Path(shutil.copytree(packed, tmp_path / "faces"))


def digests(folder):
    """Every file with its digest, but for the two texts that say what is there."""
    return {name: sha256(folder / name) for name in Release(folder).files if name not in TEXTS}


def faults(folder):
    return [str(fault) for fault in lint.check(Release(folder), allow_preview=True, allow_incomplete=True)]


def annotated(folder):
    """The rows of the config, of all splits."""
    loaded = load_dataset(str(folder), "annotations_brightness", cache_dir=str(folder.parent / "cache"))
    return {split: list(rows) for split, rows in loaded.items()}


def test_every_picture_has_a_row_in_the_order_of_the_labels_and_nothing_else_changes(faces):
    before = digests(faces)
    annotator = Brightness()
    done = annotation.annotate(faces, annotator, batch=10)
    assert {name: digest for name, digest in digests(faces).items() if name in before} == before
    assert {name.rpartition("/")[0] for name in digests(faces).keys() - before.keys()} == {"annotations/brightness"}
    assert max(annotator.sizes) == 10
    labels = load_dataset(str(faces), "metadata", cache_dir=str(faces.parent / "cache"))
    for split, rows in annotated(faces).items():
        keys = [(row["id"], row["sha256"]) for row in rows]
        assert keys == list(zip(labels[split]["id"], labels[split]["sha256"]))
        assert {(row["model"], row["model_digest"]) for row in rows} == {("brightness", annotators.DIGEST)}
        nothing = [row for row in rows if row["mean"] is None]
        assert len(nothing) == len(rows) - done.found[split] > 0
        assert all(row["is_bright"] is row["side"] is row["corner"] is None for row in nothing)
        assert all(len(row["corner"]) == 2 and row["side"] in (0, 1) for row in rows if row["mean"] is not None)
    assert faults(faces) == []


def test_what_was_seen_is_seen_on_the_picture_of_its_row(faces):
    annotation.annotate(faces, Brightness())
    pictures = {
        row["id"]: row for row in load_dataset(str(faces), "hair", split="test", cache_dir=str(faces / ".cache"))
    }
    rows = [row for row in annotated(faces)["test"] if row["id"] in pictures and row["mean"] is not None]
    assert rows
    for row in rows:
        (seen,) = Brightness().annotate([pictures[row["id"]]["image"].convert("RGB")])
        assert row["mean"] == pytest.approx(seen["mean"]) and row["corner"] == seen["corner"]


def test_card_and_croissant_keep_every_other_line(faces):
    """Also when the annotations are replaced, and when others are added to them."""
    before = (faces / "README.md").read_text()
    annotation.annotate(faces, Brightness())
    once = (faces / "README.md").read_text(), (faces / "croissant.json").read_text()
    added = once[0].split("\n")
    for line in before.split("\n"):
        assert line in added
        added.remove(line)
    assert any(line.startswith("| `annotations_brightness` | `brightness` |") for line in added)
    annotation.annotate(faces, Brightness())
    assert ((faces / "README.md").read_text(), (faces / "croissant.json").read_text()) == once
    other = Brightness()
    other.name = "other"
    annotation.annotate(faces, other)
    assert list(Release(faces).configs())[-2:] == ["annotations_brightness", "annotations_other"]
    assert (faces / "README.md").read_text().count("## Annotations") == 1
    assert faults(faces) == []


def test_a_card_without_its_sections_is_annotated_all_the_same(faces):
    card = (faces / "README.md").read_text()
    (faces / "README.md").write_text(card.replace("\n## Uses\n", "\n## What for\n"))
    annotation.annotate(faces, Brightness())
    assert "## Annotations" in (faces / "README.md").read_text() and faults(faces) == []


def test_the_loader_and_an_older_datasets_read_it(faces):
    annotation.annotate(faces, Brightness())
    loaded = agfd30k.load_dataset("annotations_brightness", data_dir=faces, cache_dir=faces.parent / "cache")
    assert {split: list(rows) for split, rows in loaded.items()} == annotated(faces)
    assert loaded["train"].features == annotation_schema(Brightness.columns)
    with pytest.raises(ValueError, match=r"choose one of .*annotations_brightness"):
        agfd30k.load_dataset("annotations", data_dir=faces)
    if not OLD_DATASETS.exists():
        pytest.skip("make test builds the environment")
    code = f"""
import datasets, agfd30k
ours = agfd30k.load_dataset("annotations_brightness", data_dir={str(faces)!r})
plain = datasets.load_dataset({str(faces)!r}, "annotations_brightness")
script = datasets.load_dataset({str(ROOT / "agfd30k.py")!r}, "annotations_brightness", data_dir={str(faces)!r},
                               trust_remote_code=True)
for loaded in (ours, plain, script):
    print(len(loaded["train"]), loaded["train"].features["side"].names, loaded["train"][0]["corner"])
"""
    environment = {**os.environ, "HF_HOME": str(faces.parent / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([OLD_DATASETS, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first = annotated(faces)["train"]
    assert set(done.stdout.splitlines()) == {f"{len(first)} ['left', 'right'] {first[0]['corner']}"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--with", "no.such.module:f"], "no.such.module cannot be imported: ModuleNotFoundError"),
        (["--with", "faces"], "choose mediapipe, or name module:function"),
        (["--with", f"{FIXTURES}:nothing"], "has no function nothing"),
        (["--with", f"{FIXTURES}:not_callable"], "has no function not_callable"),
        (["--with", f"{FIXTURES}:OfModel"], "cannot be called without arguments"),
        (["--with", f"{FIXTURES}:Brightness", "--model", "m.onnx"], "cannot be called with the path of --model"),
        (["--with", f"{FIXTURES}:number"], "returns a int, which is no annotator: it has no `name`"),
        (["--with", f"{FIXTURES}:raising"], "OSError: the model's file is not there"),
        (["--with", f"{FIXTURES}:BadName"], "got 'Bright/ness'"),
        (["--with", f"{FIXTURES}:NoColumns"], "its columns must be datasets.Features, got NoneType"),
        (["--with", f"{FIXTURES}:TakesId"], "a column cannot be called 'id'"),
        (["--with", f"{FIXTURES}:HasDates"], "column day: Croissant has no word"),
        (["--with", f"{FIXTURES}:Short"], "returns 31 values for 32 pictures"),
        (["--with", f"{FIXTURES}:Number"], "returns a int for 32 pictures"),
        (
            ["--with", f"{FIXTURES}:Strange"],
            "['colour', 'mean'], its columns are ['corner', 'is_bright', 'mean', 'side']",
        ),
        (["--with", f"{FIXTURES}:Wordy"], "what its columns do not take"),
        (["--with", f"{FIXTURES}:Raising"], "RuntimeError: no memory left"),
        ([], "--with"),
    ],
)
def test_every_mistake_is_one_line_and_leaves_the_release_as_it_was(faces, capsys, flags, says):
    before = {name: sha256(faces / name) for name in Release(faces).files}
    assert commands.main(["annotate", str(faces), *flags]) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1 and says in written.err
    assert {name: sha256(faces / name) for name in Release(faces).files} == before
    assert [path.name for path in faces.parent.iterdir()] == ["faces"]


def test_what_is_no_release_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert commands.main(["annotate", str(tmp_path / "empty"), "--with", f"{FIXTURES}:Brightness"]) == 2
    assert "no release" in capsys.readouterr().err


def test_a_damaged_picture_is_named(faces, capsys):
    path = sorted(faces.glob("data/*/test-*.parquet"))[0]
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["image"]["bytes"] = rows[0]["image"]["bytes"][:-9] + bytes(9)
    pq.write_table(table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(UserError, match=f"the picture of {rows[0]['id']} is not the one that its row says"):
        annotation.annotate(faces, Brightness())


@pytest.mark.process
@pytest.mark.parametrize("where", ["looking", "describing", "whole", "texts", "synced"])
def test_a_killed_run_leaves_the_release_or_is_finished_by_the_next_command(faces, where):
    """Until everything is there the release is as it was; from then on it has it all, and no half of it."""
    before = {name: sha256(faces / name) for name in Release(faces).files}
    done = subprocess.run([sys.executable, "-c", KILLED, faces, where], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    sweep(faces)
    if where in ("whole", "texts", "synced"):
        assert faults(faces) == [] and "annotations_brightness" in Release(faces).configs()
    else:
        assert {name: sha256(faces / name) for name in Release(faces).files} == before
    assert not any(path.exists() for path in addition(faces))
    annotation.annotate(faces, Brightness())
    assert faults(faces) == []


@pytest.mark.process
def test_two_at_a_time_is_refused(faces):
    code = "import time\nfrom pathlib import Path\nfrom builder.dataset.folder import lock\n"
    code += f"with lock(Path({str(faces)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout.readline() == b"held\n"
        try:
            with pytest.raises(UserError, match="another process is writing it"):
                annotation.annotate(faces, Brightness())
        finally:
            other.kill()


@pytest.mark.process
def test_it_needs_no_heavy_library(faces):
    """An annotator's own environment need not hold what makes pictures."""
    command = [sys.executable, "-c", WITHOUT_HEAVY_LIBRARIES, str(faces), "--with", f"{FIXTURES}:Brightness"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "annotations_brightness" in Release(faces).configs()


def test_a_module_of_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine_of_this_test.py").write_text(f"from {FIXTURES} import Brightness as bright")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    with load("mine_of_this_test:bright") as annotator:
        assert annotator.name == "brightness"
    with load(f"{FIXTURES}:OfModel", Path("m.onnx")) as annotator:
        assert annotator.digest == "m.onnx" and not annotator.is_closed
    assert annotator.is_closed


def test_lint_sees_rows_that_are_not_the_pictures(faces):
    annotation.annotate(faces, Brightness())
    path = faces / "annotations/brightness/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, *range(2, len(table))]), path, write_page_index=True)
    assert any(fault.startswith("annotated: annotations_brightness/test: row 0 is not") for fault in faults(faces))


def test_croissant_reads_the_annotations(faces):
    annotation.annotate(faces, Brightness())
    dataset = mlcroissant.Dataset(str(faces / "croissant.json"))
    rows = list(dataset.records("annotations_brightness", filters={"annotations_brightness/split": "test"}))
    assert [row["annotations_brightness/id"].decode() for row in rows] == [
        row["id"] for row in annotated(faces)["test"]
    ]


def test_the_annotator_of_the_documentation_works(faces, monkeypatch):
    page = (ROOT / "docs/annotations.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Brightness" in block)
    (faces.parent / "of_the_documentation.py").write_text(block)
    monkeypatch.chdir(faces.parent)
    monkeypatch.setattr(sys, "path", [*sys.path, str(faces.parent)])
    with load("of_the_documentation:Brightness") as annotator:
        done = annotation.annotate(faces, annotator)
    assert sum(done.found.values()) == sum(done.rows.values()) > 0


def test_memory_does_not_grow_with_the_pictures(faces):
    """No more pictures are alive than two batches have."""
    alive, most = [], 0

    class Counting(Brightness):
        def annotate(self, images):
            nonlocal most
            alive.extend(map(weakref.ref, images))
            most = max(most, sum(each() is not None for each in alive))
            return super().annotate(images)

    annotation.annotate(faces, Counting(), batch=8)
    assert len(alive) > 500 and most <= 16
