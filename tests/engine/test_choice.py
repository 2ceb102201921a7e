"""`--engine`: this machine unless a cluster is asked for, and one line where Ray is missing."""

import sys

import pytest

from builder import verify
from builder.engine.choice import Kind, chosen
from tests.fixtures.builds import write_raw

MISSING = 'verify: Ray (--engine ray, or RAY_ADDRESS) needs the extra `ray`: pip install -e ".[ray]" '


@pytest.mark.parametrize(("kind", "address"), [(None, None), (None, ""), (Kind.HERE, None), (Kind.HERE, "host:1")])
def test_this_machine_unless_something_else_is_asked_for(monkeypatch, kind, address):
    monkeypatch.setenv("RAY_ADDRESS", address) if address is not None else monkeypatch.delenv("RAY_ADDRESS", False)
    assert chosen(kind) is None


@pytest.mark.parametrize(("options", "address"), [(["--engine", "ray"], ""), ([], "host:1")])
def test_without_ray_it_is_one_line(tmp_path, monkeypatch, capsys, options, address):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert verify.main([str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(MISSING) and said.count("\n") == 1


def test_with_an_address_and_this_machine_asked_for_ray_is_not_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", "host:1")
    write_raw(tmp_path / "raw", only=["base"], limit=4)
    assert verify.main([str(tmp_path / "raw"), "--engine", "here"]) == 0
    assert "4 rows, 0 faults" in capsys.readouterr().out
