"""The wire-format reader against the protobuf descriptors of onnx itself."""

from __future__ import annotations

import struct
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.runtime import graph
from eyeline.runtime.protobuf import BYTES, FLOAT, INT, TEXT, Field, Message, Reader, Refused

NUMBERS = Message(
    "Numbers", {1: Field("i", INT), 2: Field("is", INT, limit=50), 3: Field("fs", FLOAT, limit=50)}
)
NESTED = Message(
    "Nested",
    {
        1: Field("text", TEXT),
        2: Field("raw", BYTES),
        3: Field("inner", NUMBERS, limit=3),
        4: Refused("no", "not here"),
    },
)


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def test_the_tables_are_those_of_onnx() -> None:
    """Every field of onnx.proto is either read under its number and type, or refused by name."""
    seen: set[str] = set()

    def walk(message: Message, descriptor: Any) -> None:
        if message.name in seen:
            return
        seen.add(message.name)
        known = {field.number: field for field in descriptor.fields}
        assert set(message.fields) == set(known), message.name
        for number, field in message.fields.items():
            theirs = known[number]
            if isinstance(field, Refused):
                continue
            assert theirs.name in (field.name, f"dim_{field.name}")
            assert (field.limit is None) != theirs.is_repeated
            kinds = {"int": (3, 5, 14), "float": (2,), "text": (9,), "bytes": (12,)}
            if isinstance(field.kind, Message):
                assert theirs.type == 11
                walk(field.kind, theirs.message_type)
            else:
                assert theirs.type in kinds[field.kind.name], field.name

    walk(graph._MODEL, onnx.ModelProto.DESCRIPTOR)
    assert {"GraphProto", "NodeProto", "TensorProto", "TypeProto"} <= seen


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_numbers_single_repeated_and_packed(one: int, many: list[int]) -> None:
    packed = b"".join(map(varint, many))
    loose = b"".join(b"\x10" + varint(number) for number in many)
    data = b"\x08" + varint(one) + loose + b"\x12" + varint(len(packed)) + packed
    assert Reader(data).read(NUMBERS) == {"i": one, "is": many * 2, "fs": []}


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_floats_single_and_packed(values: list[float]) -> None:
    raw = struct.pack(f"<{len(values)}f", *values)
    loose = b"".join(b"\x1d" + struct.pack("<f", value) for value in values)
    assert Reader(loose + b"\x1a" + varint(len(raw)) + raw).read(NUMBERS)["fs"] == values * 2


def test_messages_inside_messages() -> None:
    inner = b"\x08\x05"
    data = b"\x0a\x02\xc3\xa9" + b"\x12\x03abc" + (b"\x1a\x02" + inner) * 2
    values = Reader(data).read(NESTED)
    assert (values["text"], bytes(values["raw"]), [v["i"] for v in values["inner"]]) == ("é", b"abc", [5, 5])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x0a", "truncated"),
        (b"\x0a\x80", "truncated"),
        (b"\x0a\x05abc", "truncated"),
        (b"\x80" * 11, "corrupt"),
        (b"\x0a\x02\xff\xff", "corrupt"),  # not UTF-8
        (b"\x0a\x01a\x0a\x01b", "corrupt"),  # twice
        (b"\x08\x01", "corrupt"),  # a number where text belongs
        (b"\x2a\x00", "corrupt"),  # an unknown field
        (b"\x02\x00", "corrupt"),  # field 0
        (b"\x0b", "corrupt"),  # a group
        (b"\x22\x00", "no"),
        (b"\x1a\x02\x12\x05\x0a\x00", "corrupt"),  # an inner length beyond its message
        (b"\x1a\x01\x08\x0a\x00", "corrupt"),  # an inner number beyond its message
        (b"\x1a\x04\x1a\x02ab", "corrupt"),  # half a float
        (b"\x1a\x00" * 4, "too_many_nodes"),
        (b"\x0a" + b"\xff" * 9 + b"\x7f", "corrupt"),  # more than 64 bits
    ],
)
def test_what_is_wrong_on_the_wire(data: bytes, code: str) -> None:
    with pytest.raises(EyelineError) as caught:
        Reader(data).read(NESTED)
    assert caught.value.code == code


def test_the_budget_bounds_all_messages_together() -> None:
    data = b"\x1a\x04\x08\x01\x10\x01" * 3
    assert len(Reader(data, budget=9).read(NESTED)["inner"]) == 3
    with pytest.raises(EyelineError, match="too many parts"):
        Reader(data, budget=8).read(NESTED)
