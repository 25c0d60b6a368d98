"""What an older definition has that a newer one must have too."""

from copy import deepcopy
from typing import Any

from media_operator.definitions import narrowed

Json = dict[str, Any]
SCHEMA: Json = {
    "type": "object",
    "properties": {
        "size": {"type": "string", "enum": ["small", "large"]},
        "items": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
}


def spec(schema: Json, version: str = "v1") -> Json:
    return {"versions": [{"name": version, "schema": {"openAPIV3Schema": schema}}]}


def changed(*place: str, value: object = None) -> Json:
    """Return the schema with another value at a place; without one, the place is gone."""
    schema = deepcopy(SCHEMA)
    parent: Any = schema
    for part in place[:-1]:
        parent = parent[part]
    parent.pop(place[-1])
    if value is not None:
        parent[place[-1]] = value
    return schema


def test_what_is_lost_is_named() -> None:
    old = spec(SCHEMA)
    assert list(narrowed(old, spec(SCHEMA, "v2"))) == ["v1"]
    assert list(narrowed(old, spec(changed("properties", "size")))) == ["v1.size"]
    assert list(narrowed(old, spec(changed("properties", "size", "enum", value=["small"])))) == ["v1.size: large"]
    assert list(narrowed(old, spec(changed("properties", "items", "items", "properties")))) == ["v1.items[].name"]


def test_what_grows_loses_nothing() -> None:
    assert not list(narrowed(spec(SCHEMA), spec(SCHEMA)))
    assert not list(narrowed(spec(SCHEMA), spec(changed("properties", "size", "enum"))))
    more = {**SCHEMA, "properties": {**SCHEMA["properties"], "more": {"type": "string"}}}
    assert not list(narrowed(spec(SCHEMA), spec(more)))
    both = {"versions": [*spec(SCHEMA)["versions"], *spec(more, "v2")["versions"]]}
    assert not list(narrowed(spec(SCHEMA), both))
