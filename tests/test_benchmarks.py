"""What the benchmarks print and keep is what was measured; the measuring itself is not part of the tests."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The command's own module; its neighbours can be imported by their names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("harness", "growth"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("bench", FOLDER / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_table_is_markdown_and_aligned(bench):
    table = bench.Table("Speed", ["way", "pictures/s"], notes=["On two cores."])
    table.add("ours", 12.345)
    table.add("not measured", None)
    lines = str(table).splitlines()
    assert lines[2:6] == [
        "| way          | pictures/s |",
        "| ------------ | ---------: |",
        "| ours         |       12.3 |",
        "| not measured |          - |",
    ]
    assert "On two cores." in lines
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        table.add("ours")


def test_results_of_one_machine_leave_those_of_the_others(bench, tmp_path):
    """A second run replaces the first of the same kind of machine."""
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n\nHow to read this.\n\n## A GPU\n\nits table\n")
    cpu = {"accelerator": "none", "processor": "Some, 2 cores"}
    for speed in (1.0, 2.0):
        table = bench.Table("Speed", ["pictures/s"])
        table.add(speed)
        bench.write_results(path, cpu, [table])
    text = path.read_text()
    assert text.startswith("# Results\n\nHow to read this.\n")
    assert "## A GPU\n\nits table" in text
    assert text.count("## CPU: Some, 2 cores") == 1 and "2.00" in text and "1.00" not in text


def test_results_of_one_topic_leave_those_of_the_others(bench, tmp_path):
    path = tmp_path / "RESULTS.md"
    for title, value in (("Speed", 1.0), ("Size", 5.0), ("Speed", 3.0)):
        table = bench.Table(title, ["number"], notes=["A note."])
        table.add(value)
        bench.write_results(path, {"accelerator": "none", "processor": "Some"}, [table])
    titles = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert titles == ["# Results", "## CPU: Some", "### Speed", "### Size"]
    assert "3.00" in path.read_text() and "1.00" not in path.read_text() and path.read_text().count("A note.") == 2


def test_a_larger_table_is_the_default_one_with_more_pictures(bench):
    growth = importlib.import_module("growth")
    default, larger = tomllib.loads(growth.scaled(1)), tomllib.loads(growth.scaled(10))
    assert default["checks"] == larger["checks"]
    assert sum(row["male"] + row["female"] for row in larger["feature"]) == 300_000


def test_a_topic_that_is_none_is_said(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2 and "no such topic: speed; there are host" in capsys.readouterr().err
