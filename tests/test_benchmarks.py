"""What the benchmarks print and keep is what was measured; the measuring itself is not part of the tests."""

import dataclasses
import importlib.util
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

FOLDER = Path(__file__).parent.parent / "benchmarks"
TOPICS = (
    *("host", "encoding", "checks", "duplicates", "release", "loading", "report", "growth", "scaling", "generation"),
    "roofline",
)


@pytest.fixture
def bench(monkeypatch):
    """The command's own module; its neighbours can be imported by their names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("harness", "pictures", "standin", "row_processes", "devices", "arithmetic", *TOPICS):
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


CPU = {"accelerator": "none", "processor": "Some, 2 cores", "date": "2026-01-02", "python": "3.12"}


def table_of(bench, title, value):
    table = bench.Table(title, ["number"], notes=["A note."])
    table.add(value)
    return table


def test_results_of_one_machine_leave_those_of_the_others(bench, tmp_path):
    """A second run replaces the first of the same kind of machine."""
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n\nHow to read this.\n\n## A GPU\n\n### Its table\n\nof old\n")
    for speed in (1.0, 2.0):
        bench.write_results(path, CPU, "host", [table_of(bench, "Speed", speed)])
    text = path.read_text()
    assert text.startswith("# Results\n\nHow to read this.\n")
    assert "## A GPU\n\n### Its table\n\nof old" in text
    assert text.count("## CPU: Some, 2 cores") == 1 and "2.00" in text and "1.00" not in text
    assert text.endswith("Measured with `python benchmarks host` on 2026-01-02: python 3.12.\n")


def test_results_of_one_topic_leave_those_of_the_others(bench, tmp_path):
    """A topic's tables are replaced, whatever their titles, but not those of another amount of work."""
    path = tmp_path / "RESULTS.md"
    for topic, title, value, scale in (
        ("release", "562 MB", 1.0, 1.0),
        ("growth", "Size", 5.0, 10.0),
        ("growth", "Size", 6.0, 1.0),
        ("host", "Steps", 7.0, 1.0),
        ("release", "600 MB", 3.0, 1.0),
    ):
        bench.write_results(path, CPU, topic, [table_of(bench, title, value)], scale)
    text = path.read_text()
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles == ["# Results", "## CPU: Some, 2 cores", "### Steps", "### 600 MB", "### Size", "### Size"]
    assert "1.00" not in text and "5.00" in text and "6.00" in text and text.count("A note.") == 4
    assert "with `python benchmarks growth --scale 10` on" in text


A_MOMENT = {
    "encoding": {},
    "host": {},
    "checks": {"HASHES": (1_000,), "CLIP_LAYERS": 1},
    "duplicates": {"SIZES": (100_000, 200_000)},
    "release": {"REPEATS": 1},
    "loading": {"REPEATS": 1},
    "report": {},
    "growth": {"SIZES": (64,), "PLANNED": (30_000,)},
    "scaling": {"TRIALS": {"1": ("build", [0.04], False), "peer": ("split", [0.04, 0.04], False)}},
    "roofline": {},
}
"""What is set in each topic so that it measures the least there is; the rest is by `--scale`."""


LONG = {"host", "report", "growth", "scaling"}
"""Topics that take half a minute even so."""


@pytest.mark.process
@pytest.mark.parametrize(
    "topic", [pytest.param(topic, marks=[pytest.mark.slow] if topic in LONG else []) for topic in A_MOMENT]
)
def test_every_topic_runs_and_measures(bench, monkeypatch, topic):
    """Each topic does its work, on the least there is, and its tables have numbers."""
    module, pictures = importlib.import_module(topic), importlib.import_module("pictures")
    small = [np.asarray(pictures.photo(seed, side=64)) for seed in range(16)]
    monkeypatch.setattr(pictures, "some_photos", lambda: small)
    for name, value in A_MOMENT[topic].items():
        monkeypatch.setattr(module, name, value)
    tables = list(module.run(0.01))
    assert topic in bench.TOPICS and tables[0].rows
    numbers = [cell for table in tables for row in table.rows for cell in row if isinstance(cell, (int, float))]
    assert any(number > 0 for number in numbers)


@pytest.mark.process
@pytest.mark.slow
def test_every_row_for_a_gpu_is_rehearsed_on_a_cpu(bench, monkeypatch):
    """The same rows run here with tiny models, all of them are measured, and pictures are those of diffusers."""
    generation = importlib.import_module("generation")
    assert {row.name for row in generation.GPU} == {row.name for row in generation.CPU}
    monkeypatch.setattr(generation, "TURNS", [])
    monkeypatch.setattr(generation, "CPU", [dataclasses.replace(row, process="one") for row in generation.CPU])
    _, speed, compiling, agreement, missing = generation.run(0.01)
    assert [row for row in speed.rows if row[2] is None] == [] and len(speed.rows) == len(generation.CPU) - 2
    assert len(compiling.rows) == sum("compiled" in row[0] for row in speed.rows) - 1
    assert len(agreement.rows) == 3 and all(row[1] <= 1 for row in agreement.rows)
    assert missing.rows == [["not measured: no GPU here", None]]


ANSWERING = """
import json, os, sys, time
for name, batch in json.loads(sys.argv[2]):
    if name == "slow":
        time.sleep(60)
    if name == "crash":
        print("it broke", file=sys.stderr)
        os._exit(3)
    print(json.dumps({"rate": batch, "process": os.getpid()}), flush=True)
"""


@pytest.mark.process
def test_a_row_that_takes_too_long_or_crashes_costs_no_other_row(bench, monkeypatch, tmp_path):
    """Rows share a process, until one of them takes it down; those after it get another."""
    row_processes = importlib.import_module("row_processes")
    monkeypatch.setattr(row_processes, "START", 5.0)
    (tmp_path / "script.py").write_text(ANSWERING)
    names = ("one", "slow", "two", "crash", "three", "four")
    rows = [row_processes.Row(name, number, 1.0, "same") for number, name in enumerate(names)]
    found = dict(row_processes.measured(rows, tmp_path, 100, 1, tmp_path / "script.py"))
    assert list(found) == rows
    assert [found[rows[n]].get("failed") for n in (1, 3)] == [
        "out of time after 1 s",
        "its process ended with status 3: it broke",
    ]
    assert [found[rows[n]]["rate"] for n in (0, 2, 4, 5)] == [0, 2, 4, 5]
    assert found[rows[4]]["process"] == found[rows[5]]["process"] != found[rows[2]]["process"]


def test_no_row_begins_when_the_time_is_over(bench, tmp_path):
    row_processes = importlib.import_module("row_processes")
    rows = [row_processes.Row(name, 1, 1.0, "same") for name in ("one", "two")]
    found = list(row_processes.measured(rows, tmp_path, 1, 1, tmp_path / "there is none"))
    assert [why for _, why in found] == [{"failed": "not reached, no time was left"}] * 2


def test_a_device_is_busy_while_anything_runs_on_it(bench):
    """Work that overlaps is counted once, what a program only calls by a name not at all."""
    devices = importlib.import_module("devices")
    assert devices.union([(0, 2), (5, 6), (1, 3), (1, 2)]) == 4
    assert devices.union([]) == 0
    busy = type("OnACpu", (devices.BusyCuda,), {})()
    busy.activity, busy.kind = torch.profiler.ProfilerActivity.CPU, torch.autograd.DeviceType.CPU
    busy.start()
    with torch.profiler.record_function("a name"):
        torch.ones(8)
        time.sleep(0.3)
    busy.stop()
    assert 0 < busy.share < 0.5
    assert devices.worked(busy.profile, torch.autograd.DeviceType.CUDA) is None


def test_a_ratio_is_that_of_the_rounds(bench):
    """A round in which the machine is slower changes no ratio, and one run has no spread."""
    harness = importlib.import_module("harness")
    one, other = harness.Seconds.of([2.0, 20.0, 2.2]), harness.Seconds.of([1.0, 10.0, 1.0])
    assert harness.ratio(one, other) == (2.0, pytest.approx(5))
    assert harness.ratio(harness.Seconds.of([1.0]), harness.Seconds.of([2.0])) == (0.5, None)


def test_an_encoder_that_loses_pixels_ends_the_benchmark(bench):
    encoding, pictures = importlib.import_module("encoding"), importlib.import_module("pictures")
    picture = pictures.photo(0, side=64)
    data = [encoding._encode(picture, encoding.CANDIDATES["--image-format jpg"])]
    encoding._require_lossless("--image-format jpg", data, [picture])
    with pytest.raises(RuntimeError, match="png: other pixels come back"):
        encoding._require_lossless("png", data, [picture])


def test_arithmetic_is_that_of_stable_diffusion(bench):
    """35 TFLOP a picture; the networks are as large as the real ones, and longer prompts take a little more."""
    arithmetic = importlib.import_module("arithmetic")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(arithmetic.UNET)
        vae = AutoencoderKL.from_config(arithmetic.VAE)
    assert sum(weight.numel() for weight in unet.parameters()) == 859_520_964
    assert sum(weight.numel() for weight in vae.parameters()) == 83_653_863
    short, long = (arithmetic.tflop(arithmetic.UNET, arithmetic.VAE, pair, 20) for pair in ((77, 77), (77, 231)))
    assert 34.6 < short < 34.7 < long < 35


def test_work_takes_turns_and_each_round_begins_with_another(bench):
    harness, calls = importlib.import_module("harness"), []
    work = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = harness.alternating(work, 3, lambda: calls.append("-"))
    assert "".join(calls) == "-a-b-c" + "-b-c-a" + "-c-a-b"
    assert list(seconds) == ["a", "b", "c"]


def test_every_way_to_pack_packs_the_pictures(bench, tmp_path):
    """What is compared does the same work; a way that writes less ends the benchmark."""
    release, pictures = importlib.import_module("release"), importlib.import_module("pictures")
    pictures.raw_build(tmp_path / "raw", 64)
    ways = release.ways(tmp_path)
    assert len(ways) >= 6
    least = sum(path.stat().st_size for path in release.picture_files(tmp_path))
    for name, run in ways.items():
        release.clear(tmp_path)
        release._whole(name, run, tmp_path / "out", least)
    with pytest.raises(RuntimeError, match="idle: 0 bytes written for pictures of"):
        release.clear(tmp_path)
        release._whole("idle", lambda: None, tmp_path / "out", least)


def test_efficiency_is_a_share_of_what_the_processes_could_make(bench):
    """A process of 20 ms beyond its delay makes 1 / (delay + 20 ms), however slow it is."""
    scaling = importlib.import_module("scaling")
    alone = 1 / (scaling.DELAY + 0.02)
    assert scaling.efficiency(alone, [scaling.DELAY], alone) == pytest.approx(1)
    slow = 1 / (3 * scaling.DELAY + 0.02)
    assert scaling.efficiency(alone + slow, [scaling.DELAY, 3 * scaling.DELAY], alone) == pytest.approx(1)
    assert scaling.efficiency(alone, [scaling.DELAY] * 2, alone) == pytest.approx(0.5)


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


def test_the_estimates_in_the_documentation_are_what_the_command_prints(bench):
    """Nobody copies a number by hand: `python benchmarks roofline` prints these tables."""
    page = (FOLDER.parent / "docs" / "speed.md").read_text(encoding="utf-8")
    for table in importlib.import_module("roofline").run():
        assert str(table).strip() in page.replace("\n#### ", "\n### ")
