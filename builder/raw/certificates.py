"""A certificate chain to sign with and its private key, as a user's files hold them, and what is wrong with them."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from builder.common.errors import UserError
from builder.raw.signatures import c2pa_library

PROFILE = (
    "C2PA wants the signer's certificate first, then those that issued it, and of the first: not self-signed, no "
    "authority, key usage digital signature, extended key usage such as emailProtection"
)
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Chain:
    """The signer's certificate and those that issued it; `where` is what errors call them.

    `source` is PEM, of which nothing but the certificates is used: files that servers are given hold the key as well.
    Raises UserError for one that cannot be used now.
    """

    source: InitVar[bytes]
    where: str
    pem: bytes = field(init=False, repr=False)

    def __post_init__(self, source: bytes) -> None:
        c2pa_library()
        object.__setattr__(self, "pem", self._certificates(source))
        _ = self.algorithm
        self.require_valid()

    def _certificates(self, source: bytes) -> bytes:
        """Return the certificates alone, as PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        try:
            certificates = x509.load_pem_x509_certificates(source)
        except ValueError:
            raise UserError(f"{self.where}: holds no certificate in PEM; {PROFILE}") from None
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)

    @cached_property
    def own(self) -> Any:
        """The signer's own certificate, the first."""
        from cryptography import x509

        return x509.load_pem_x509_certificates(self.pem)[0]

    @property
    def until(self) -> datetime:
        """When the signer's certificate ends."""
        until: datetime = self.own.not_valid_after_utc
        return until

    @property
    def subject(self) -> str:
        """Whose certificate it is."""
        return str(self.own.subject.rfc4514_string())

    @cached_property
    def algorithm(self) -> str:
        """C2PA's name of the algorithm for the certificate's key."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

        key = self.own.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
            return CURVES[key.curve.name]
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            return "ps256"
        if isinstance(key, ed25519.Ed25519PublicKey):
            return "ed25519"
        raise UserError(f"{self.where}: C2PA signs by keys P-256, P-384, P-521, RSA from 2048 bits and Ed25519 only")

    def require_valid(self) -> None:
        """Raise UserError where the certificate is not valid at this moment."""
        begin, now = self.own.not_valid_before_utc, datetime.now(UTC)
        if now > self.until:
            raise UserError(f"{self.where}: the certificate expired on {self.until:%Y-%m-%d %H:%M} UTC")
        if now < begin:
            raise UserError(f"{self.where}: the certificate is not valid before {begin:%Y-%m-%d %H:%M} UTC")

    def private_key(self, path: Path) -> bytes:
        """Return the key in a PEM file as PKCS #8. Raises UserError unless it is the key of the certificate.

        Nothing that the file holds is repeated.
        """
        from cryptography.hazmat.primitives import serialization

        pem = read(path)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            raise UserError(
                f"{path}: the key is encrypted: decrypt it (`openssl pkey -in KEY -out PLAIN`), or sign by a callback "
                "from Python"
            ) from None
        except Exception:  # the parsers of keys raise anything
            raise UserError(f"{path}: holds no private key in PEM") from None
        encoding, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        if key.public_key().public_bytes(encoding, spki) != self.own.public_key().public_bytes(encoding, spki):
            raise UserError(f"{path}: is not the key of the first certificate in {self.where}")
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, *plain)


def read(path: Path) -> bytes:
    """Return a file's bytes. Raises UserError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
