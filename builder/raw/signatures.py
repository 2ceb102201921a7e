"""What a picture's signature (C2PA) says: who signed it is trusted or not, and whether it was changed since."""

from __future__ import annotations

import functools
import io
import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from builder.common.errors import UserError, printable

MIME_TYPES = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}
MAGIC = {"png": b"\x89PNG", "webp": b"RIFF", "jpg": b"\xff\xd8\xff"}
"""How the files begin."""
OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
"""Nothing is asked of anyone: no manifest that lies elsewhere, no list of certificates that were taken back."""
UNTRUSTED, EXPIRED = "signingCredential.untrusted", "signingCredential.expired"
"""What C2PA calls the faults that say nothing of the file itself."""


class State(StrEnum):
    """What can be said of a picture's signature; `EXPIRED` and `UNTRUSTED` ones fit the file all the same."""

    TRUSTED = "trusted"
    UNTRUSTED = "not trusted"
    EXPIRED = "expired"
    TAMPERED = "tampered"
    UNSIGNED = "unsigned"


@dataclass(frozen=True)
class Signature:
    """A picture's signature: its state, by whose certificate, and what is wrong with it in C2PA's words."""

    state: State
    signer: str = ""
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What it says, to follow the picture's name."""
        if self.state is State.UNSIGNED:
            return "is not signed"
        if self.state is State.TAMPERED:
            why = ", ".join(fault for fault in self.faults if fault not in (UNTRUSTED, EXPIRED))
            by = f"was changed after it was signed by {self.signer}" if self.signer else "has a damaged signature"
            return f"{by} ({why})"
        return f"is signed by {self.signer}: {self.state}"


def counted(signatures: Counter[State], is_trust_asked: bool) -> str:
    """Return a line of how many pictures have which signature."""
    trusted, untrusted = signatures[State.TRUSTED], signatures[State.UNTRUSTED]
    trust = f"{trusted:,} trusted, {untrusted:,} not" if is_trust_asked else "whom to trust, --trust says"
    rest = (State.EXPIRED, State.TAMPERED, State.UNSIGNED)
    parts = [f"{trusted + untrusted:,} valid ({trust})", *(f"{signatures[state]:,} {state}" for state in rest)]
    return f"signatures: {', '.join(parts)}"


@functools.cache
def c2pa_library() -> Any:
    """Return the library that signs and reads signatures. Raises UserError where it is not installed."""
    try:
        import c2pa
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UserError(f'signatures need the extra `sign`: pip install -e ".[sign]" ({error})') from None
    return c2pa


def is_installed() -> bool:
    """Return True where signatures can be made and read."""
    try:
        c2pa_library()
    except UserError:
        return False
    return True


def read_anchors(path: Path) -> str:
    """Return a list of certificates to trust, PEM. Raises UserError for any other file."""
    c2pa_library()
    from cryptography import x509

    try:
        text = path.read_bytes()
        x509.load_pem_x509_certificates(text)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path}: holds no certificates in PEM") from None
    return text.decode("utf-8", errors="replace")


def ending_of(data: bytes) -> str | None:
    """Return the ending that a picture's file should have, by its first bytes; None for other files."""
    return next((ending for ending, magic in MAGIC.items() if data.startswith(magic)), None)


def signature_of(data: bytes, ending: str, anchors: str = "") -> Signature:
    """Return what the signature in a picture's file says; `anchors` are certificates to trust, PEM."""
    library, mime = c2pa_library(), MIME_TYPES[ending]
    try:
        reader = library.Reader.try_create(mime, io.BytesIO(data), context=_context(anchors))
        if reader is None:
            return Signature(State.UNSIGNED)
        with reader:
            return _signature(json.loads(reader.json()))
    except (library.C2paError, ValueError) as error:
        return Signature(State.TAMPERED, faults=(printable(" ".join(str(error).split())) or "not readable",))


@functools.cache
def _context(anchors: str) -> Any:
    """Return how the library reads: that is the same for every picture."""
    settings: dict[str, Any] = {"verify": {**OFFLINE, "verify_trust": True}}
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa_library().Context.from_dict(settings)


def _signature(report: dict[str, Any]) -> Signature:
    """Return what the library's report of a file says."""
    results = report.get("validation_results", {}).get("activeManifest", {})
    faults = tuple(dict.fromkeys(str(fault["code"]) for fault in results.get("failure", [])))
    info = report.get("manifests", {}).get(report.get("active_manifest"), {}).get("signature_info", {})
    signer = printable(", ".join(str(info[key]) for key in ("common_name", "issuer") if info.get(key)))
    if not results or not {UNTRUSTED, EXPIRED}.issuperset(faults):
        return Signature(State.TAMPERED, signer, faults)
    state = State.EXPIRED if EXPIRED in faults else State.UNTRUSTED if faults else State.TRUSTED
    return Signature(state, signer, faults)
