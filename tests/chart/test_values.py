"""What may be given to the chart, and what is refused."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts/media-operator"
Json = dict[str, Any]
SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text())


def resolved(schema: Json) -> Json:
    if "$ref" in schema:
        found: Json = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def sections(schema: Json, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Yield every object whose keys are ours, with its place."""
    schema = resolved(schema)
    if "properties" in schema:
        yield place, schema
        for name, child in schema["properties"].items():
            yield from sections(child, (*place, name))


SECTIONS = dict(sections(SCHEMA))


def at(values: Json, place: tuple[str, ...]) -> Json:
    found = values
    for name in place:
        found = found[name]
    return found


@pytest.mark.parametrize("place", SECTIONS, ids=".".join)
def test_every_value_has_a_default_and_every_default_a_schema(place: tuple[str, ...]) -> None:
    # What stands in these two is Kubernetes' own.
    if place[-1:] != ("resources",):
        assert set(at(DEFAULTS, place)) == set(SECTIONS[place]["properties"])


@pytest.mark.parametrize("place", SECTIONS, ids=".".join)
def test_a_typo_is_refused_in_every_section(place: tuple[str, ...]) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(DEFAULTS)
    values = deepcopy(DEFAULTS)
    at(values, place)["typo"] = 1
    if place == ("global",):
        # A chart that has ours as a part may put its own things there.
        jsonschema.Draft7Validator(SCHEMA).validate(values)
    else:
        with pytest.raises(jsonschema.ValidationError, match="'typo' was unexpected"):
            jsonschema.Draft7Validator(SCHEMA).validate(values)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("operator.maxActivJobs", "1"),
        ("operator.maxActiveJobs", "0"),
        ("operator.replicas", "2"),
        ("operator.foreignPrefixes[0]", "/imports/"),
        ("operator.jobTTLSeconds", "60"),
        ("ingest.replicas", "0"),
        ("ingest.image.digest", "sha256:1"),
        ("gateway.cache.size", "0"),
        ("gateway.cache.size", "100k"),
        ("publicBaseURL", "media.example.org"),
        ("s3.bucket", "Media"),
        ("s3.prefix", "a b"),
        ("s3.credentials.anonymous.existingSecret", "s3"),
        ("gateway.corsOrigins[0]", "shop.example"),
        ("gateway.limits.requestsPerAddress", "100"),
        ("gateway.maxAges[0].path", "media/"),
        ("watchNamespaces[0]", "Shop"),
        ("networkPolicy.deniedCIDRs[0]", "10.0.0.1"),
        ("transcoder.classes.video.scratchSizeLimit", "lots"),
    ],
)
def test_helm_refuses_what_the_schema_forbids(helm: Callable[..., Any], minimal: Json, place: str, value: str) -> None:
    given = ("--set" if value.isdecimal() else "--set-string", f"{place}={value}")
    done = helm("template", "media", str(CHART), *given, values=minimal)
    assert done.returncode
    assert "schema" in done.stderr
    assert place.partition(".")[0].partition("[")[0] in done.stderr


@pytest.mark.parametrize("missing", ["publicBaseURL", "s3.bucket", "tokens.existingSecret"])
def test_what_an_install_must_have_is_asked_for(helm: Callable[..., Any], minimal: Json, missing: str) -> None:
    done = helm("template", "media", str(CHART), "--set-string", f"{missing}=", values=minimal)
    assert done.returncode
    assert f"{missing} is needed" in done.stderr


def test_a_route_needs_a_gateway(helm: Callable[..., Any], minimal: Json) -> None:
    done = helm("template", "media", str(CHART), "--set", "httpRoute.enabled=true", values=minimal)
    assert "httpRoute.parentRefs is needed" in done.stderr


def test_the_version_of_the_program_is_that_of_the_chart() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'\nversion = "{chart["appVersion"]}"\n' in project
    assert chart["version"] == chart["appVersion"]
