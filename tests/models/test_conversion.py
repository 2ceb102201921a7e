"""Pickles become safetensors bit for bit, or are refused in one line; what else they hold never runs."""

import hashlib
import io
import json
import os
import pickle
import resource
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from builder import convert
from builder.common.errors import UserError
from builder.models import conversion
from builder.models.conversion import Limits, Pair, safetensors_name
from tests.fixtures import repositories, single_file
from tests.fixtures.repositories import Repositories

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Repositories(tmp_path_factory.mktemp("repositories"))


class Runs:
    """Unpickling it runs a shell's line, which makes a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def said(capsys, *arguments):
    """Run the command, which must fail; returns its one line."""
    assert convert.main([str(argument) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def assert_nothing_made(folder, *there):
    """Nothing lies in a folder but what was there: no half of a result, no temporary file."""
    assert {path.name for path in folder.iterdir()} == set(there)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert torch.equal(
            found[name].reshape(-1).view(torch.uint8), value.contiguous().reshape(-1).view(torch.uint8)
        ), name


# What is converted.


def test_a_folder(made, tmp_path, capsys):
    """A diffusers folder of pickles becomes one that the library reads from safetensors alone, the same weights."""
    folder = made.folder("realistic_vision")
    assert convert.main([str(folder), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for part in ("unet", "vae", "text_encoder", "safety_checker"):
        name = "diffusion_pytorch_model" if part in ("unet", "vae") else "model"
        path = tmp_path / "out" / part / f"{name}.safetensors"
        assert_equal(load_file(path), repositories.weights_of(part))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"equal bit for bit, sha256 {digest}" in printed
    assert "4 files converted, 514 tensors" in printed
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        ".safetensors",
        ".json",
        ".txt",
    }
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "out", use_safetensors=True)
    assert torch.equal(pipe.unet.conv_in.weight, repositories.pipeline().unet.conv_in.weight)
    assert pipe.safety_checker is not None
    assert_nothing_made(tmp_path, "out")


def test_a_transformers_folder(made, tmp_path):
    """The weights at the top of a folder without model_index.json are the model's; code beside them is left out."""
    folder = made.folder("checker_pickled")
    (tmp_path / "in").mkdir()
    for path in folder.iterdir():
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "modeling.py").write_text("raise SystemExit\n")
    torch.save({"lr": 1}, tmp_path / "in" / "training_args.bin")
    done = conversion.convert(tmp_path / "in", tmp_path / "out", print)
    assert [file.name for file in done.converted] == ["model.safetensors"]
    assert done.left_out == ("modeling.py", "training_args.bin")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("model.safetensors", "config.json", "preprocessor_config.json"),
    }


def test_shards(made, tmp_path):
    """An index of pickles becomes one of safetensors, by which the library finds every weight."""
    conversion.convert(made.folder("sharded_pickles"), tmp_path / "out", print)
    unet = tmp_path / "out" / "unet"
    assert {path.name for path in unet.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors.index.json",
        *(f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)),
    }
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "out", use_safetensors=True)
    assert_equal(dict(pipe.unet.state_dict()), repositories.weights_of("unet"))


def test_what_is_safetensors_already_is_kept(made, tmp_path):
    """Only pickles are converted, and those that lie beside their safetensors are not."""
    done = conversion.convert(made.folder("own_checker_bin"), tmp_path / "out", print)
    assert [file.source for file in done.converted] == ["safety_checker/pytorch_model.bin"]
    assert (tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    with pytest.raises(UserError, match="nothing to convert"):
        conversion.convert(made.folder("realistic_vision_pr"), tmp_path / "other", print)


def test_a_checkpoint(made, tmp_path, capsys):
    """Of a .ckpt its state_dict is taken; what else it holds is named."""
    path = made.folder("realistic_vision") / "Realistic_Vision_V2.0.ckpt"
    assert convert.main([str(path), str(tmp_path / "out.safetensors")]) == 0
    whole = single_file.weights(repositories.pipeline())
    halves = {name: value.half() if value.is_floating_point() else value for name, value in whole.items()}
    assert_equal(load_file(tmp_path / "out.safetensors"), halves)
    assert "left out, as no weights: global_step" in capsys.readouterr().out
    assert_nothing_made(tmp_path, "out.safetensors")


def test_every_bit(tmp_path):
    """Shared, sliced, transposed and odd tensors come out with the bits they have, NaNs and signs included."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    odd = torch.tensor([float("nan"), -0.0, float("-inf")])
    weights = {
        **{
            "whole": base,
            "alias": base,
            "slice": base[1:3, 2:],
            "transposed": base.T,
            "expanded": base[:1].expand(9, 6),
        },
        **{
            "odd": odd,
            "half": odd.half(),
            "bfloat": odd.bfloat16(),
            "scalar": torch.tensor(3),
            "none": torch.empty(0, 4),
        },
        **{"bool": torch.tensor([True, False]), "parameter": torch.nn.Parameter(base), "bytes": torch.arange(3).byte()},
    }
    for name, legacy in (("new.bin", False), ("legacy.pt", True)):
        torch.save(weights, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        conversion.convert(tmp_path / name, tmp_path / f"{name}.safetensors", print)
        found = load_file(tmp_path / f"{name}.safetensors")
        assert_equal(found, {name: value.detach() for name, value in weights.items()})


@pytest.mark.parametrize("change", ["value", "name", "dtype", "sign"])
def test_a_difference_is_found(tmp_path, change):
    """The comparison is one: whatever differs between pickle and result is told."""
    weights = {"a": torch.zeros(3), "b": torch.ones(2)}
    torch.save(weights, tmp_path / "a.bin")
    spoilt = {
        "value": {**weights, "b": torch.tensor([1, 1.0000001])},
        "name": {"a": weights["a"], "c": weights["b"]},
        "dtype": {**weights, "b": weights["b"].half()},
        "sign": {**weights, "a": torch.tensor([0, -0.0, 0])},
    }[change]
    save_file(spoilt, tmp_path / "a.safetensors")
    pair = Pair(tmp_path / "a.bin", tmp_path / "a.safetensors", "a.bin", "a.safetensors")
    with pytest.raises(UserError, match="differs from the pickle"):
        list(conversion._children("compare", [pair], Limits(1 << 30, 60)))


@pytest.mark.parametrize(
    ("pickled", "name"),
    [
        ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
        ("pytorch_model.bin", "model.safetensors"),
        ("pytorch_model.fp16.bin", "model.fp16.safetensors"),
        ("pytorch_model-00001-of-00002.bin", "model-00001-of-00002.safetensors"),
        ("pytorch_model.bin.index.json", "model.safetensors.index.json"),
        ("diffusion_pytorch_model.bin.index.fp16.json", "diffusion_pytorch_model.safetensors.index.fp16.json"),
        ("adapter_model.bin", "adapter_model.safetensors"),
    ],
)
def test_names(pickled, name):
    """The result has the names under which the libraries look for it."""
    assert safetensors_name(pickled) == name


# What is refused.


def evil_zip(path, proof):
    torch.save({"weight": torch.zeros(2), "more": Runs(proof)}, path)


def evil_legacy(path, proof):
    torch.save(Runs(proof), path, _use_new_zipfile_serialization=False)


def evil_pickle(path, proof):
    path.write_bytes(pickle.dumps({"state_dict": Runs(proof)}, protocol=2))


def evil_eval(path, proof):
    path.write_bytes(b"c__builtin__\neval\n(V__import__('os').system('touch %s')\ntR." % str(proof).encode())


@pytest.mark.parametrize("spoil", [evil_zip, evil_legacy, evil_pickle, evil_eval])
def test_code_never_runs(tmp_path, capsys, spoil):
    """A pickle that would run code is refused in one line, without effect and without a result."""
    spoil(tmp_path / "model.ckpt", tmp_path / "proof")
    line = said(capsys, tmp_path / "model.ckpt", tmp_path / "out.safetensors")
    assert line.startswith("convert: model.ckpt: holds code and not weights alone (")
    assert "none of it was run" in line
    assert_nothing_made(tmp_path, "model.ckpt")
    if spoil is not evil_eval:  # the pickle would really have done it
        with open(tmp_path / "model.ckpt", "rb") as file:
            pickle.load(file) if spoil is evil_pickle else torch.load(file, weights_only=False)
        assert (tmp_path / "proof").exists()


def test_code_in_a_folder(made, tmp_path, capsys):
    """One evil file among good ones, and there is no result."""
    folder = tmp_path / "in"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    torch.save({"weight": torch.zeros(2)}, folder / "unet" / "diffusion_pytorch_model-00001-of-00002.bin")
    evil_zip(folder / "unet" / "diffusion_pytorch_model-00002-of-00002.bin", tmp_path / "proof")
    line = said(capsys, folder, tmp_path / "out")
    assert "unet/diffusion_pytorch_model-00002-of-00002.bin: holds code" in line and "system" in line
    assert_nothing_made(tmp_path, "in")


def truncated(path):
    torch.save({"weight": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:20_000])


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def no_weights(path):
    torch.save({"lr": 1.0}, path)


def a_list(path):
    torch.save([torch.zeros(1)], path)


@pytest.mark.parametrize("spoil", [truncated, empty, text, no_weights, a_list])
def test_damaged(tmp_path, capsys, spoil):
    """What is no file of weights by name, or half of one, is told in one line."""
    spoil(tmp_path / "model.bin")
    line = said(capsys, tmp_path / "model.bin", tmp_path / "out.safetensors")
    assert line.startswith("convert: model.bin: ")
    assert_nothing_made(tmp_path, "model.bin")


def zip_bomb(path):
    """1.6 GB of zeros in a few megabytes."""
    held = io.BytesIO()
    torch.save({"weight": torch.zeros(1000)}, held)
    with zipfile.ZipFile(held) as small, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for name in small.namelist():
            if name.endswith("/data/0"):
                with bomb.open(name, "w", force_zip64=True) as file:
                    for _ in range(24):
                        file.write(bytes(1 << 26))
            else:
                bomb.writestr(name, small.read(name).replace(b"M\xe8\x03", b"J\x00\x00\x00\x18"))


def expanded(path):
    torch.save({"weight": torch.zeros(1).expand(4, 1 << 30)}, path)


@pytest.mark.parametrize("spoil", [zip_bomb, expanded])
def test_bombs(tmp_path, capsys, spoil):
    """A small file that would take all memory ends its child, not the machine, in one line."""
    spoil(tmp_path / "model.bin")
    line = said(capsys, tmp_path / "model.bin", tmp_path / "out.safetensors")
    assert "GB that a file of its size may; refused" in line
    assert_nothing_made(tmp_path, "model.bin")


def test_too_slow(tmp_path):
    """A child that does not end in time is ended."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.bin")
    with pytest.raises(UserError, match=r"a\.bin: not read within 0 s"):
        conversion.convert(tmp_path / "a.bin", tmp_path / "out.safetensors", print, Limits(1 << 30, 0.05))
    assert_nothing_made(tmp_path, "a.bin")


def test_disk_full(tmp_path):
    """A result that the disk does not take is one line, and nothing is left of it."""
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "a.bin")
    done = subprocess.run(
        [sys.executable, ROOT / "builder" / "convert.py", "a.bin", "out.safetensors"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "a.bin: cannot be written as safetensors: " in line and "too large" in line
    assert_nothing_made(tmp_path, "a.bin")


def test_no_room(tmp_path, monkeypatch):
    """Too little space is told with the numbers before anything is read."""
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "a.bin")
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda path: conversion.shutil._ntuple_diskusage(9, 8, 1))
    with pytest.raises(UserError, match=r"0\.0 GB are free, and the result needs 0\.0 GB"):
        conversion.convert(tmp_path / "a.bin", tmp_path / "out.safetensors", print)


@pytest.mark.parametrize(
    ("model", "out", "line"),
    [
        ("SG161222/Realistic_Vision_V2.0", "out", "`hf download SG161222/Realistic_Vision_V2.0 --local-dir "),
        ("a.safetensors", "out.safetensors", "is safetensors already"),
        ("a.onnx", "out.safetensors", "is none of .bin, .ckpt, .pt, .pth, nor a folder"),
        ("nowhere.ckpt", "out.safetensors", "there is no such file or folder"),
        ("a.bin", "out", "a file, whose name ends in .safetensors"),
        ("a.bin", "a.safetensors", "is there already; nothing is replaced"),
        ("a.bin", "no/out.safetensors", "there is no such folder"),
        ("plain", "out", "neither a diffusers nor a transformers folder"),
        ("model", "full", "is there already; the result goes to a folder that is new or empty"),
        ("model", "model", "is there already"),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, capsys, model, out, line):
    """What cannot be converted, or not to there, is one line that says why; a model of the Hub is not downloaded."""
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "model", "full"):
        Path(name).mkdir()
    Path("full", "file").touch()
    Path("model", "config.json").write_text("{}")
    torch.save({"weight": torch.zeros(1)}, "model/pytorch_model.bin")
    torch.save({"weight": torch.zeros(1)}, "a.bin")
    save_file({"weight": torch.zeros(1)}, "a.safetensors")
    Path("a.onnx").touch()
    before = sorted(Path().rglob("*"))
    assert line in said(capsys, model, out)
    assert sorted(Path().rglob("*")) == before


def test_an_index_that_names_what_is_not_there(made, tmp_path):
    """An index is not carried over with weights that nobody has."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model-00001-of-00002.bin")
    index = {"weight_map": {"weight": "pytorch_model-00001-of-00002.bin", "more": "../secret.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"names \.\./secret\.bin, which is not there"):
        conversion.convert(folder, tmp_path / "out", print)
    assert_nothing_made(tmp_path, "in")


def test_an_old_torch():
    """A torch whose weights_only has known holes does not read pickles."""
    for installed in ("2.6.0", "2.9.1+cu130", "1.13"):
        with pytest.raises(UserError, match="too old to read a pickle safely"):
            conversion.require_torch(installed)
    for installed in ("2.10.0", "2.13.0+cpu", "3.0.0"):
        conversion.require_torch(installed)


# The child.

TRIES = """
import os, socket, subprocess, sys
from builder.models import unpickling
tried = {
    "socket": lambda: socket.socket(),
    "shell": lambda: os.system("touch proof"),
    "process": lambda: subprocess.run(["touch", "proof"]),
    "fork": lambda: os.fork(),
    "spawn": lambda: os.posix_spawn("/bin/touch", ["touch", "proof"], {}),
    "write": lambda: open("proof", "w"),
    "append": lambda: open("kept", "a"),
    "remove": lambda: os.remove("kept"),
    "rename": lambda: os.rename("kept", "proof"),
    "read": lambda: open("kept").read(),
}
unpickling.lock()
try:
    tried[sys.argv[1]]()
except PermissionError as error:
    assert "not in here" in str(error)
    print("refused")
else:
    print("done")
"""


@pytest.mark.parametrize(
    "deed", ["socket", "shell", "process", "fork", "spawn", "write", "append", "remove", "rename", "read"]
)
def test_the_child_can_do_nothing_but_read(tmp_path, deed):
    """Even code that ran in the child could open no socket, start nothing and change no file through Python."""
    (tmp_path / "kept").write_text("kept")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRIES, deed]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["done" if deed == "read" else "refused"]
    assert (tmp_path / "kept").read_text() == "kept"
    assert_nothing_made(tmp_path, "kept")


LEAVES = """
import os, socket, sys
from builder.models import unpickling
before = os.readlink("/proc/self/ns/net")
unpickling.leave_the_network()
if os.readlink("/proc/self/ns/net") == before:
    print("not allowed")
else:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
        print("connected")
    except OSError:
        print("no network")
"""


def test_the_child_leaves_the_network():
    """Where the system allows it, not even the loopback interface can be reached from the child."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", LEAVES, str(server.getsockname()[1])]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    if done.stdout.strip() == "not allowed":
        pytest.skip("this system gives no network namespace")
    assert done.stdout.strip() == "no network"


def test_the_child_knows_no_secrets(monkeypatch):
    """No token, no home folder, and no switch by which torch would load code all the same."""
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "HOME"):
        monkeypatch.setenv(name, "secret")
    environment = conversion._environment()
    assert "secret" not in environment.values() and environment["HF_HUB_OFFLINE"] == "1"


def test_torchs_switch_has_no_effect(tmp_path, monkeypatch, capsys):
    """The environment cannot talk the child into running code."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    evil_zip(tmp_path / "model.ckpt", tmp_path / "proof")
    assert "holds code" in said(capsys, tmp_path / "model.ckpt", tmp_path / "out.safetensors")
    assert_nothing_made(tmp_path, "model.ckpt")
