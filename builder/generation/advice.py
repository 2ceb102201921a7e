"""What to do about a model that cannot be had: said by the command, after the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from builder.common.errors import UserError
from builder.models import faults, source
from builder.models.faults import ModelError

ADVICE: dict[type[ModelError], str] = {
    faults.NotThere: "check the name; for a private one log in first (hf auth login)",
    faults.NoModel: "check the path, or choose another one",
    faults.NoRevision: "name a branch, tag, commit or refs/pr/N that is there",
    faults.Gated: "accept its terms on its page there, and log in (hf auth login)",
    faults.WrongToken: "log in again (hf auth login), or unset HF_TOKEN",
    faults.Unreachable: "try again with network, or give a local folder",
    faults.Interrupted: "run the same command again: what came in is kept",
    faults.NoSpace: "make room, or set HF_HOME to a larger disk, and run again",
    faults.NoCache: "set HF_HOME to a folder that can be written to",
    faults.Pickled: "another revision may have safetensors (owner/name@refs/pr/N), or make them on purpose from a "
    "download (agfd30k convert)",
    faults.Ambiguous: "name one in the table ([recipe] file), or give a downloaded file",
    faults.Incomplete: "choose another revision or model",
    faults.WrongKind: "choose another model",
    faults.Damaged: "remove the file and get it again (what lies in the Hub's cache is downloaded anew)",
}
INSTEAD = {
    source.MODEL: "or use --model preview",
    source.ATTRIBUTE_CHECK: "or leave the check out on purpose (--without attribute)",
    source.FACE_CHECK: 'or use detector = "yunet", or leave the check out on purpose (--without face)',
    source.SAFETY_CHECKER: "or name another one (--safety-checker)",
    source.CONFIG: "or say what is in the file (--model-config FOLDER)",
}


@contextmanager
def given() -> Iterator[None]:
    """Add to a model's fault what can be done about it."""
    try:
        yield
    except ModelError as error:
        instead = INSTEAD.get(error.role)
        raise UserError(f"{error}: {ADVICE[type(error)]}" + (f", {instead}" if instead else "")) from error
