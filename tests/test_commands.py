"""The command line: every command starts at once, explains itself, and tells what is wrong with its flags in a line."""

import dataclasses
import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from builder import __main__ as agfd30k
from builder import upload
from builder.common import cli
from builder.common.address import Place
from builder.dataset import packing
from builder.generate import generate
from builder.generation.worker import GenerateConfig
from builder.hub.publisher import PublishConfig
from builder.lint import main as lint
from builder.models.identity import Source
from builder.plan.plan import SHARD_SIZE
from builder.raw.build import RawBuild
from tests.fixtures import builds
from tests.fixtures.builds import own_table, write_raw
from tests.fixtures.scripts import load

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
NOTE = "note: statistics: the viewer shows no statistics of a split of one row: fruit/test\n"
NAMES = [command.name for command in agfd30k.COMMANDS]
HELP_AND_WHAT_WAS_IMPORTED = """
import sys
from builder import __main__
status = __main__.main([*sys.argv[1:], "--help"])
heavy = {"torch", "datasets", "numpy", "pyarrow", "huggingface_hub", "PIL", "fsspec"}
print(*sorted(heavy & {*sys.modules}), file=sys.stderr)
sys.exit(status)
"""


def python(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT)


def error(capsys, *arguments):
    """The one line that a wrong command line ends in; nothing else is printed, and the exit status is 2."""
    assert agfd30k.main(arguments) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1
    return written.err.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A raw build and its release; preview pictures, and none is missing."""
    path = tmp_path_factory.mktemp("commands")
    table, spec = own_table(path)
    write_raw(path / "raw", spec, table.read_text())
    packing.pack(RawBuild.open(path / "raw"), path / "fruit")
    return path


# Help.


@pytest.mark.parametrize("command", [[], *([name] for name in NAMES)])
def test_help_has_an_example_and_imports_nothing_heavy(command):
    done = python("-c", HELP_AND_WHAT_WAS_IMPORTED, *command)
    assert (done.returncode, done.stderr) == (0, "\n")
    assert done.stdout.startswith(f"Usage: {' '.join(['agfd30k', *command])}")
    assert f"example: agfd30k {command[0] if command else 'generate'}" in done.stdout
    assert "\x1b" not in done.stdout and max(map(len, done.stdout.splitlines())) <= 90


@pytest.mark.parametrize("command", agfd30k.COMMANDS, ids=NAMES)
def test_help_explains_every_flag_and_shows_its_default(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert command.run(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, parameter in inspect.signature(command.work, eval_str=True).parameters.items():
        if name == "context":
            continue
        (info,) = parameter.annotation.__metadata__
        assert info.help in shown, name
        default = info.show_default if isinstance(info.show_default, str) else parameter.default
        if default is parameter.empty:
            assert f"{info.help} [required]" in shown
        elif default is not None and default is not False:
            assert f"{info.help} [default: {f'({default})' if default is info.show_default else default}]" in shown


def test_help_of_all_lists_every_command_in_a_sentence(capsys):
    assert agfd30k.main(["-h"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{command.name} {command.summary}" in shown for command in agfd30k.COMMANDS)
    assert agfd30k.main([]) == 2 and " ".join(capsys.readouterr().out.split()) == shown


def test_the_version_is_the_packages(capsys):
    assert agfd30k.main(["--version"]) == 0
    assert capsys.readouterr().out == f"agfd30k {version('agfd30k')}\n"


def test_a_commands_defaults_are_those_of_its_stage():
    """Typed twice, so that --help needs no stage."""
    for work, config in ((generate, GenerateConfig), (upload.upload, PublishConfig)):
        flags = inspect.signature(work).parameters
        for field in dataclasses.fields(config):
            if field.name in flags and field.default is not dataclasses.MISSING:
                default = flags[field.name].default
                default = default.folder if isinstance(default, Place) else default
                assert (default or None) == (field.default or None), field.name
    assert inspect.signature(generate).parameters["shard_size"].default == SHARD_SIZE


def test_the_reference_is_current():
    """`make docs` writes it anew."""
    commands = load("docs/commands.py")
    assert commands.FILE.read_text(encoding="utf-8") == commands.reference()


# What is wrong with the arguments.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["relase"], "agfd30k: no such command 'relase'. Did you mean 'release'?"),
        (["xyz"], "agfd30k: no such command 'xyz'; `agfd30k --help` says what there is"),
        (["--versoin"], "agfd30k: no such option: --versoin; did you mean --version?"),
        (["release", "--rwa", "x"], "release: no such option: --rwa; did you mean --raw?"),
        (["verify", "-x"], "verify: no such option: -x; `agfd30k verify --help` says what there is"),
        (["generate", "--limit"], "generate: option '--limit' requires an argument; `agfd30k generate --help` says"),
        (["generate", "--dry-run=1"], "generate: option '--dry-run' does not take a value; `agfd30k generate --help`"),
        (["generate", "--scale", "2"], "generate: --scale: must be a number above 0 and at most 1, got '2'"),
        (["generate", "--scale", "nan"], "generate: --scale: must be a number above 0 and at most 1, got 'nan'"),
        (["generate", "--limit", "0"], "generate: --limit: must be a whole number, 1 or more, got '0'"),
        (["generate", "--image-format", "gif"], "generate: --image-format: 'gif' is not one of 'png', 'webp', 'jpg'"),
        (["judge", "--seed", "x"], "judge: --seed: must be a whole number, got 'x'"),
        (["calibrate", "raw"], "calibrate: missing argument 'judgements'; `agfd30k calibrate --help` says"),
        (["calibrate", "a", "b", "--target", "-1"], "calibrate: --target: must be a number from 0 to 1, got '-1'"),
        (["upload", "agfd30k"], "upload: missing option '--repo-id'; `agfd30k upload --help` says what there is"),
        (["upload", "agfd30k", "--repo-id", "mine"], "upload: --repo-id: must be owner/name, got 'mine'"),
        (["report", "a", "b"], "report: got unexpected extra argument(s) (b); `agfd30k report --help` says what"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_to_do(arguments, says, capsys):
    assert error(capsys, *arguments).startswith(says)


def test_an_unknown_feature_is_told_with_those_of_its_attribute(capsys):
    says = error(capsys, "generate", "--only", "occlusion/scarf", "--dry-run")
    features = "only_glasses, only_mask, only_makeup, only_hands, complex"
    assert says == f"generate: --only occlusion/scarf: no such feature (occlusion has: {features})"


def test_only_takes_commas_and_repetitions_alike(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plans = []
    for arguments in (["age,occlusion/only_mask", "hair"], ["age", "occlusion/only_mask, hair"]):
        flags = [flag for word in arguments for flag in ("--only", word)]
        assert agfd30k.main(["generate", *flags, "--model", "preview", "--limit", "20", "--dry-run"]) == 0
        plans.append(capsys.readouterr().out)
    assert plans[0] == plans[1] and "only_mask" in plans[0] and "only_glasses" not in plans[0] and "hair" in plans[0]
    for nothing in ("", "age,"):  # nothing is not everything
        assert error(capsys, "generate", "--dry-run", "--only", nothing).startswith("generate: --only : no such")


# How it is started, and how it ends.


def test_every_way_to_start_a_command_is_the_same(folder):
    """As one command, as a module, and as a file, which puts builder/ first on the path."""
    for name in NAMES:
        ways = (["-m", "builder", name], ["-m", f"builder.{name}"], [str(ROOT / f"builder/{name}.py")])
        shown = [python(*way, "--help", cwd=folder) for way in ways]
        assert [done.returncode for done in shown] == [0, 0, 0], shown
        assert len({done.stdout for done in shown}) == 1 and shown[0].stdout.startswith(f"Usage: agfd30k {name} ")
    for way in (["-m", "builder", "lint"], ["-m", "builder.lint"], [str(ROOT / "builder/lint.py")]):
        done = python(*way, "fruit", "--allow-preview", cwd=folder)
        assert (done.returncode, done.stdout) == (0, f"{NOTE}fruit: no faults\n"), done.stderr


@pytest.mark.parametrize("name", ["builder.spec.table", "builder.common.cli", "builder.hub"])
def test_a_library_module_is_no_command(name):
    done = python("-m", name)
    says = f"{name}: part of the library, not a command; `agfd30k --help` lists the commands\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", says)


def test_a_command_ends_with_the_status_of_its_work(capsys):
    def stop():
        raise KeyboardInterrupt

    def fail():
        raise OSError(28, "No space left on device", "page.html")

    def three() -> int:
        return 3

    assert cli.Command(three, [], "").run([]) == 3 and capsys.readouterr() == ("", "")
    assert cli.Command(stop, [], "stopped, nothing was written").run([]) == 130
    assert capsys.readouterr() == ("", "stop: stopped, nothing was written\n")
    assert cli.Command(fail, [], "").run([]) == 2
    assert capsys.readouterr() == ("", "fail: [Errno 28] No space left on device: 'page.html'\n")


def test_a_commands_standins_reach_it():
    """What the tests put in the place of models."""
    kept = []

    def work(context: cli.typer.Context):
        kept.append(context.obj)

    assert cli.Command(work, []).run([], obj=("load", "checks")) == 0 and kept == [("load", "checks")]


# lint.


def test_lint_tells_a_sound_release_from_one_with_faults_and_from_none(folder, tmp_path, capsys):
    """Exit status 0, 1 and 2."""
    arguments = [str(folder / "fruit"), "--thorough"]
    assert lint([*arguments, "--allow-preview"]) == 0
    assert capsys.readouterr() == (f"{NOTE}{folder / 'fruit'}: no faults\n", "")
    assert lint(arguments) == 1
    fault, last = capsys.readouterr().out.splitlines()
    assert fault.startswith("preview: these are preview pictures") and last == f"{folder / 'fruit'}: a fault"
    assert lint([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path}: 2 faults"
    assert lint([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith(f"lint: {tmp_path / 'nowhere'}: there is no such folder; make a release")
    assert lint([str(folder / "raw")]) == 2
    assert f"a raw build, not a release; check it with `agfd30k verify {folder / 'raw'}`" in capsys.readouterr().err


def test_lint_lets_features_lack_pictures_only_where_it_is_told_to(tmp_path, monkeypatch, capsys):
    model = Source("hub", "someone/model", "someone/model", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.setattr(builds, "SOURCE", model)
    table, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, table.read_text(), scale=0.5)
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "half")
    assert lint([str(tmp_path / "half")]) == 1
    assert "quotas: 2 features lack pictures" in capsys.readouterr().out
    assert lint([str(tmp_path / "half"), "--allow-incomplete"]) == 0
