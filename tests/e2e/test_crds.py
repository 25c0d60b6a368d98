"""A real API server accepts and refuses what both CRDs say: one case and more for each enum, pattern, bound and rule.

The cases are read from the YAML. What no program can invent (an example of a pattern, both sides of a CEL rule) stands
in the tables below, and a pattern or rule that is missing there fails.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from pytest_kind import KindCluster

from installed import Installed
from mediaasset import pointers

CRDS = Path(__file__).parents[2] / "charts/media-operator/crds"
VERSION = "media-operator.io/v1alpha1"
DRY_RUN = {"dryRun": "All", "fieldValidation": "Strict"}

Json = dict[str, Any]
Place = tuple[str | int, ...]

#: Full resources by plural name.
FULL: dict[str, Json] = {
    f"{body['kind'].lower()}s": body for body in yaml.safe_load_all(Path(__file__).with_name("full.yaml").read_text())
}

#: An example and a counter-example of each pattern.
PATTERNS = {
    "^[0-9a-f]{64}$": ("a" * 64, "A" * 64),
    r"^https?://[^\s]+$": ("http://example.org", "ftp://example.org"),
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$": ("a-b", "-a"),
    "^[a-z][a-z0-9-]{0,31}$": ("a-1", "1a"),
    "^(ultrafast|superfast|veryfast|faster|fast|medium|slow)$": ("slow", "slower"),
    "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}){0,7}$": ("a/b.c", "a/../b"),
    pointers.STABLE_PATH_PATTERN: ("a b/ü (1).JPG", "a/.b.jpg"),
    "^[A-Za-z0-9_-]{1,128}$": ("1234567890", "12/34"),
    "^([0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?)$": ("q" * 43 + "=", "q" * 42),
    "^(True|False|Unknown)$": ("Unknown", "true"),
}

#: The same for formats.
FORMATS = {"date-time": ("2026-01-01T00:00:00.5+02:00", "yesterday")}

#: The two sides of each rule, by its message: fields of the object that has the rule; None takes one away.
RULES: dict[str, tuple[Json, Json]] = {
    "exactly one of object, url and whatsapp must be set": (
        {"object": None, "url": "https://example.org/a"},
        {"object": {"key": "uploads/a/b/c"}, "url": "https://example.org/a"},
    ),
    "exactly one of mediaID and failure must be set": ({"mediaID": None, "failure": "lost"}, {"failure": "lost"}),
    "an Image can be made into JPEG, PNG, WebP, AVIF or Original": (
        {"for": "Image", "format": "WebP"},
        {"for": "Image", "format": "MP3"},
    ),
    "a Video can be made into MP4, HLS, Storyboard, JPEG or WebP": (
        {"for": "Video", "format": "MP4", "minSide": None},
        {"for": "Video", "format": "PNG", "minSide": None},
    ),
    "an Audio can be made into MP3 or Opus": (
        {"for": "Audio", "format": "MP3", "minSide": None},
        {"for": "Audio", "format": "JPEG", "minSide": None},
    ),
    "a Document can only be made into Copy": (
        {"for": "Document", "format": "Copy", "minSide": None},
        {"for": "Document", "format": "Original", "minSide": None},
    ),
    "fit Cover and fit Exact need width and height": (
        {"fit": "Cover", "width": 1, "height": 1, "minSide": None},
        {"fit": "Exact", "height": None, "minSide": None},
    ),
    "codec is for MP4": (
        {"for": "Video", "format": "MP4", "codec": "AV1", "minSide": None},
        {"for": "Video", "format": "JPEG", "codec": "AV1", "minSide": None},
    ),
    "animated is for WebP of an Image": ({"format": "WebP", "animated": True}, {"format": "JPEG", "animated": True}),
    "minSide is for an Image that is fitted Inside": ({"minSide": 5}, {"fit": "Cover"}),
    "HLS and Storyboard are fitted Inside, and take neither maxBytes nor channel": (
        {"for": "Video", "format": "HLS", "minSide": None, "maxBytes": None, "channel": None},
        {"for": "Video", "format": "HLS", "minSide": None, "channel": None},
    ),
    "collectionPolicy KeepLatest needs a collection of its own": (
        {"collectionPolicy": "KeepLatest", "collection": "avatars/user_7"},
        {"collectionPolicy": "KeepLatest", "collection": None},
    ),
    "stablePath must neither begin with by-name/ nor end as our own keys do": (
        {"stablePath": "by-names/medium-0123456789ABCDEF.jpg"},
        {"stablePath": "ads/medium-0123456789abcdef.jpg"},
    ),
    "metadata keys have 1 to 128 characters": ({"k" * 128: "v"}, {"k" * 129: "v"}),
}

#: The same for rules about a change: fields of the object that has the rule.
TRANSITIONS: dict[str, tuple[Json, Json]] = {
    "source is immutable; create a new MediaAsset for another file": (
        {"altText": "b"},
        {"source": {"object": {"key": "uploads/tests/full/2"}}},
    ),
    "stablePath is immutable once it is set, because what is out there knows it": (
        {"order": 3},
        {"stablePath": "ads/other.jpg"},
    ),
    "publicPath is immutable, because URLs are made from it": ({"order": 2}, {"publicPath": "ads/2"}),
}

#: What a value of an enum needs beside it to pass the rules.
COMPANIONS: dict[tuple[str, str], Json] = {
    ("for", "Video"): {"minSide": None},
    ("for", "Audio"): {"format": "MP3", "minSide": None},
    ("for", "Document"): {"format": "Copy", "minSide": None},
    ("format", "MP4"): {"for": "Video", "minSide": None},
    ("format", "HLS"): {"for": "Video", "minSide": None, "maxBytes": None, "channel": None},
    ("format", "Storyboard"): {"for": "Video", "minSide": None, "maxBytes": None, "channel": None},
    ("format", "MP3"): {"for": "Audio", "minSide": None},
    ("format", "Opus"): {"for": "Audio", "minSide": None},
    ("format", "Copy"): {"for": "Document", "minSide": None},
    ("fit", "Cover"): {"minSide": None},
    ("fit", "Exact"): {"minSide": None},
    ("codec", "H264"): {"for": "Video", "format": "MP4", "minSide": None},
    ("codec", "AV1"): {"for": "Video", "format": "MP4", "minSide": None},
}


class Case(NamedTuple):
    """One thing that a schema says of the value at a place of a resource."""

    plural: str
    place: Place
    keyword: str
    value: Any
    schema: Json


def schema_of(plural: str) -> Json:
    version: Json = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())["spec"]["versions"][0]
    schema: Json = version["schema"]["openAPIV3Schema"]
    return schema


BOUNDS = ("pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems", "maxProperties", "format")


def cases(plural: str, schema: Json, place: Place = ()) -> Iterator[Case]:
    for keyword in BOUNDS:
        if keyword in schema and schema[keyword] not in ("int32", "int64"):
            yield Case(plural, place, keyword, schema[keyword], schema)
    yield from (Case(plural, place, "enum", value, schema) for value in schema.get("enum", ()))
    yield from (Case(plural, (*place, name), "required", name, schema) for name in schema.get("required", ()))
    yield from (Case(plural, place, "rule", rule["message"], schema) for rule in schema.get(_RULES, ()))
    if "x-kubernetes-list-map-keys" in schema:
        yield Case(plural, place, "keys", schema["x-kubernetes-list-map-keys"], schema)
    for name, child in schema.get("properties", {}).items():
        yield from cases(plural, child, (*place, name))
    if "items" in schema:
        yield from cases(plural, schema["items"], (*place, 0))
    if "additionalProperties" in schema:
        yield from cases(plural, schema["additionalProperties"], (*place, "key"))


_RULES = "x-kubernetes-validations"
ALL = [case for plural in FULL for case in cases(plural, schema_of(plural))]
STATIC = [case for case in ALL if case.keyword != "rule" or case.value not in TRANSITIONS]
MOVING = [case for case in ALL if case not in STATIC]


def name_of(case: Case) -> str:
    return f"{case.plural}{path_of(case.place)}-{case.keyword}-{str(case.value)[:40]}"


def path_of(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)


def full(plural: str, place: Place = ()) -> Json:
    """Return a whole resource; its source is the one that the place lies in."""
    body = deepcopy(FULL[plural])
    if "source" in body["spec"]:
        source = body["spec"]["source"]
        member = next((name for name in source if name in place), "object")
        body["spec"]["source"] = {member: source[member]}
        # A message has its media, or why there are none.
        source["whatsapp"].pop("mediaID" if "failure" in place else "failure")
    return body


def at(body: Json, place: Place) -> Any:
    found: Any = body
    for part in place:
        found = found[part]
    return found


def put(case: Case, value: Any, **beside: Any) -> Json:
    """Return a whole resource with this value at the place of the case."""
    body = full(case.plural, case.place)
    parent = at(body, case.place[:-1])
    parent[case.place[-1]] = value
    return updated(body, parent, beside) if beside else body


def changed(case: Case, fields: Json) -> Json:
    body = full(case.plural, case.place)
    return updated(body, at(body, case.place), fields)


def updated(body: Json, target: Json, fields: Json) -> Json:
    """Return the body, in which target lies, with these fields of target; None takes one away."""
    kept = {name: value for name, value in {**target, **fields}.items() if value is not None}
    target.clear()
    target.update(kept)
    return body


def text(case: Case, length: int) -> str:
    """Return a text of this length that the pattern of the case, if it has one, allows."""
    pattern = case.schema.get("pattern", "")
    start = "https://" if pattern.startswith("^https") else ""
    rest = length - len(start)
    if "/[A-Z" in pattern:
        return "".join("/" if place % 50 == 49 and place < rest - 1 else "x" for place in range(rest))
    # An extension of the table of media.
    end = ".jpg" if pattern == pointers.STABLE_PATH_PATTERN else ""
    return start + "x" * (rest - len(end)) + end


def many(case: Case, count: int) -> list[Any]:
    """Return as many items, told apart by their key as far as it has enough values."""
    item = at(full(case.plural), (*case.place, 0))
    if isinstance(item, str):
        return [item] * count
    key = case.schema["x-kubernetes-list-map-keys"][-1]
    values = values_of_key(case) or [f"n{number}" for number in range(count)]
    return [{**item, key: value} for value in values[:count]] + [item] * (count - len(values))


def values_of_key(case: Case) -> list[str]:
    """Return what the key of a list's items may be, when that is an enum."""
    key = case.schema.get("x-kubernetes-list-map-keys", ["-"])[-1]
    values: list[str] = case.schema["items"].get("properties", {}).get(key, {}).get("enum", [])
    return values


#: What is put at the place of a case: a value that passes, and one that does not.
VALUES: dict[str, tuple[Callable[[Case], Any], Callable[[Case], Any]]] = {
    "enum": (lambda case: case.value, lambda _: "Nonsense"),
    "pattern": (lambda case: PATTERNS[case.value][0], lambda case: PATTERNS[case.value][1]),
    "format": (lambda case: FORMATS[case.value][0], lambda case: FORMATS[case.value][1]),
    "minimum": (lambda case: case.value, lambda case: case.value - 1),
    "maximum": (lambda case: case.value, lambda case: case.value + 1),
    "minLength": (lambda case: text(case, case.value), lambda case: text(case, case.value - 1)),
    "maxLength": (lambda case: text(case, case.value), lambda case: text(case, case.value + 1)),
    "maxItems": (
        lambda case: many(case, min(case.value, len(values_of_key(case)) or case.value)),
        lambda case: many(case, case.value + 1),
    ),
    "maxProperties": (
        lambda case: {f"k{number}": "v" for number in range(case.value)},
        lambda case: {f"k{number}": "v" for number in range(case.value + 1)},
    ),
}


def accepted(case: Case) -> Json:
    if case.keyword == "rule":
        return changed(case, RULES[case.value][0])
    if case.keyword in VALUES:
        beside = COMPANIONS.get((str(case.place[-1]), str(case.value)), {})
        return put(case, VALUES[case.keyword][0](case), **beside)
    return full(case.plural, case.place)


def refused(case: Case) -> Json:
    if case.keyword == "rule":
        return changed(case, RULES[case.value][1])
    if case.keyword == "required":
        body = full(case.plural, case.place)
        del at(body, case.place[:-1])[case.place[-1]]
        return body
    if case.keyword == "keys":
        return put(case, at(full(case.plural), case.place)[:1] * 2)
    return put(case, VALUES[case.keyword][1](case))


class Api:
    """What the API server says to resources that it is asked to judge and not to keep."""

    def __init__(self, cluster: KindCluster, namespace: str) -> None:
        self._http = cluster.api
        self._namespace = namespace

    def judge(self, plural: str, body: Json) -> Json:
        """Send a whole resource; its status, which a create ignores, goes to the one that exists."""
        if "status" in body:
            answer = self.change(plural, {"status": body["status"]}, subresource="/status")
            if answer["kind"] == "Status":
                return answer
        return self._send("post", plural, params=DRY_RUN, json=body)

    def change(self, plural: str, change: Json, *, subresource: str = "") -> Json:
        return self._send(
            "patch",
            plural,
            f"/full{subresource}",
            params=DRY_RUN,
            data=json.dumps(change),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def keep(self, plural: str, body: Json) -> Json:
        return self._send("post", plural, json=body)

    def _send(self, method: str, plural: str, rest: str = "", **request: Any) -> Json:
        where = {"namespace": self._namespace} if plural == "mediaassets" else {}
        # A dry run of a name that exists is refused as well, so each gets one of its own.
        if "json" in request and "params" in request:
            name = secrets.token_hex(8)
            request["json"] = {**request["json"], "metadata": {"name": f"m{name}"}}
        answer: Json = getattr(self._http, method)(version=VERSION, url=plural + rest, **where, **request).json()
        return answer


@pytest.fixture(scope="module")
def api(kind_cluster: KindCluster, media: Installed) -> Iterator[Api]:
    namespace = f"crds-{secrets.token_hex(4)}"
    kind_cluster.kubectl("create", "namespace", namespace)
    api = Api(kind_cluster, namespace)
    try:
        kept = api.keep("mediaassets", full("mediaassets"))
        assert kept["kind"] == "MediaAsset", kept
        yield api
    finally:
        kind_cluster.kubectl("delete", "namespace", namespace)


def causes(answer: Json) -> list[Json]:
    assert (answer.get("kind"), answer.get("code")) == ("Status", 422), answer
    found: list[Json] = answer["details"]["causes"]
    return found


@pytest.mark.parametrize("case", STATIC, ids=name_of)
def test_what_the_schema_allows_is_accepted(api: Api, case: Case) -> None:
    answer = api.judge(case.plural, accepted(case))
    assert answer["kind"] == FULL[case.plural]["kind"], answer


@pytest.mark.parametrize("case", STATIC, ids=name_of)
def test_what_the_schema_forbids_is_refused_at_its_place(api: Api, case: Case) -> None:
    answer = api.judge(case.plural, refused(case))
    # Of an item twice, the second is what is wrong.
    places = {path_of(case.place)[1:], path_of((*case.place, 1))[1:]}
    assert places & {cause["field"] for cause in causes(answer)}, answer
    if case.keyword == "rule":
        assert case.value in answer["message"]


@pytest.mark.parametrize("case", MOVING, ids=name_of)
def test_what_may_not_change_may_not_change(api: Api, case: Case) -> None:
    [top] = case.place
    good, bad = ({str(top): change} for change in TRANSITIONS[case.value])
    assert api.change(case.plural, good)["kind"] == FULL[case.plural]["kind"]
    assert case.value in api.change(case.plural, bad)["message"]


def test_every_pattern_and_rule_has_its_case_and_none_is_left_over() -> None:
    patterns = {case.value for case in ALL if case.keyword == "pattern"}
    assert patterns == set(PATTERNS)
    assert {case.value for case in ALL if case.keyword == "rule"} == {*RULES, *TRANSITIONS}


@pytest.mark.parametrize("plural", FULL)
def test_an_unknown_field_is_refused(api: Api, plural: str) -> None:
    body = full(plural)
    body["spec"]["unknown"] = 1
    assert 'unknown field "spec.unknown"' in api.judge(plural, body)["message"]


def test_the_least_spec_gets_all_defaults(api: Api) -> None:
    source = {"url": "https://example.org/a"}
    least = {"apiVersion": VERSION, "kind": "MediaAsset", "spec": {"source": source}}
    assert api.judge("mediaassets", least)["spec"] == {
        "source": source,
        "publicPath": "assets",
        "collectionPolicy": "KeepAll",
        "visibility": "Private",
        "metadata": {},
        "profileUpdatePolicy": "Ignore",
        "deletionPolicy": "Delete",
        "suspend": False,
        "queue": "Interactive",
    }
    least = {"apiVersion": VERSION, "kind": "MediaProfile", "spec": {}}
    limits: Json = {"Image": {}, "Video": {}, "Audio": {}, "Document": {}}
    assert api.judge("mediaprofiles", least)["spec"] == {
        "limits": limits,
        "renditions": [],
        "publicDocuments": False,
    }


def test_the_full_resources_use_every_field() -> None:
    def fields(schema: Json, body: Any) -> None:
        assert set(schema.get("properties", {})) - {"apiVersion", "kind", "metadata"} <= set(body)
        for name, child in schema.get("properties", {}).items():
            if child["type"] == "object" and "properties" in child:
                fields(child, body[name])
            if child["type"] == "array" and child["items"]["type"] == "object":
                fields(child["items"], {key: value for item in body[name] for key, value in item.items()})

    for plural, body in FULL.items():
        fields(schema_of(plural), body)
