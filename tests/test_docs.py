"""What the documentation shows works: its Python blocks run, its links lead somewhere."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from builder.dataset.packing import pack
from builder.raw.build import RawBuild
from tests.fixtures.builds import write_raw

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path):
    return BLOCK.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.process
def test_the_walk_through_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(ROOT / "docs/api.md"):
        exec(block, names)
    assert names["raw"].unfinished() == [] and names["faults"] == []
    assert sum(map(len, names["faces"].values())) == 6 == names["plan"].chosen


@pytest.fixture
def notebooks():
    """Leave no trace of the client of notebooks, by which the builder knows that it runs in one."""
    yield
    sys.modules.pop("ipykernel", None)


@pytest.mark.process
@pytest.mark.usefixtures("notebooks")
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "agfd30k/README.md").is_file()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_pytorch_example_runs(tmp_path, monkeypatch, workers, streaming):
    """Every picture comes once, with its feature numbered within the config."""
    write_raw(tmp_path / "raw", only=["occlusion"], limit=20)
    pack(RawBuild.open(tmp_path / "raw"), tmp_path / "agfd30k")
    monkeypatch.chdir(tmp_path)
    (example,) = (block for block in blocks(ROOT / "README.md") if "DataLoader" in block)
    example = example.replace("num_workers=2", f"num_workers={workers}")
    if streaming:
        again = (
            'faces = load_dataset("agfd30k", "occlusion", split="train", columns=["image", "feature"], streaming=True)'
        )
        example = example.replace("\nfor batch", f"\n{again}\nfor batch").replace("shuffle=True, ", "")
    found = []
    exec(f"{example}\n    found.append((images, targets))", names := {"found": found})
    images, targets = (names["torch"].cat(parts) for parts in zip(*found))
    assert images.shape[1:] == (3, 16, 16) and images.max() <= 1
    assert set(targets.tolist()) == set(range(len(names["labels"]))) and len(targets) == 16


def test_the_example_on_the_card_runs(tmp_path, monkeypatch):
    write_raw(tmp_path / "raw", only=["occlusion"], limit=20)
    pack(RawBuild.open(tmp_path / "raw"), tmp_path / "agfd30k")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(tmp_path / "agfd30k/README.md"):
        exec(block, names)
    assert names["images"].shape[1:] == (3, 16, 16) and names["targets"].min() >= 0
