"""The models and the CRD YAML say the same, field by field, both ways."""

import re
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mediaasset.spec import MediaAssetSpec, MediaProfileSpec, Rendition, digest
from mediaasset.status import Status

CRDS = Path("charts/media-operator/crds")


def schema_of(plural: str) -> dict[str, Any]:
    body = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    schema: dict[str, Any] = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return schema


ASSET = schema_of("mediaassets")
PROFILE = schema_of("mediaprofiles")

Shape = dict[str, tuple[str, frozenset[str] | None, bool]]


def of_schema(schema: dict[str, Any], path: str = "") -> Shape:
    """Every field of an OpenAPI schema: its type, the values of an enum, and whether it must be given."""
    shape: Shape = {}
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        enum = frozenset(field["enum"]) if "enum" in field else None
        kind = "date-time" if field.get("format") == "date-time" else field["type"]
        shape[where] = (kind, enum, name in schema.get("required", ()))
        shape |= of_schema(field, where)
        if kind == "array":
            items = field["items"]
            shape[f"{where}[]"] = (items["type"], frozenset(items["enum"]) if "enum" in items else None, False)
            shape |= of_schema(items, f"{where}[]")
        if "additionalProperties" in field:
            shape[f"{where}{{}}"] = (field["additionalProperties"]["type"], None, False)
    return shape


def of_model(model: type[BaseModel], path: str = "") -> Shape:
    """Return the same of a model."""
    shape: Shape = {}
    for name, field in model.model_fields.items():
        where = f"{path}.{field.alias or name}"
        shape |= _of_annotation(field.annotation, where, required=field.is_required())
    return shape


def _of_annotation(annotation: Any, where: str, *, required: bool) -> Shape:
    annotation = _bare(annotation)
    origin = get_origin(annotation)
    if origin is tuple:
        item = _of_annotation(get_args(annotation)[0], f"{where}[]", required=False)
        return {where: ("array", None, required)} | item
    if origin is dict:
        value = _of_annotation(get_args(annotation)[1], f"{where}{{}}", required=False)
        return {where: ("object", None, required)} | value
    if annotation is AwareDatetime:
        return {where: ("date-time", None, required)}
    if issubclass(annotation, BaseModel):
        return {where: ("object", None, required)} | of_model(annotation, where)
    if issubclass(annotation, Enum):
        return {where: ("string", frozenset(member.value for member in annotation), required)}
    return {where: ({str: "string", int: "integer", bool: "boolean", float: "number"}[annotation], None, required)}


def _bare(annotation: Any) -> Any:
    if annotation is AwareDatetime:
        return annotation
    if get_origin(annotation) in (UnionType, Union):
        return _bare(next(a for a in get_args(annotation) if a is not NoneType))
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    return annotation


def defaults_of_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: field["default"] for name, field in schema["properties"].items() if "default" in field}


def defaults_of_model(model: type[BaseModel]) -> dict[str, Any]:
    def plain(field: FieldInfo) -> Any:
        value = field.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", by_alias=True, exclude_none=True)
        return list(value) if isinstance(value, tuple) else value.value if isinstance(value, Enum) else value

    fields = {field.alias or name: field for name, field in model.model_fields.items() if not field.is_required()}
    return {
        name: plain(field) for name, field in fields.items() if field.get_default(call_default_factory=True) is not None
    }


@pytest.mark.parametrize(
    ("model", "schema"),
    [(MediaAssetSpec, ASSET["spec"]), (Status, ASSET["status"]), (MediaProfileSpec, PROFILE["spec"])],
)
def test_models_and_schema_have_the_same_fields(model: type[BaseModel], schema: dict[str, Any]) -> None:
    assert of_model(model) == of_schema(schema)


@pytest.mark.parametrize("schema", [ASSET["spec"], ASSET["status"], PROFILE["spec"]])
def test_every_field_is_described_and_bounded(schema: dict[str, Any]) -> None:
    def walk(field: dict[str, Any], where: str) -> None:
        for name, child in field.get("properties", {}).items():
            assert child.get("description"), f"{where}.{name} has no description"
            assert child.get("x-kubernetes-preserve-unknown-fields") is None
            if child["type"] == "string" and "enum" not in child and child.get("format") != "date-time":
                assert "maxLength" in child or _is_bounded(child.get("pattern", "")), f"{where}.{name} is unbounded"
            if child["type"] == "array":
                assert "maxItems" in child, f"{where}.{name} is unbounded"
                walk(child["items"], f"{where}.{name}[]")
            walk(child, f"{where}.{name}")

    walk(schema, "")


def _is_bounded(pattern: str) -> bool:
    """Tell whether the pattern is anchored and repeats nothing without end."""
    return pattern.startswith("^") and pattern.endswith("$") and not re.search(r"[*+](?![^\[]*\])|\{\d+,\}", pattern)


@pytest.mark.parametrize(
    ("model", "schema"),
    [(MediaAssetSpec, ASSET["spec"]), (Status, ASSET["status"]), (MediaProfileSpec, PROFILE["spec"])],
)
def test_defaults_are_the_same(model: type[BaseModel], schema: dict[str, Any]) -> None:
    # A list or map that defaults to empty needs no default in the schema.
    ours = {name: value for name, value in defaults_of_model(model).items() if value not in ([], {})}
    theirs = {name: value for name, value in defaults_of_schema(schema).items() if value not in ([], {})}
    assert {name: value for name, value in ours.items() if name != "limits"} == theirs


PATHS = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,10}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,10}){0,3}\Z")
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
RENDITIONS = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"\A[a-z][a-z0-9-]{0,31}\Z"),
        "for": st.just("Image"),
        "format": st.sampled_from(["JPEG", "PNG", "WebP", "Original"]),
    },
    optional={
        "fit": st.just("Inside"),
        "width": st.integers(1, 16384),
        "height": st.integers(1, 16384),
        "quality": st.integers(1, 100),
        "optional": st.booleans(),
    },
)
SPECS = st.fixed_dictionaries(
    {
        "source": st.one_of(
            st.fixed_dictionaries({"url": st.just("https://example.org/a.jpg")}),
            st.fixed_dictionaries(
                {"object": st.fixed_dictionaries({"key": PATHS}, optional={"sizeBytes": st.integers(0, 2**62)})}
            ),
        )
    },
    optional={
        "type": st.sampled_from(["Image", "Video", "Audio", "Document"]),
        "profileName": st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z"),
        "renditions": st.lists(RENDITIONS, max_size=4, unique_by=lambda r: str(r["name"])),
        "publicPath": PATHS,
        "collection": PATHS,
        "order": st.integers(0, 1_000_000),
        "visibility": st.sampled_from(["Public", "Private"]),
        "userID": st.text("abc019", min_size=1, max_size=20),
        "originalFileName": TEXTS,
        "altText": TEXTS,
        "caption": TEXTS,
        "metadata": st.dictionaries(st.text("abc", min_size=1, max_size=9), TEXTS, max_size=4),
        "expireSecondsAfterCreation": st.integers(60, 3_155_760_000),
        "expireSecondsAfterFailure": st.integers(60, 3_155_760_000),
        "deletionPolicy": st.sampled_from(["Delete", "Retain"]),
        "suspend": st.booleans(),
    },
)


@settings(max_examples=200, deadline=None)
@given(SPECS)
def test_what_the_schema_accepts_survives_the_models(body: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(ASSET["spec"]).validate(body)
    spec = MediaAssetSpec.model_validate(body)
    written = spec.to_dict()
    jsonschema.Draft202012Validator(ASSET["spec"]).validate(written)
    assert MediaAssetSpec.model_validate(written) == spec
    assert {name: written[name] for name in body if name != "renditions"} == {
        name: value for name, value in body.items() if name != "renditions"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"source": {}},
        {"source": {"url": "https://example.org/a", "object": {"key": "uploads/a/b/c"}}},
        {"source": {"url": "ftp://example.org/a"}},
        {"source": {"object": {"key": ""}}},
        {"source": {"object": {"key": "a", "sha256": "A" * 64}}},
        {"type": "Film"},
        {"profileName": "-web"},
        {"publicPath": "../etc"},
        {"publicPath": "a//b"},
        {"publicPath": "/a"},
        {"publicPath": "a/.hidden"},
        {"publicPath": "a\n"},
        {"publicPath": "a" * 201},
        {"order": -1},
        {"collectionPolicy": "KeepLatest"},
        {"collectionPolicy": "KeepSome", "collection": "a"},
        {"expireSecondsAfterCreation": 59},
        {"expireSecondsAfterFailure": 3_155_760_001},
        {"visibility": "public"},
        {"altText": "a\0b"},
        {"metadata": {"": "x"}},
        {"metadata": {"a": 1}},
        {"renditions": [{"name": "a", "for": "Audio", "format": "JPEG"}]},
        {"renditions": [{"name": "a", "for": "Image", "format": "JPEG", "fit": "Cover", "width": 5}]},
        {"renditions": [{"name": "a", "for": "Image", "format": "JPEG"}] * 2},
        {"unknown": 1},
    ],
)
def test_the_models_refuse_what_an_api_server_would(change: dict[str, Any]) -> None:
    good = {"source": {"object": {"key": "uploads/a/b/c"}}}
    MediaAssetSpec.model_validate(good)
    with pytest.raises(ValidationError):
        MediaAssetSpec.model_validate(good | change)


def test_a_field_that_is_added_with_a_default_changes_no_hash() -> None:
    # Otherwise each asset with renditions of its own would be made anew by an operator that knows one field more.
    body = {"name": "small", "for": "Image", "format": "JPEG", "width": 150}
    assert digest(Rendition.model_validate(body)) == digest(body)
    assert digest(Rendition.model_validate(body | {"optional": False})) == digest(body)
    assert digest(Rendition.model_validate(body | {"optional": True})) != digest(body)
