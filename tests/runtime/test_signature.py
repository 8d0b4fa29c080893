"""Signatures: OpenSSL agrees with ours and we with OpenSSL's; every other file, key or byte has its own refusal."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eyeline.cli.app import run as eyeline
from eyeline.errors import EyelineError
from eyeline.runtime import (
    Contract,
    check_signature,
    load,
    new_key,
    open_artifact,
    read_contract,
    seal,
    sign_artifact,
    verify_artifact,
)

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL's program is not installed")


@pytest.fixture
def signed(sealed: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(sealed)
    return path


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return new_key(tmp_path / "factory.pem")


def refused(signed: Path, key: Path) -> EyelineError:
    with pytest.raises(EyelineError) as caught:
        check_signature(signed, signed.read_bytes(), key)
    return caught.value


def test_signed_and_checked(signed: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert sign_artifact(signed, signed.read_bytes(), private) == Path(f"{signed}.sig")
    known = check_signature(signed, signed.read_bytes(), public)
    assert load(signed, key=public).inspect(b"").error is not None
    checks = verify_artifact(signed, threads=1, key=public)
    assert [check.name for check in checks][:2] == ["file", "signature"]
    assert all(check.ok for check in checks)
    assert known in checks[1].detail


@openssl
def test_openssl_accepts_our_signature(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    sign_artifact(signed, signed.read_bytes(), private)
    said = json.loads(Path(f"{signed}.sig").read_text())
    (tmp_path / "raw").write_bytes(base64.b64decode(said["signature"]))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", signed]
    done = subprocess.run([*words, "-sigfile", tmp_path / "raw"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said["sha256"] == hashlib.sha256(signed.read_bytes()).hexdigest()


@openssl
def test_we_accept_keys_and_signatures_of_openssl(signed: Path, tmp_path: Path) -> None:
    private, public, raw = tmp_path / "o.pem", tmp_path / "o.pub", tmp_path / "raw"
    for words in (
        ["genpkey", "-algorithm", "ed25519", "-out", private],
        ["pkey", "-in", private, "-pubout", "-out", public],
        ["pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", signed, "-out", raw],
    ):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    sign_artifact(signed, signed.read_bytes(), private)
    ours = json.loads(Path(f"{signed}.sig").read_text())
    assert base64.b64decode(ours["signature"]) == raw.read_bytes()  # Ed25519 is deterministic
    check_signature(signed, signed.read_bytes(), public)


def test_a_key_is_private_and_never_overwritten(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    before = private.read_bytes()
    with pytest.raises(EyelineError, match="never overwritten"):
        new_key(private)
    private.unlink()
    with pytest.raises(EyelineError, match="never overwritten"):  # its public half is still in use
        new_key(private)
    assert before != new_key(Path(f"{private}2"))[0].read_bytes()


def test_without_a_signature(signed: Path, keys: tuple[Path, Path]) -> None:
    assert refused(signed, keys[1]).code == "no_signature"
    with pytest.raises(EyelineError, match=r"there is no model\.onnx\.sig beside it"):
        load(signed, key=keys[1])
    with pytest.raises(EyelineError, match="give the path"):
        load(signed.read_bytes(), key=keys[1])


def test_by_another_key(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.pem")
    sign_artifact(signed, signed.read_bytes(), other[0])
    error = refused(signed, keys[1])
    assert (error.code, error.path) == ("wrong_key", str(signed))
    assert check_signature(signed, signed.read_bytes(), other[1]) in error.message


def test_changed_and_sealed_again(signed: Path, keys: tuple[Path, Path]) -> None:
    """The seal says that the file is whole; only the signature says that somebody else made it."""
    private, public = keys
    sign_artifact(signed, signed.read_bytes(), private)
    artifact = open_artifact(signed)
    contract: Contract = read_contract(artifact.contract.to_json()).model_copy(
        update={"network": "another one"}
    )
    plain = onnx.load_from_string(artifact.data)
    del plain.metadata_props[:]
    signed.write_bytes(seal(plain.SerializeToString(), contract))
    assert load(signed, threads=1).contract.network == "another one"
    assert refused(signed, public).code == "tampered"
    checks = verify_artifact(signed, threads=1, key=public)
    assert [(check.name, check.ok) for check in checks if not check.ok] == [("signature", False)]


def test_one_flipped_bit_is_told_by_the_seal_and_by_the_signature(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    data = bytearray(signed.read_bytes())
    sign_artifact(signed, bytes(data), private)
    data[len(data) // 2] ^= 1
    signed.write_bytes(bytes(data))
    assert refused(signed, public).code == "tampered"
    with pytest.raises(EyelineError, match="damaged or was changed"):
        load(signed, key=public)


def test_what_the_signature_says_of_itself_is_not_believed(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """Another's signature, dressed up with our key's name and the right hash."""
    other = new_key(tmp_path / "other.pem")
    path = sign_artifact(signed, signed.read_bytes(), other[0])
    said = json.loads(path.read_text())
    ours = json.loads(sign_artifact(signed, signed.read_bytes(), keys[0]).read_text())
    path.write_text(json.dumps(ours | {"signature": said["signature"]}))
    assert refused(signed, keys[1]).code == "bad_signature"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "\x00",
        "x" * 100_000,
        '{"version": 2, "algorithm": "Ed25519", "signature": ""}',
        '{"version": 1, "algorithm": "none", "signature": ""}',
        '{"version": 1, "algorithm": "Ed25519", "signature": "###"}',
        '{"version": 1, "algorithm": "Ed25519", "signature": 7}',
    ],
)
def test_a_signature_that_is_none(signed: Path, keys: tuple[Path, Path], text: str) -> None:
    Path(f"{signed}.sig").write_text(text)
    error = refused(signed, keys[1])
    assert (error.code, error.path) == ("bad_signature", f"{signed}.sig")
    assert "\n" not in error.one_line()


def test_keys_that_are_none(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    sign_artifact(signed, signed.read_bytes(), private)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    (tmp_path / "ec.pem").write_bytes(elliptic.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (tmp_path / "ec.pub").write_bytes(
        elliptic.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    locked = serialization.BestAvailableEncryption(b"password")
    (tmp_path / "locked.pem").write_bytes(
        Ed25519PrivateKey.generate().private_bytes(pem, serialization.PrivateFormat.PKCS8, locked)
    )
    for name in ("ec.pem", "locked.pem", "factory.pem.pub"):
        with pytest.raises(EyelineError) as caught:
            sign_artifact(signed, signed.read_bytes(), tmp_path / name)
        assert caught.value.code == "bad_key", name
    for name in ("ec.pub", "factory.pem"):
        assert refused(signed, tmp_path / name).code == "bad_key", name
    assert refused(signed, tmp_path / "absent").code == "missing"
    with pytest.raises(EyelineError, match="cannot be read"):
        verify_artifact(signed, key=tmp_path / "absent")
    assert check_signature(signed, signed.read_bytes(), public)


def test_on_the_command_line(
    signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert eyeline(["sign", "--new-key", "line.pem", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"private_key": "line.pem", "public_key": "line.pem.pub"}
    assert eyeline(["sign", str(signed), "--key", "line.pem", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sha256"] == hashlib.sha256(signed.read_bytes()).hexdigest()
    assert eyeline(["verify", str(signed), "--key", "line.pem.pub", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    Path(found["signature"]).unlink()
    assert eyeline(["verify", str(signed), "--key", "line.pem.pub"]) == 1
    assert "FAIL signature  no_signature" in capsys.readouterr().out
    assert eyeline(["predict", str(signed), str(signed), "--key", "line.pem.pub"]) == 2
    assert "not signed" in capsys.readouterr().err
    assert eyeline(["sign", str(signed)]) == 2
    assert eyeline(["sign"]) == 2
    (tmp_path / "no.onnx").write_bytes(b"x")
    assert eyeline(["sign", "no.onnx", "--key", "line.pem"]) == 2  # only a whole artifact is signed


def test_without_the_package(signed: Path, keys: tuple[Path, Path]) -> None:
    script = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from eyeline.cli.app import run\n"
        f"assert run(['verify', {str(signed)!r}]) == 0\n"
        f"sys.exit(run(['verify', {str(signed)!r}, '--key', {str(keys[1])!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == "eyeline: signatures need the package cryptography (pip install 'eyeline[sign]')"
    )
