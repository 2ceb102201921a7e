"""Signatures: a picture's file says who made it, nothing in it can be changed unseen, and the key stays secret."""

import hashlib
import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from builder.common.errors import UserError
from builder.raw import provenance
from builder.raw.shard_writer import encode
from builder.raw.signatures import State, c2pa_library, read_anchors, signature_of
from builder.raw.signing import BYTES, Signer
from tests.fixtures import certificates
from tests.fixtures.builds import picture_of

MANIFEST = provenance.manifest("a-picture", "someone/model", "c0ffee", "photo of a man", "drawing")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates.Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def signer(files):
    return Signer.of_files(files.chain, files.key)


def picture(ending="png", side=64):
    return encode(picture_of(3, side), ending, "someone/model c0ffee")


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
def test_a_signed_picture_has_the_same_pixels_and_mark_and_a_sound_signature(files, signer, ending):
    plain = picture(ending)
    signed = signer.sign(plain, ending, MANIFEST)
    assert np.array_equal(pixels(signed), pixels(plain)) and 0 < len(signed) - len(plain) < BYTES
    assert provenance.marked_model(Image.open(io.BytesIO(signed))) == "someone/model c0ffee"
    assert signature_of(plain, ending).state is State.UNSIGNED
    assert signature_of(signed, ending).state is State.UNTRUSTED
    trusted = signature_of(signed, ending, read_anchors(files.anchors))
    assert (trusted.state, trusted.signer, trusted.faults) == (State.TRUSTED, "Signer, Tests", ())


def test_another_authoritys_list_trusts_nobody(signer):
    signed = signer.sign(picture(), "png", MANIFEST)
    assert signature_of(signed, "png", certificates.Authority("Other").pem.decode()).state is State.UNTRUSTED


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
def test_any_changed_byte_of_the_picture_is_seen(files, signer, ending):
    """Bytes that were there before it was signed: of the manifest itself some only fill it up."""
    plain, anchors = picture(ending), read_anchors(files.anchors)
    signed = signer.sign(plain, ending, MANIFEST)
    for place in np.linspace(100, len(plain) - 24, 12, dtype=int):
        changed = bytearray(signed)
        changed[signed.index(plain[place : place + 16])] ^= 1
        assert signature_of(bytes(changed), ending, anchors).state is State.TAMPERED, place


def test_a_signature_moved_to_another_picture_is_seen(signer):
    """The manifest is one chunk of a PNG; cut out and put into another picture it fits no more."""
    signed, other = signer.sign(picture(), "png", MANIFEST), picture(side=65)
    at = signed.index(b"caBX") - 4
    length = 12 + int.from_bytes(signed[at : at + 4], "big")
    moved = other[:33] + signed[at : at + length] + other[33:]
    assert Image.open(io.BytesIO(moved)).size == (65, 65)
    assert signature_of(moved, "png").state is State.TAMPERED


def test_the_manifest_says_what_made_the_picture_and_keeps_the_prompt_to_itself(signer):
    signed = signer.sign(picture(), "png", MANIFEST)
    with c2pa_library().Reader("image/png", io.BytesIO(signed)) as reader:
        manifest = reader.get_active_manifest()
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    (action,) = assertions["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["softwareAgent"]) == (
        "c2pa.created",
        {"name": "someone/model", "version": "c0ffee"},
    )
    assert action["digitalSourceType"] == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert assertions["agfd30k.generation"] == {
        "model": "someone/model",
        "model_revision": "c0ffee",
        "prompt_sha256": hashlib.sha256(b"photo of a man").hexdigest(),
        "negative_prompt_sha256": hashlib.sha256(b"drawing").hexdigest(),
    }
    assert manifest["title"] == "a-picture" and "thumbnail" not in manifest and b"photo of a man" not in signed


@pytest.mark.parametrize("kind", certificates.KINDS)
def test_every_kind_of_key_signs(tmp_path, kind):
    files = certificates.Files(tmp_path, kind)
    signed = Signer.of_files(files.chain, files.key).sign(picture(), "png", MANIFEST)
    assert signature_of(signed, "png", read_anchors(files.anchors)).state is State.TRUSTED


def test_threads_sign_at_once(files, signer):
    anchors, plain = read_anchors(files.anchors), [picture(side=side) for side in range(40, 72)]
    with ThreadPoolExecutor(8) as pool:
        signed = list(pool.map(lambda data: signer.sign(data, "png", MANIFEST), plain))
    assert [np.array_equal(pixels(new), pixels(old)) for new, old in zip(signed, plain)] == [True] * 32
    assert {signature_of(data, "png", anchors).state for data in signed} == {State.TRUSTED}


# A callback in place of the key.


def test_a_callback_signs_in_place_of_the_key(files):
    calls = []
    signer = Signer.of_callback(
        files.chain.read_bytes(), lambda data: calls.append(1) or files.private.sign(data, ec.ECDSA(hashes.SHA256()))
    )
    signed = signer.sign(picture(), "png", MANIFEST)
    assert signature_of(signed, "png", read_anchors(files.anchors)).state is State.TRUSTED
    assert len(calls) == 2 and len(signed) - len(picture()) < BYTES  # a blank picture, then this one


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda data: {}["secret"], "the certificate: no picture can be signed: the callback failed: KeyError$"),
        (lambda data: None, "the certificate: no picture can be signed: the callback gave NoneType, not the bytes"),
        (
            lambda data: certificates.KINDS["P-256"]().sign(data, ec.ECDSA(hashes.SHA256())),
            r"the certificate: its signatures would not be sound \(.*claimSignature.mismatch",
        ),
    ],
)
def test_a_callback_that_does_not_sign_is_told_at_once(files, function, says, capfd):
    with pytest.raises(UserError, match=says):
        Signer.of_callback(files.chain.read_bytes(), function)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_ends_it_within_a_callback_too(files, end):
    """The library would drop it, and give a file with a broken signature."""
    ends = []

    def sign(data):
        if ends:
            raise end
        return files.private.sign(data, ec.ECDSA(hashes.SHA256()))

    signer = Signer.of_callback(files.chain.read_bytes(), sign)
    ends.append(1)
    with pytest.raises(end):
        signer.sign(picture(), "png", MANIFEST)
    ends.clear()
    assert signature_of(signer.sign(picture(), "png", MANIFEST), "png").state is State.UNTRUSTED


# What can be wrong with the files.


def refused(chain, key):
    with pytest.raises(UserError) as error:
        Signer.of_files(chain, key)
    text = str(error.value)
    assert "\n" not in text and "PRIVATE" not in text and error.value.__cause__ is None
    return text


def test_files_that_are_none_are_told(files, tmp_path):
    missing, garbage = tmp_path / "none.pem", tmp_path / "garbage.pem"
    garbage.write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    assert refused(missing, files.key) == f"{missing}: No such file or directory"
    assert refused(files.chain, missing) == f"{missing}: No such file or directory"
    assert refused(garbage, files.key).startswith(f"{garbage}: holds no certificate in PEM; C2PA wants")
    assert refused(files.chain, garbage) == f"{garbage}: holds no private key in PEM"
    assert refused(files.chain, files.chain) == f"{files.chain}: holds no private key in PEM"
    with pytest.raises(UserError, match=r"garbage\.pem: holds no certificates in PEM"):
        read_anchors(garbage)


def test_a_key_that_does_not_fit_or_is_encrypted_is_told(files, tmp_path):
    other, locked = tmp_path / "other.pem", tmp_path / "locked.pem"
    other.write_bytes(certificates.key_pem(certificates.KINDS["P-256"]()))
    locked.write_bytes(certificates.key_pem(files.private, b"password"))
    assert refused(files.chain, other) == f"{other}: is not the key of the first certificate in {files.chain}"
    assert refused(files.chain, locked).startswith(f"{locked}: the key is encrypted: decrypt it (`openssl pkey")


@pytest.mark.parametrize(
    ("issued", "says"),
    [
        ({"seconds": (-7200, -3600)}, "chain.pem: the certificate expired on 20"),
        ({"seconds": (3600, 7200)}, "chain.pem: the certificate is not valid before 20"),
        ({"extended": None}, "the certificate is invalid; C2PA wants the signer's certificate first"),
    ],
)
def test_a_certificate_that_is_not_fit_is_told(tmp_path, issued, says):
    files = certificates.Files(tmp_path, issued=issued)
    assert says in refused(files.chain, files.key)


def test_an_authority_cannot_sign_pictures_itself(tmp_path):
    authority = certificates.Authority()
    (tmp_path / "chain.pem").write_bytes(authority.pem)
    (tmp_path / "key.pem").write_bytes(certificates.key_pem(authority.key))
    assert "C2PA wants the signer's certificate first" in refused(tmp_path / "chain.pem", tmp_path / "key.pem")


def test_a_certificate_that_ends_meanwhile_ends_the_run_and_its_signatures_are_expired_not_tampered(tmp_path):
    files = certificates.Files(tmp_path, issued={"seconds": (-3600, 3)})
    signer = Signer.of_files(files.chain, files.key)
    signed = signer.sign(picture(), "png", MANIFEST)
    time.sleep(max(0, signer.chain.until.timestamp() - time.time()) + 1.1)
    assert signature_of(signed, "png", read_anchors(files.anchors)).state is State.EXPIRED
    with pytest.raises(UserError, match="the certificate expired on"):
        signer.sign(picture(), "png", MANIFEST)
    changed = bytearray(signed)
    changed[-60] ^= 1
    assert signature_of(bytes(changed), "png").state is State.TAMPERED


def test_the_key_stands_in_nothing_that_is_printed(files, signer):
    body = files.key.read_text().splitlines()[1]
    assert body not in f"{signer!r} {signer} {vars(signer)!r} {signer.chain!r}"


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
@pytest.mark.parametrize("order", [("chain", "key"), ("key", "chain")])
def test_a_key_beside_the_certificates_goes_into_no_picture(files, tmp_path, ending, order):
    """As the files of servers hold it; by key and by callback."""
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(getattr(files, name).read_bytes() for name in order))
    number = files.private.private_numbers().private_value.to_bytes(32, "big")
    by_callback = Signer.of_callback(
        both.read_bytes(), lambda data: files.private.sign(data, ec.ECDSA(hashes.SHA256()))
    )
    for signer in (Signer.of_files(both, files.key), by_callback):
        signed = signer.sign(picture(ending), ending, MANIFEST)
        assert signature_of(signed, ending).state is State.UNTRUSTED
        assert number not in signed and b"PRIVATE" not in signed and b"PRIVATE" not in signer.chain.pem
        assert "PRIVATE" not in repr(signer.chain)


def test_without_the_extra_it_says_what_to_install(files, monkeypatch):
    c2pa_library.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    assert refused(files.chain, files.key).startswith('signatures need the extra `sign`: pip install -e ".[sign]"')
    c2pa_library.cache_clear()
