"""What an installed release says of itself: its Deployments, the pod template of transcoders, their Secrets."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from media_cli.doctor.site import Environment, Release, UnknownError
from mediaasset.kube import KubeError, resource

if TYPE_CHECKING:
    from mediaasset.kube import Api

Json = dict[str, Any]

_SELECTOR = {"labelSelector": "app.kubernetes.io/part-of=media-operator"}
_COMPONENT = "app.kubernetes.io/component"


class Found:
    """A release as it was found; unknown says why something of it is not known."""

    def __init__(self, release: Release, environments: Mapping[str, Environment], unknown: dict[str, str]) -> None:
        """Take what was read."""
        self.release = release
        self.environments = environments
        self.unknown = unknown


async def read(api: "Api", namespace: str) -> Found:
    """Read the release of a namespace.

    Raises UnknownError where there is none, and what the API server raises.
    """
    listed = await api.call("GET", resource("apps/v1", "deployments", namespace=namespace), query=_SELECTOR)
    deployments = {each["metadata"]["labels"].get(_COMPONENT, ""): each for each in listed["items"]}
    if "operator" not in deployments:
        text = f"There is no release of media-operator in the namespace {namespace}."
        raise UnknownError(text)
    pods = {name: each["spec"]["template"]["spec"] for name, each in deployments.items()}
    variables = _literal(pods["operator"])
    work = variables.get("MEDIA_OPERATOR_WORK_NAMESPACE", f"{namespace}-work")
    release = Release(
        namespace=namespace,
        work_namespace=work,
        namespaces=tuple(json.loads(variables.get("MEDIA_OPERATOR_NAMESPACES") or "[]")),
        service_accounts={name: pod.get("serviceAccountName", "default") for name, pod in pods.items()},
        replicas={each["metadata"]["name"]: _replicas(each) for each in deployments.values()},
    )
    places = {name: (namespace, pod) for name, pod in pods.items()}
    if template := await _template(api, namespace):
        places["transcoder"] = work, template
    unknown: dict[str, str] = {}
    environments = {}
    missing: list[str] = []
    for name, (place, pod) in places.items():
        try:
            environments[name] = await _environment(api, place, pod, missing)
        except KubeError as problem:
            text = f"The Secrets of {name} in {place} cannot be read: {problem}"
            unknown |= dict.fromkeys(("store", "component", "redis"), text)
    known = {name: as_seen_here(each) for name, each in environments.items()}
    return Found(replace(release, missing=tuple(dict.fromkeys(missing))), _with_store(known), unknown)


def _replicas(deployment: Json) -> tuple[int, int]:
    return deployment["spec"].get("replicas", 1), deployment.get("status", {}).get("availableReplicas", 0)


def as_seen_here(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a component without the bucket if no key is among them.

    Its account is then an identity of the cloud, or its Secret is missing: boto3 would take an account of this machine.
    """
    is_known = "AWS_ACCESS_KEY_ID" in environment and "AWS_SECRET_ACCESS_KEY" in environment
    return {name: value for name, value in environment.items() if is_known or name != "MEDIA_STORE_URL"}


def _with_store(environments: dict[str, dict[str, str]]) -> dict[str, Environment]:
    """Return the environments, that of the gateway with the variables of the others where it signs for itself."""
    found: dict[str, Environment] = dict(environments)
    gateway, other = environments.get("gateway", {}), environments.get("operator", {})
    wanted = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GATEWAY_SIGNING_KEY")
    own = {name: gateway[name] for name in wanted if name in gateway}
    if own:
        found["gateway"] = {**other, **own}
    return found


async def _template(api: "Api", namespace: str) -> Json | None:
    listed = await api.call("GET", resource("v1", "configmaps", namespace=namespace), query=_SELECTOR)
    for each in listed["items"]:
        if each["metadata"]["labels"].get(_COMPONENT) == "transcoder" and "pod.yaml" in each.get("data", {}):
            template: Json = yaml.safe_load(each["data"]["pod.yaml"])
            return dict(template["spec"])
    return None


def _literal(pod: Json) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["containers"][0].get("env", ()) if "value" in each}


async def _environment(api: "Api", namespace: str, pod: Json, missing: list[str]) -> dict[str, str]:
    found = _literal(pod)
    # A path inside of the pod means nothing here.
    found.pop("SSL_CERT_FILE", None)
    for each in pod["containers"][0].get("env", ()):
        reference = each.get("valueFrom", {}).get("secretKeyRef")
        if not reference:
            continue
        try:
            secret = await api.call("GET", resource("v1", "secrets", namespace=namespace, name=reference["name"]))
        except KubeError as problem:
            if problem.status != 404:  # noqa: PLR2004 - Not Found
                raise
            if not reference.get("optional"):
                missing.append(f"{namespace}/{reference['name']}")
            continue
        if (value := secret.get("data", {}).get(reference["key"])) is not None:
            found[each["name"]] = base64.b64decode(value).decode("utf-8", "replace")
    return found
