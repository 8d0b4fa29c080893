"""Who made an artifact: a detached Ed25519 signature (RFC 8032) beside it.

``model.onnx.sig`` is JSON: the signature over the bytes of the artifact, in base64, and beside it, for messages alone,
the SHA-256 of those bytes and a fingerprint of the key. Keys are PEM files as OpenSSL writes them, so that both can be
made and checked without Eyeline. Needs ``pip install 'eyeline[sign]'``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeline.errors import EyelineError
from eyeline.files import write_atomically, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ENDING = ".sig"
_MAX_BYTES = 64 * 1024  # of a key or a signature


def new_key(path: str | Path) -> tuple[Path, Path]:
    """Make a key: the private one in `path`, readable by its owner alone, the public one in ``<path>.pub``.

    Raises
    ------
    EyelineError : one of the files exists (``exists``) or cannot be written.
    """
    serialization, ed25519 = _cryptography()
    private, public = Path(path), Path(f"{path}.pub")
    for file in (private, public):
        if file.exists():
            raise EyelineError("a key is never overwritten", code="exists", path=file)
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        # Private from its first byte on.
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file_:
            file_.write(pem)
    except OSError as error:
        raise EyelineError(f"cannot write: {error.strerror}", code="write_failed", path=private) from error
    write_atomically(
        public,
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
    return private, public


def sign_artifact(model: str | Path, data: bytes, key: str | Path) -> Path:
    """Write ``<model>.sig`` over the bytes `data` of the artifact `model` with the private key in `key`.

    Raises
    ------
    EyelineError : ``bad_key`` or ``missing`` for the key, ``write_failed``.
    """
    serialization, ed25519 = _cryptography()
    try:
        private = serialization.load_pem_private_key(_read(key, "key"), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it wants a password
        raise EyelineError(
            f"not a private key without password: {error}", code="bad_key", path=key
        ) from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise EyelineError("not an Ed25519 key", code="bad_key", path=key)
    path = Path(f"{model}{ENDING}")
    write_json(
        path,
        {
            "version": 1,
            "algorithm": "Ed25519",
            "key": fingerprint(private.public_key()),
            "sha256": hashlib.sha256(data).hexdigest(),
            "signature": base64.b64encode(private.sign(data)).decode(),
        },
    )
    return path


def check_signature(model: str | Path | None, data: bytes, key: str | Path) -> str:
    """Check ``<model>.sig`` over the bytes `data` by the public key in the file `key`; returns its fingerprint.

    Raises
    ------
    EyelineError : ``no_signature`` when there is none, ``bad_signature`` when it cannot be read or is not right,
        ``wrong_key`` when another key signed, ``tampered`` when other bytes were signed, ``bad_key``.
    """
    serialization, ed25519 = _cryptography()
    from cryptography.exceptions import InvalidSignature

    try:
        public = serialization.load_pem_public_key(_read(key, "key"))
    except ValueError as error:
        raise EyelineError("not a public key in PEM", code="bad_key", path=key) from error
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise EyelineError("not an Ed25519 key", code="bad_key", path=key)
    if model is None:
        raise EyelineError("bytes carry no signature; give the path of the artifact", code="no_signature")
    path = Path(f"{model}{ENDING}")
    if not path.exists():
        raise EyelineError(
            f"the artifact is not signed: there is no {path.name} beside it", code="no_signature", path=model
        )
    signature, said = _signature(path)
    known = fingerprint(public)
    try:
        public.verify(signature, data)
    except InvalidSignature as error:
        # What the file says of itself only chooses the words; the signature alone decides.
        if said.get("key") != known:
            code, message = "wrong_key", f"signed by the key {said.get('key')}, not by {known}"
        elif said.get("sha256") != hashlib.sha256(data).hexdigest():
            code, message = "tampered", "the artifact was changed after it was signed"
        else:
            code, message = "bad_signature", "the signature is not right"
        raise EyelineError(message, code=code, path=model) from error
    return known


def fingerprint(public: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, its first 16 hexadecimal digits."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def _signature(path: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        said = json.loads(_read(path, "signature"))
        if said["version"] != 1 or said["algorithm"] != "Ed25519":
            raise ValueError("a newer version of Eyeline may read it")
        return base64.b64decode(said["signature"], validate=True), said
    except (ValueError, KeyError, TypeError) as error:
        raise EyelineError(f"not a signature: {error}", code="bad_signature", path=path) from error


def _read(path: str | Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        code = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise EyelineError(f"the {what} cannot be read: {error.strerror}", code=code, path=path) from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise EyelineError(
            "signatures need the package cryptography", code="no_package", hint="pip install 'eyeline[sign]'"
        ) from error
    return serialization, ed25519
