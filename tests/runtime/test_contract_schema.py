"""docs/contract.schema.json is the schema of the code, and a contract of an artifact fits it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eyeline.runtime import Contract

PATH = Path(__file__).parents[2] / "docs" / "contract.schema.json"
MAKE = (
    'python -c "import json; from eyeline.runtime import Contract; '
    'print(json.dumps(Contract.model_json_schema(), indent=2))" > docs/contract.schema.json'
)


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    return found


def test_the_schema_is_current() -> None:
    assert schema() == Contract.model_json_schema(), f"write it again: {MAKE}"


def test_a_contract_fits_the_schema(contract: Contract) -> None:
    """Walked by hand: names, required ones, nothing unknown, and the type of each value."""
    document, whole = json.loads(contract.to_json()), schema()
    types: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }

    def fits(value: Any, rule: dict[str, Any]) -> bool:
        if "$ref" in rule:
            return fits(value, whole["$defs"][rule["$ref"].rsplit("/", 1)[1]])
        if "anyOf" in rule:
            return any(fits(value, choice) for choice in rule["anyOf"])
        if "enum" in rule or "const" in rule:
            return value in rule.get("enum", [rule.get("const")])
        if "type" in rule and not isinstance(value, types[rule["type"]]):
            return False
        if rule.get("type") == "object" and "properties" in rule:
            known = rule["properties"]
            right = set(rule.get("required", ())) <= set(value) <= set(known)
            return right and all(fits(value[name], known[name]) for name in value)
        if rule.get("type") == "array" and "items" in rule:
            return all(fits(part, rule["items"]) for part in value)
        return True

    assert fits(document, whole)
    assert not fits(document | {"more": 1}, whole)
    assert not fits({name: value for name, value in document.items() if name != "golden"}, whole)
    assert not fits(document | {"opset": "18"}, whole)
    assert whole["additionalProperties"] is False
