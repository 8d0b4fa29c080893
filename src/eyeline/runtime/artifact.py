"""The file itself: an ONNX graph, the contract, and a seal over both.

    graph bytes | metadata entry "eyeline" (the contract) | metadata entry "eyeline.sha256" (the seal)

Protobuf fields may come in any order, so the contract is attached by appending two entries to a serialized
graph, and every ONNX tool still reads the file. The seal is the SHA-256 of all bytes before it: one flipped
bit anywhere is noticed. It proves that the file is whole, not who made it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eyeline.errors import EyelineError
from eyeline.runtime.contract import Contract, read_contract
from eyeline.runtime.graph import Graph, read_graph

CONTRACT_KEY, SEAL_KEY = "eyeline", "eyeline.sha256"
MAX_BYTES = 2**30

_METADATA_TAG = 14 << 3 | 2  # ModelProto.metadata_props, length-delimited
_KEY_TAG, _VALUE_TAG = 1 << 3 | 2, 2 << 3 | 2


@dataclass(frozen=True, eq=False)
class Artifact:
    """A checked artifact: safe to hand to an engine, and the contract fits the graph."""

    path: str | None
    data: bytes
    graph: Graph
    contract: Contract

    @cached_property
    def sha256(self) -> str:
        """The name of this very file, to be quoted beside its verdicts."""
        return hashlib.sha256(self.data).hexdigest()


def seal(graph: bytes, contract: Contract) -> bytes:
    """The bytes of an artifact from a serialized ONNX graph without metadata of its own."""
    body = graph + _entry(CONTRACT_KEY, contract.to_json())
    return body + _entry(SEAL_KEY, hashlib.sha256(body).hexdigest())


def open_artifact(source: str | Path | bytes, *, max_bytes: int = MAX_BYTES) -> Artifact:
    """Read an artifact and check everything that can be checked without running it.

    Raises
    ------
    EyelineError : the reason as a code: ``missing``, ``unreadable``, ``too_large``, those of
        `eyeline.runtime.graph.read_graph`, ``no_contract``, ``checksum``, ``schema_version``,
        ``bad_contract``, ``label_count`` and ``contract_mismatch``.
    """
    path = None if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else _read(source, max_bytes)
        sealed = _is_sealed(data)
        graph = read_graph(data)
        if CONTRACT_KEY not in graph.metadata:
            raise EyelineError(
                "an ONNX file, but not an artifact of Eyeline: it carries no contract", code="no_contract"
            )
        if not sealed:
            raise EyelineError("the seal of the file is missing or not at its end", code="checksum")
        contract = read_contract(graph.metadata[CONTRACT_KEY])
        _check_agreement(graph, contract)
    except EyelineError as error:
        raise EyelineError(error.message, code=error.code, path=path, hint=error.hint) from error
    return Artifact(path=path, data=data, graph=graph, contract=contract)


def _read(path: str | Path, max_bytes: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        # Opened without waiting and asked what it is only then: a pipe never blocks us.
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise EyelineError("not a regular file", code="unreadable")
            data = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
            size = max(status.st_size, len(data))
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        code = "missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else "unreadable"
        raise EyelineError(
            f"cannot be opened: {getattr(error, 'strerror', None) or error}", code=code
        ) from error
    if size > max_bytes:
        raise EyelineError(f"{size:,} bytes, more than the limit of {max_bytes:,}", code="too_large")
    return data


def _is_sealed(data: bytes) -> bool:
    """Does a right seal end the file? A wrong one is an error; none at all may have better reasons."""
    body = data[: -len(_entry(SEAL_KEY, "0" * 64))]
    opening = _entry(SEAL_KEY, "0" * 64)[:-64]
    if not data[len(body) :].startswith(opening):
        return False
    if data[-64:] != hashlib.sha256(body).hexdigest().encode():
        raise EyelineError("the file is damaged or was changed after it was made", code="checksum")
    return True


def _check_agreement(graph: Graph, contract: Contract) -> None:
    k = len(contract.classes)
    if graph.classes != k:
        raise EyelineError(
            f"the graph tells {graph.classes} classes apart, the contract names {k}", code="label_count"
        )
    pairs = {
        "image size": (graph.image_size, contract.decode.image_size),
        "channels": (graph.channels, contract.decode.channels),
        "opset": (graph.opset, contract.opset),
        "evidence output": (graph.evidence, contract.evidence.exact),
        "novelty output": (graph.novelty, contract.novelty is not None),
    }
    for name, (found, promised) in pairs.items():
        if found != promised:
            raise EyelineError(
                f"the {name} of the graph is {found}, the contract says {promised}", code="contract_mismatch"
            )


def _entry(key: str, value: str) -> bytes:
    """One entry of ``metadata_props`` on the wire."""
    body = _text(_KEY_TAG, key) + _text(_VALUE_TAG, value)
    return bytes([_METADATA_TAG]) + _varint(len(body)) + body


def _text(tag: int, text: str) -> bytes:
    data = text.encode()
    return bytes([tag]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
