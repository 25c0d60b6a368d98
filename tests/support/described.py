"""Answers held to the OpenAPI document: their status, their headers, their type, their body."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema

from media_ingest.routes.health import document

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
#: Headers that a client acts on: an answer has none of them that is not documented.
_TELLING = frozenset(
    (
        *("Accept", "Allow", "ETag", "Idempotency-Replayed", "Location", "Media-Location", "Retry-After"),
        *("Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Version", "WWW-Authenticate"),
        *("Upload-Defer-Length", "Upload-Expires", "Upload-Length", "Upload-Offset"),
    )
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    template: str
    said: Mapping[str, Any]

    @property
    def statuses(self) -> set[int]:
        """Return those that are documented one by one."""
        return {int(status) for status in self.said["responses"] if status != "default"}

    def path(self, **values: str) -> str:
        """Return the path with values for its parameters."""
        return self.template.format(**values)


def operations() -> dict[str, Operation]:
    """Return all operations by their ids."""
    return {
        said["operationId"]: Operation(method.upper(), template, said)
        for template, item in document()["paths"].items()
        for method, said in item.items()
        if method in METHODS
    }


def template_of(path: str) -> str | None:
    """Return the documented path that a request's path is, None for one that is none of ours."""
    # A path without parameters wins over one with, as it does where requests are routed.
    return next(
        (
            item
            for item in sorted(document()["paths"], key=lambda item: ("{" in item, -len(item)))
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", item.rstrip("/").replace("{path}", ".+")), path.rstrip("/"))
        ),
        None,
    )


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Hold an answer to what the document says of it, or of any problem where it says nothing."""
    template = template_of(path)
    operation = document()["paths"][template].get(method.lower()) if template else None
    responses = operation["responses"] if operation else {}
    problem = {"$ref": "#/components/responses/Problem"}
    answer = _resolved(responses.get(str(status)) or responses.get("default") or problem)
    _check_headers({name: _resolved(said) for name, said in answer.get("headers", {}).items()}, headers)
    if method == "HEAD" or "content" not in answer:
        assert not body
        return
    found = headers.get("content-type", "")
    assert found in answer["content"], f"{found} is none of {list(answer['content'])}"
    _validate(json.loads(body) if "json" in found else body.decode(), answer["content"][found]["schema"])


def _check_headers(documented: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    for name, said in documented.items():
        value = headers.get(name.lower())
        if value is None:
            assert not said.get("required"), f"{name} is missing"
        else:
            _validate(int(value) if said["schema"].get("type") == "integer" else value, said["schema"])
    undocumented = {name for name in _TELLING - documented.keys() if name.lower() in headers}
    assert not undocumented, f"not documented: {undocumented}"


def _resolved(said: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in said:
        found: Any = document()
        for part in said["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        said = found
    return said


def _validate(value: object, schema: Mapping[str, Any]) -> None:
    whole = {"$id": "urn:openapi", **schema, "components": document()["components"]}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(value)
