"""The builder's command inside this process, with stand-ins for the models: no launcher, no second interpreter."""

import contextlib
import io
import json
import signal
from pathlib import Path

from builder import generate


def build(folder, *arguments, load, checks):
    """Run the command with its raw and release folder in `folder`; returns what it printed. Raises where it fails."""
    places = ["--raw", str(folder / "agfd30k-raw"), "--out", str(folder / "agfd30k")]
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    said, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            status = generate.main([*arguments, *places], load=load, build_checks=checks)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if status:
        raise RuntimeError(errors.getvalue())
    return said.getvalue()


def nominal_model(folder):
    """A folder that can be named as a diffusers model with a safety checker of its own; nothing can load it."""
    made = Path(folder, "model")
    made.mkdir()
    (made / "model_index.json").write_text(json.dumps({"safety_checker": ["its", "own"]}))
    (made / "unet.safetensors").write_bytes(b"")
    return made
