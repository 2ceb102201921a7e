"""Errors in one line that is not too long: the beginning, which says where, and the end, which says what to do."""

import pytest

from builder import calibrate, release, report, upload, verify
from builder.common import cli
from builder.common.errors import MOST, UserError, shortened
from builder.generate import main as generate
from builder.lint import main as lint

LONG = "x" * 200
PATH = "/".join(["no", *[LONG] * 15])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (verify.main, [PATH]),
        (release.main, ["--raw", PATH]),
        (lint, [PATH]),
        (report.main, [PATH]),
        (upload.main, [PATH, "--repo-id", "a/b", "--dry-run"]),
        (upload.main, [PATH, "--repo-id", LONG * 9]),
        (generate, ["--only", ",".join([LONG] * 50), "--model", "preview"]),
        (generate, ["--spec", PATH]),
        (generate, ["--model", PATH]),
        (generate, ["--without", LONG * 20]),
        (generate, [f"--{LONG}{LONG}"]),
        (generate, ["--limit", "9" * 4000 + "x"]),
        (calibrate.main, [PATH]),
    ],
)
def test_whatever_is_named_the_line_stays_short(tmp_path, monkeypatch, capsys, command, arguments):
    monkeypatch.chdir(tmp_path)
    assert command(arguments) == 2
    said = capsys.readouterr().err
    assert said and all(len(line) <= MOST for line in said.splitlines()) and "Traceback" not in said


def test_a_long_table_of_unknown_keys_is_told_in_short_lines(tmp_path, capsys):
    path = tmp_path / "table.toml"
    path.write_text("".join(f"{LONG}{number} = 1\n" for number in range(40)))
    assert generate(["--spec", str(path)]) == 2
    said = capsys.readouterr().err
    assert all(len(line) <= MOST for line in said.splitlines())


def test_the_middle_goes_and_both_ends_stay():
    """A path, or any other long word, loses its own middle first: the sentence around it stays whole."""
    line = shortened(f"/a{LONG * 5}/recipe.json: is wrong; remove /a{LONG * 5}/recipe.json")
    assert line.startswith("/axx") and "/recipe.json: is wrong; remove /axx" in line and line.endswith("xx/recipe.json")
    line = shortened("recipe.json: " + "word " * 200 + "is wrong; remove it")
    assert len(line) == MOST and line.startswith("recipe.json: ") and line.endswith(" is wrong; remove it")
    assert shortened("short\n" + LONG * 5).splitlines()[0] == "short"


def test_every_line_of_an_error_is_shortened(capsys):
    def fail():
        raise UserError(f"{'a b ' * 100}: wrong\n{'c d ' * 100}; mend it")

    assert cli.status("release", fail) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert len(first) == len(second) == MOST and second.endswith("; mend it") and first.startswith("release: ")
