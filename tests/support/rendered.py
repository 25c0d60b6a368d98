"""What the chart renders, and what there is in it."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import yaml

Json = dict[str, Any]
Render = Callable[[str], list[Json]]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def of_kind(rendered: list[Json], *kinds: str) -> list[Json]:
    return [body for body in rendered if body["kind"] in kinds]


def named(rendered: list[Json], kind: str, name: str) -> Json:
    [found] = [body for body in of_kind(rendered, kind) if body["metadata"]["name"] == name]
    return found


def pod_of(workload: Json) -> Json:
    template: Json = workload["spec"]["template"]
    return template


def container_of(workload: Json) -> Json:
    [container] = pod_of(workload)["spec"]["containers"]
    found: Json = container
    return found


def env_of(container: Json) -> dict[str, str]:
    """Return the variables of a container; one from a Secret holds where it comes from."""
    variables = container["env"]
    assert len({each["name"] for each in variables}) == len(variables)
    return {each["name"]: each.get("value") or json.dumps(each.get("valueFrom", "")) for each in variables}


def template_of(rendered: list[Json]) -> Json:
    [config] = [each for each in of_kind(rendered, "ConfigMap") if "pod.yaml" in each["data"]]
    template: Json = yaml.safe_load(config["data"]["pod.yaml"])
    return template
