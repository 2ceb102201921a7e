"""`generate --sign-certificate --sign-key`: every picture is signed where it is written, and the key goes nowhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder import RawBuild, Signer, generate
from builder import __main__ as agfd30k
from tests.fixtures import certificates

ROOT = Path(__file__).parents[2]
COMMON = ["--model", "preview", "--only", "base", "--scale", "0.002"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates.Files(tmp_path_factory.mktemp("certificates"))


def flags(files):
    return ["--sign-certificate", str(files.chain), "--sign-key", str(files.key)]


def command(folder, *arguments):
    return ["generate", "--raw", str(folder / "raw"), "--out", str(folder / "out"), *COMMON, *arguments]


def signatures(folder, files, capsys):
    """The line of counts, of the raw build and of the release."""
    lines = []
    for name in ("raw", "out"):
        capsys.readouterr()
        assert agfd30k.main(["verify", str(folder / name), "--signatures", "--trust", str(files.anchors)]) == 0
        lines.append(capsys.readouterr().out.splitlines()[-1])
    return lines


def everything_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_signed_build_and_its_release_are_signed_and_hold_nothing_of_the_key(files, tmp_path, capsys):
    assert agfd30k.main(command(tmp_path, *flags(files), "--limit", "4")) == 0
    said = capsys.readouterr()
    assert "signed    by CN=Signer,O=Tests, until 20" in said.out and "without time stamp" in said.out
    line = "signatures: 4 valid (4 trusted, 0 not), 0 expired, 0 tampered, 0 unsigned"
    assert signatures(tmp_path, files, capsys) == [line, line]
    secrets = [*files.key.read_text().splitlines()[1:-1], str(files.key), files.key.name]
    for path, data in everything_in(tmp_path).items():
        assert not [secret for secret in secrets if secret.encode() in data], path
    assert not [secret for secret in secrets[:-2] if secret in said.out + said.err]


def test_signed_and_unsigned_runs_of_one_recipe_continue_each_other(files, tmp_path, capsys):
    signed, plain = tmp_path / "signed", tmp_path / "plain"
    signer = Signer.of_files(files.chain, files.key)
    options = {"model": "preview", "only": ("base",), "scale": 0.002}
    for folder, first, then in ((signed, None, signer), (plain, None, None)):
        generate(folder / "raw", limit=2, signer=first, **options)
        generate(folder / "raw", limit=4, signer=then, **options)
    builds = [RawBuild.open(folder / "raw") for folder in (signed, plain)]
    assert builds[0].fingerprint == builds[1].fingerprint
    assert (signed / "raw/recipe.json").read_bytes() == (plain / "raw/recipe.json").read_bytes()
    assert agfd30k.main(["verify", str(signed / "raw"), "--signatures"]) == 0
    assert "2 valid (whom to trust, --trust says), 0 expired, 0 tampered, 2 unsigned" in capsys.readouterr().out


@pytest.mark.process
def test_processes_sign_side_by_side(files, tmp_path, capsys):
    """Two ranks on one folder, each with threads that write; the key is in no child's command line or environment."""
    where = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    line = [
        sys.executable,
        "-m",
        "builder",
        *command(tmp_path, *flags(files), "--shard-size", "2", "--batch-size", "2"),
    ]
    ranks = [
        subprocess.Popen(line, env={**where, "RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.DEVNULL)
        for rank in ("0", "1")
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    lines = signatures(tmp_path, files, capsys)
    assert lines[0] == lines[1] and lines[0].endswith("not), 0 expired, 0 tampered, 0 unsigned")
    assert int(lines[0].split()[1]) >= 4


def test_what_is_wrong_is_told_before_anything_is_loaded_or_written(files, tmp_path, capsys):
    other, missing = tmp_path / "other.pem", tmp_path / "none.pem"
    other.write_bytes(certificates.key_pem(certificates.KINDS["P-256"]()))
    build, chain = tmp_path / "build", str(files.chain)
    cases = {
        ("--sign-certificate", chain): "--sign-certificate and --sign-key belong together: give both, or none",
        ("--sign-key", str(files.key)): "--sign-certificate and --sign-key belong together: give both, or none",
        ("--sign-certificate", chain, "--sign-key", str(missing)): f"{missing}: No such file or directory",
        ("--sign-certificate", chain, "--sign-key", str(other)): f"{other}: is not the key of the first certificate",
    }
    for arguments, says in cases.items():
        for more in ((), ("--dry-run",)):
            line = command(build, *arguments, *more, "--model", "no/such-model")  # which would be looked up next
            assert agfd30k.main(line) == 2
            written = capsys.readouterr()
            assert written.out == "" and written.err.startswith(f"generate: {says}") and written.err.count("\n") == 1
    assert not build.exists()


def test_a_callback_that_fails_later_ends_the_run_with_what_is_committed_safe(files, tmp_path):
    """A vault that is gone: a line, and a run with the key goes on."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    from builder import UserError

    calls = []

    def vault(data):
        calls.append(1)
        if len(calls) > 3:
            raise ConnectionError("the vault is sealed")
        return files.private.sign(data, ec.ECDSA(hashes.SHA256()))

    options = {"model": "preview", "only": ("base",), "scale": 0.002, "limit": 4, "batch_size": 2}
    failing = Signer.of_callback(files.chain.read_bytes(), vault)
    with pytest.raises(UserError, match="no picture can be signed: the callback failed: ConnectionError"):
        generate(tmp_path / "raw", signer=failing, **options)
    raw = generate(tmp_path / "raw", signer=Signer.of_files(files.chain, files.key), **options)
    assert raw.unfinished() == []
    assert agfd30k.main(["verify", str(tmp_path / "raw"), "--signatures"]) == 0
