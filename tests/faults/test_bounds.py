"""The bounds that the schema sets to each field of the spec: what lies on them works, what lies beyond is refused."""

import pytest
import yaml

import apiserver
from kubeclient import Json
from mediaasset.names import API_VERSION
from scene import ASSETS, Scene

CRD = yaml.safe_load((apiserver.CRDS / "mediaassets.yaml").read_text())
SPEC: Json = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
RENDITION: Json = SPEC["renditions"]["items"]["properties"]


def bounds(schema: Json) -> tuple[list[object], list[object]]:
    """Return the values at the bounds of a field, and those just beyond them."""
    if "enum" in schema:
        return list(schema["enum"]), ["", f"{schema['enum'][0]}x"]
    if schema["type"] == "boolean":
        return [True, False], ["true"]
    if schema["type"] == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        within = [each for each in (low, high) if each is not None]
        return list(within), [1.5, *([low - 1] if low is not None else []), *([high + 1] if high is not None else [])]
    if schema["type"] == "string" and "maxLength" in schema and "pattern" not in schema:
        low, high = schema.get("minLength", 0), schema["maxLength"]
        return ["\u00e9" * low, "\u00e9" * high], [*(["x" * (low - 1)] if low else []), "x" * (high + 1), 7]
    if "maxProperties" in schema:
        high = schema["maxProperties"]
        return [{}, {f"{n:0128}": "x" * 1024 for n in range(high)}], [{f"{n}": "" for n in range(high + 1)}, {"": "x"}]
    return PATTERNS[schema["pattern"]] if "pattern" in schema else ([], [])


_LABEL = "a" * 63
_SEGMENT = "a" * 63
#: Values of the patterns that specs have.
PATTERNS: dict[str, tuple[list[object], list[object]]] = {
    SPEC["profileName"]["pattern"]: ([_LABEL, "a"], [_LABEL + "a", "", "-a", "A"]),
    SPEC["collection"]["pattern"]: (
        ["a", f"{_SEGMENT}/{_SEGMENT}/{_SEGMENT}/a", "a/b/c/d/e/f/g/h"],
        ["", "../a", "a//b", _SEGMENT + "a", "a/b/c/d/e/f/g/h/i", "a" * 50 + ("/" + "a" * 50) * 3],
    ),
    SPEC["stablePath"]["pattern"]: (
        ["a.jpg", "\u00e9" * 296 + ".JPG"],
        ["", "a", "a.exe", "/a.jpg", "a//b.jpg", ".a/b.jpg", "by-name/a.jpg", f"x-{'0' * 16}.jpg", "a" * 297 + ".jpg"],
    ),
    RENDITION["name"]["pattern"]: (["a", "a" + "-" * 31], ["", "A", "1", "a" * 33]),
    RENDITION["preset"]["pattern"]: (["ultrafast", "slow"], ["", "placebo"]),
}
#: What a value needs beside it, so that the rules between fields hold.
BESIDE: dict[str, Json] = {
    "fit": {"width": 64, "height": 64},
    "codec": {"for": "Video", "format": "MP4"},
    "animated": {"format": "WebP"},
}


def spec_with(name: str, value: object) -> Json:
    """Return a spec in which a field has this value: one of its own, or of a rendition."""
    if name in SPEC:
        return {name: value, **({"collection": "ads/1"} if name == "collectionPolicy" else {})}
    rendition = {"name": "x", "for": "Image", "format": "JPEG", **BESIDE.get(name, {}), name: value}
    return {"type": None, "renditions": [rendition]}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fields", [SPEC, RENDITION], ids=["spec", "rendition"])
def test_the_bounds_of_each_field(scene: Scene, fields: Json) -> None:
    scene.operator.start()
    names = list[str]()
    for field, schema in fields.items():
        if field in {"source", "renditions", "for", "format"}:
            continue
        within, beyond = bounds(schema)
        assert within, field
        for number, value in enumerate(within):
            names.append(scene.create(f"{field.lower()}-{number}", **spec_with(field, value)))
        for value in beyond:
            asked = {"source": {"object": {"key": "uploads/shop/x/source"}}, **spec_with(field, value)}
            body = {"apiVersion": API_VERSION, "kind": "MediaAsset", "metadata": {"name": "beyond"}}
            answer = scene.kube.call("POST", ASSETS, {**body, "spec": asked}, accepted={422, 400})
            assert answer["kind"] == "Status", (field, value)
    for name in names:
        scene.until(lambda name=name: _is_settled(scene, name))  # type: ignore[misc]
    # Another asset is not held up by any of them.
    scene.create("other")
    scene.ready("other")


def _is_settled(scene: Scene, name: str) -> bool:
    state = scene.state(name)
    return (
        scene.asset(name) is None or bool({"Ready", "Stalled"} & set(state)) or state.get("Ready=False") == "Suspended"
    )
