"""Pictures signed with the user's own certificate, as C2PA says: that a model made the file, which one, and that no
byte of it was changed since.

The private key stays with the signer: no file, line, log or error of a build ever holds it. Nothing here uses the
network: there is no time stamp, so a signature is sound for as long as its certificate is valid.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from builder.common.errors import UserError
from builder.raw import provenance
from builder.raw.certificates import PROFILE, Chain, read
from builder.raw.signatures import MIME_TYPES, OFFLINE, State, c2pa_library, signature_of

SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {**OFFLINE, "verify_after_sign": False}}
"""A thumbnail would be a second copy of the picture; `agfd30k verify --signatures` reads what was signed."""
BYTES = 16_000
"""What a signature adds to a picture's file at most, as was measured: 3 KB by a key, 13 KB by a callback."""


class Callback:
    """A user's function that signs bytes; `failure` says in the thread that called it why it gave no signature.

    What it raises is told by its kind alone, since its words may be the key's. What ends a program, such as ^C, is kept
    and raised by `require_signature`: the library that calls this would drop it, and write a broken signature.
    """

    def __init__(self, function: Callable[[bytes], bytes]):
        self.function = function
        self._local = threading.local()

    @property
    def failure(self) -> str:
        return getattr(self._local, "failure", "")

    def require_signature(self) -> None:
        """Raise what the function has raised in this thread to end the program."""
        if end := getattr(self._local, "end", None):
            raise end

    def __call__(self, data: bytes) -> bytes:
        self._local.failure, self._local.end = "", None
        try:
            signature = self.function(data)
        except Exception as error:  # it is the user's own
            self._local.failure = f"the callback failed: {type(error).__name__}"
            return b""
        except BaseException as end:
            self._local.end = end
            return b""
        if not isinstance(signature, bytes) or not signature:
            self._local.failure = f"the callback gave {type(signature).__name__}, not the bytes of a signature"
            return b""
        return signature


class Signer:
    """Signs pictures' files, by a key in a file or by a callback. Safe to call from several threads.

    A blank picture is signed at once, to try it. Raises UserError where certificate and key are not fit for it.
    """

    def __init__(self, chain: Chain, key: bytes | Callback):
        library = c2pa_library()
        self.chain = chain
        self._callback = key if isinstance(key, Callback) else None
        try:
            if isinstance(key, Callback):
                algorithm = getattr(library.C2paSigningAlg, chain.algorithm.upper())
                native = library.Signer.from_callback(key, algorithm, chain.pem.decode("utf-8", errors="replace"))
            else:
                native = library.Signer.from_info(library.C2paSignerInfo(chain.algorithm, chain.pem, key, None))
            self._context = library.Context.from_dict(SETTINGS, signer=native)
        except library.C2paError:  # what it says of a key is not repeated
            raise UserError(f"{chain.where}: cannot be used to sign; {PROFILE}") from None
        self._try()

    @classmethod
    def of_files(cls, certificates: Path | str, key: Path | str) -> Signer:
        """Return the signer by a private key in a PEM file, which is read once."""
        chain = Chain(read(Path(certificates)), str(certificates))
        return cls(chain, chain.private_key(Path(key)))

    @classmethod
    def of_callback(cls, certificates: bytes, sign: Callable[[bytes], bytes]) -> Signer:
        """Return the signer by a function that signs bytes by a key, wherever that is kept.

        `certificates` are PEM, the signer's own first. By the kind of its key the function gives ECDSA (DER, or r and
        s) with the SHA-2 of the curve's size, Ed25519, or for RSA PSS with SHA-256 and a salt of 32 bytes. It is called
        from several threads.

            signer = Signer.of_callback(Path("chain.pem").read_bytes(), lambda data: vault.sign("faces", data))
        """
        return cls(Chain(certificates, "the certificate"), Callback(sign))

    def __str__(self) -> str:
        """Whose certificate it is, and until when."""
        return f"{self.chain.subject}, until {self.chain.until:%Y-%m-%d %H:%M} UTC"

    def sign(self, data: bytes, ending: str, manifest: dict[str, Any]) -> bytes:
        """Return a picture's file with its manifest, signed. Raises UserError where that fails."""
        self.chain.require_valid()
        library, signed = c2pa_library(), io.BytesIO()
        try:
            with library.Builder(manifest, context=self._context) as builder:
                builder.sign(MIME_TYPES[ending], io.BytesIO(data), signed)
        except library.C2paError as error:
            if self._callback:
                self._callback.require_signature()
            failure = self._callback.failure if self._callback else ""
            reason = failure or f"{' '.join(str(error).split())}; {PROFILE}"
            raise UserError(f"{self.chain.where}: no picture can be signed: {reason}") from None
        if self._callback:
            self._callback.require_signature()
        return signed.getvalue()

    def _try(self) -> None:
        """Sign a blank picture. Raises UserError where its signature would not be accepted."""
        blank = io.BytesIO()
        Image.new("RGB", (16, 16)).save(blank, format="PNG")
        signed = self.sign(blank.getvalue(), "png", provenance.manifest("blank", "none", "", "", ""))
        signature = signature_of(signed, "png")
        if signature.state is not State.UNTRUSTED:
            raise UserError(f"{self.chain.where}: its signatures would not be sound ({', '.join(signature.faults)})")
