"""Before its first byte a run says what it takes, and what is too much for this machine is refused with the numbers."""

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from builder.common.errors import UserError
from builder.generation import preflight as generation_preflight
from builder.generation.build_models import BuildModels
from builder.generation.config import GenerateConfig
from builder.generation.pace import Pace
from builder.generation.preflight import Preflight
from builder.generation.process import Rank
from builder.models.identity import File, Source
from builder.raw.row_count import RowCount
from builder.raw.signing import BYTES, Signer
from tests.fixtures import certificates
from tests.fixtures.builds import write_raw

CPU = Rank(0, 1, torch.device("cpu"))
GPUS = Rank(0, 8, torch.device("cuda", 0))
MODEL = Source("hub", "owner/name", "owner/name", "c0ffee", files=(File("unet/a.safetensors", 4_000_000_000),))
CHECKER = Source("hub", "owner/checker", "owner/checker", "5afe", "model.safetensors", "f" * 64)
CLIP = Source("hub", "owner/clip", "owner/clip", "c11f", files=(File("model.safetensors", 600_000_000),))
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """An empty cache, and raw and release in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def preflight(rank=GPUS, model=MODEL, **options):
    config = GenerateConfig(**options)
    models = BuildModels(model, None, CHECKER, {"attribute": CLIP})
    left = config.plan.chosen - RowCount(config.raw)(config.plan.shards)
    return Preflight(config, config.plan, models, rank, config.batch_size or 8, left, Path("agfd30k"))


def free(monkeypatch, count):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, count))


def test_what_a_run_takes_is_said(monkeypatch, tmp_path):
    """Model and commit, checker, bytes and where to, disk, device and precision, processes, batches, pictures left."""
    lines = list(preflight(limit=100, batch_size=16).lines())
    assert lines[0] == "model     owner/name@c0ffee"
    assert lines[1].startswith("safety    owner/checker@5afe:model.safetensors sha256:ffff")
    assert lines[2] == "attribute owner/clip@c11f"
    assert lines[3] == f"download  2 files, 4.6 GB, to {tmp_path / 'cache'}"
    assert lines[4] == "disk      4.7 GB on the disk of agfd30k-raw"  # 100 pictures twice, and the models
    assert lines[5] == "device    cuda:0, float16, 8 processes, 16 pictures at once on each"
    assert lines[6] == "left      100 of 100 pictures"
    assert list(preflight(CPU).lines())[5].startswith("device    cpu, float32, 1 process, 8 pictures")


def test_a_measured_rate_tells_the_time(tmp_path):
    """Only one of as many devices of the same kind; a torn note is none."""
    Path("agfd30k-raw").mkdir()
    Pace.note(Path("agfd30k-raw"), GPUS, 4.0)
    assert list(preflight(limit=100).lines())[6].endswith(
        "100 pictures, 0:00:25 at 4.00 pictures/s, as measured in the last run"
    )
    assert list(preflight(CPU, limit=100).lines())[6].endswith("100 pictures")
    assert Pace.last(Path("agfd30k-raw"), replace(GPUS, count=4)) is None
    Path("agfd30k-raw", ".pace.json").write_text('{"device": "cu')
    assert Pace.last(Path("agfd30k-raw"), GPUS) is None


def test_too_little_room_is_a_refusal_with_the_numbers(monkeypatch):
    free(monkeypatch, 4_600_000_000)
    with pytest.raises(UserError, match=r"4\.7 GB are needed and 4\.6 GB are free: make room") as caught:
        preflight(limit=100).require()
    assert "\n" not in str(caught.value)
    free(monkeypatch, 4_800_000_000)
    preflight(limit=100).require()
    preflight(limit=100, image_format="jpg").require()


def test_a_model_of_full_size_needs_consent_on_a_cpu(monkeypatch):
    """The refusal says how long it would take; --cpu does it all the same, and a small model asks for nothing."""
    free(monkeypatch, 1e15)
    monkeypatch.setattr(generation_preflight.os, "cpu_count", lambda: 4)
    with pytest.raises(UserError, match=r"on this CPU a picture takes about 2\.1 min, all 120 about 4\.2 h; --cpu"):
        preflight(CPU, limit=120).require()
    preflight(CPU, limit=120, cpu=True).require()
    preflight(GPUS, limit=120).require()
    preflight(CPU, replace(MODEL, files=(File("unet/a.safetensors", 1000),)), limit=120).require()


def test_a_finished_build_needs_nothing(monkeypatch):
    """Neither room nor a GPU."""
    free(monkeypatch, 0)
    config = GenerateConfig(only=("occlusion",), scale=0.02, shard_size=16)
    write_raw(Path("agfd30k-raw"), only=config.only, scale=config.scale)
    there = preflight(CPU, replace(MODEL, files=()), only=config.only, scale=config.scale, shard_size=16)
    there = replace(there, models=replace(there.models, checks={}))
    unfilled = there.left
    assert unfilled == 0
    there.require()


def test_what_no_check_can_judge_is_said():
    said = list(preflight(limit=100).lines())[7:]
    assert said == []
    without = list(preflight(limit=100, without=("attribute", "face")).lines())[7:]
    assert len(without) == 2 and "no attribute check" in without[0] and "no face check" in without[1]


def test_a_number_of_processes_that_is_none_is_one_line(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "two")
    with pytest.raises(UserError, match="LOCAL_WORLD_SIZE='two': give it a whole number"):
        Rank.here(cpu=True)


def test_signatures_are_said_and_take_room(tmp_path):
    """Twice for each picture: in the raw build and in the release."""
    files = certificates.Files(tmp_path)
    signed = preflight(limit=100, signer=Signer.of_files(files.chain, files.key))
    assert list(signed.lines())[3].startswith("signed    by CN=Signer,O=Tests, until 20")
    needs = [sum(need for _, need, _ in each._disk()) for each in (signed, preflight(limit=100))]
    assert needs[0] - needs[1] == 200 * BYTES
