"""A small, strict reader of the protobuf wire format (protobuf.dev/programming-guides/encoding).

It reads only what a table of fields allows, never recurses deeper than the table, never copies a payload, and
stops at a budget of fields. What it does not know, it refuses: two parsers that disagree about an unknown
field are how checks get passed by. It needs no protobuf library, so a factory PC can check a model before any
engine sees it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from eyeline.errors import EyelineError

MAX_FIELDS = 1_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Kind:
    """A scalar type and how it lies on the wire."""

    name: str
    wire: int
    packed: bool = False  # repeated numbers may come as one run of bytes


INT = Kind("int", _VARINT, packed=True)
FLOAT = Kind("float", _FIXED32, packed=True)
TEXT = Kind("text", _BYTES)
BYTES = Kind("bytes", _BYTES)


@dataclass(frozen=True)
class Refused:
    """A field that must not occur, with the reason the user reads."""

    code: str
    reason: str


@dataclass(frozen=True)
class Field:
    """One field of a message: its name, its kind, and for repeated fields how many are allowed."""

    name: str
    kind: Kind | Message
    limit: int | None = None  # None: at most one


@dataclass(frozen=True)
class Message:
    """The fields of one message type by number."""

    name: str
    fields: dict[int, Field | Refused] = field(default_factory=dict)


class Reader:
    """Reads messages out of one buffer; `budget` bounds the fields of all of them together."""

    def __init__(self, data: bytes, budget: int = MAX_FIELDS) -> None:
        self.view = memoryview(data)
        self.budget = budget

    def read(self, message: Message, start: int = 0, end: int | None = None) -> dict[str, Any]:
        """The fields of the message in ``data[start:end]`` by name; absent repeated fields are empty lists.

        Raises
        ------
        EyelineError : ``truncated``, ``corrupt``, ``too_many_nodes``, or the code of a refused field.
        """
        end = len(self.view) if end is None else end
        values: dict[str, Any] = {
            f.name: [] for f in message.fields.values() if isinstance(f, Field) and f.limit is not None
        }
        position = start
        while position < end:
            self.budget -= 1
            if self.budget < 0:
                raise EyelineError("the graph has too many parts to be an inspector", code="too_many_nodes")
            tag, position = self._varint(position, end)
            number, wire = tag >> 3, tag & 7
            known = message.fields.get(number)
            if known is None:
                raise corrupt(f"field {number} of {message.name} is not known")
            if isinstance(known, Refused):
                raise EyelineError(known.reason, code=known.code)
            position = self._value(message, known, wire, position, end, values)
        return values

    def _value(
        self, message: Message, known: Field, wire: int, position: int, end: int, values: dict[str, Any]
    ) -> int:
        expected = _BYTES if isinstance(known.kind, Message) else known.kind.wire
        where = f"{message.name}.{known.name}"
        run = (
            isinstance(known.kind, Kind) and known.kind.packed and known.limit is not None and wire == _BYTES
        )
        if wire != expected and not run:
            raise corrupt(f"{where} has wire type {wire}")
        if wire == _VARINT:
            found: list[Any] = [None]
            number, position = self._varint(position, end)
            found[0] = _signed(number)
        elif wire == _FIXED32:
            found = [struct.unpack_from("<f", self.view, self._room(position, 4, end))[0]]
            position += 4
        else:
            length, position = self._varint(position, end)
            start, position = self._room(position, length, end), position + length
            found = self._payload(known.kind, start, position, where)
        if known.limit is None:
            if known.name in values:
                raise corrupt(f"{where} occurs twice")
            values[known.name] = found[0]
        else:
            values[known.name].extend(found)
            if len(values[known.name]) > known.limit:
                raise EyelineError(f"more than {known.limit:,} entries in {where}", code="too_many_nodes")
        return position

    def _payload(self, kind: Kind | Message, start: int, end: int, where: str) -> list[Any]:
        if isinstance(kind, Message):
            return [self.read(kind, start, end)]
        if kind is BYTES:
            return [self.view[start:end]]
        if kind is TEXT:
            try:
                return [str(self.view[start:end], "utf-8")]
            except UnicodeDecodeError as error:
                raise corrupt(f"{where} is not UTF-8") from error
        if kind is FLOAT:
            if (end - start) % 4:
                raise corrupt(f"{where} is a broken run of floats")
            return list(struct.unpack(f"<{(end - start) // 4}f", self.view[start:end]))
        numbers = []
        while start < end:
            self.budget -= 1
            number, start = self._varint(start, end)
            numbers.append(_signed(number))
        return numbers

    def _room(self, position: int, length: int, end: int) -> int:
        if position + length > end:
            raise _truncated() if end == len(self.view) else corrupt("a length reaches beyond its message")
        return position

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            if position >= end:
                raise (
                    _truncated() if end == len(self.view) else corrupt("a number reaches beyond its message")
                )
            byte = self.view[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise corrupt("a number of more than 64 bits")
        if value >= 2**64:
            raise corrupt("a number of more than 64 bits")
        return value, position


def corrupt(reason: str) -> EyelineError:
    """The error of bytes that are not what they should be."""
    return EyelineError(f"not a valid ONNX file: {reason}", code="corrupt")


def _truncated() -> EyelineError:
    return EyelineError("the file is cut short", code="truncated")


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
