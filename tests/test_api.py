"""The Python API: lazy, usable in threads, and what was set before is set again."""

import signal
import subprocess
import sys
import threading

import pytest

import builder
import builder.generate
from builder import RawBuild, UserError, generate, lint, load_spec, pack, publish
from builder.generation.process import Stop
from builder.raw import build as raw_build

pytestmark = pytest.mark.process
SMALL = {"model": "preview", "only": ("base",), "limit": 2}


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, builder; print([m for m in ('torch', 'numpy', 'datasets', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_name_is_there():
    assert [name for name in builder.__all__ if getattr(builder, name, None) is None] == []
    with pytest.raises(AttributeError, match="has no attribute 'make'"):
        _ = builder.make


def test_the_commands_do_not_hide_the_functions():
    assert callable(builder.generate) and callable(builder.lint)


def test_a_build_in_a_thread_leaves_the_signals_alone(tmp_path):
    before, raw = handlers(), []
    work = threading.Thread(target=lambda: raw.append(generate(tmp_path / "raw", **SMALL)))
    work.start()
    work.join()
    assert handlers() == before and raw[0].unfinished() == []


def test_a_build_puts_the_signals_back_and_goes_on_where_it_ended(tmp_path):
    signal.signal(signal.SIGTERM, lambda *_: None)
    before = handlers()
    generate(tmp_path / "raw", **SMALL)
    raw = generate(tmp_path / "raw", **{**SMALL, "limit": 3})
    assert handlers() == before
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    release = pack(raw, tmp_path / "out")
    assert lint(release.folder, allow_preview=True) == [] != lint(release.folder)


def test_what_is_wrong_is_an_error_and_no_exit(tmp_path):
    for call in (
        lambda: load_spec(tmp_path / "none.toml"),
        lambda: generate(tmp_path / "raw", model="no/such/model/at/all"),
        lambda: generate(tmp_path / "raw", only=("nothing",)),
        lambda: generate(tmp_path / "raw", only="occlusion"),
        lambda: generate(tmp_path / "raw", model="preview", image_format="gif"),
        lambda: generate(tmp_path / "raw", model="preview", batch_size=0),
        lambda: generate(tmp_path / "raw", model="preview", limit=-1),
        lambda: generate(tmp_path / "raw", model="preview", scale=2),
        lambda: publish(tmp_path / "out", "nobody"),
        lambda: publish(tmp_path / "out", "you/faces", create_pr=True, public=True),
        lambda: RawBuild.open(tmp_path),
        lambda: pack(tmp_path, tmp_path / "out"),
    ):
        with pytest.raises(UserError):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_release_reads_the_recipe_once(tmp_path, monkeypatch):
    raw = generate(tmp_path / "raw", **SMALL)
    reads = []
    parse = raw_build.BuildRecipe.parse
    monkeypatch.setattr(raw_build.BuildRecipe, "parse", lambda text: reads.append(text) or parse(text))
    pack(raw.folder, tmp_path / "out")
    assert len(reads) == 1


def test_the_second_interrupt_is_what_it_was_before():
    """In a notebook an exception, which ends the cell and not the session."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop and stop.signal == signal.SIGINT
        stop.since -= 2  # launchers repeat the first one
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
