"""The cluster: API server, resources, rights of the components, their pods, and the nodes."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from media_cli.doctor.registry import Findings, error, ok, warning
from media_cli.doctor.site import Release, Site, UnknownError
from mediaasset.names import API_VERSION, ASSET_KIND, ASSET_PLURAL, GROUP, PROFILE_KIND, PROFILE_PLURAL, VERSION

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mediaasset.kube import Api

Json = dict[str, Any]

_REVIEWS = "/apis/authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Need:
    """A right that a component must have; where is `assets`, `work` or `cluster`."""

    component: str
    group: str
    resource: str
    verbs: tuple[str, ...]
    where: str
    sub: str = ""


#: What templates/rbac.yaml of the chart gives; a test holds them together.
NEEDS = (
    Need("operator", GROUP, ASSET_PLURAL, ("delete", "get", "list", "watch", "patch"), "assets"),
    Need("operator", GROUP, ASSET_PLURAL, ("update",), "assets", sub="status"),
    Need("operator", "", "events", ("create",), "assets"),
    Need("operator", GROUP, PROFILE_PLURAL, ("get", "list", "watch"), "cluster"),
    Need("operator", "batch", "jobs", ("create", "delete", "get", "list", "watch"), "work"),
    Need("operator", "", "pods", ("get", "list", "watch"), "work"),
    Need("operator", "", "events", ("list",), "work"),
    Need("ingest", GROUP, ASSET_PLURAL, ("create", "delete", "get", "list", "patch", "watch"), "assets"),
    Need("ingest", GROUP, PROFILE_PLURAL, ("get", "list", "watch"), "cluster"),
)


def translated() -> AbstractContextManager[None]:
    """Raise UnknownError where the API server does not answer or refuses: `api` says which."""
    from mediaasset import kube  # noqa: PLC0415 - an extra of its own

    return kube.translated(UnknownError)


def api_of(site: Site) -> "Api":
    """Return the way to the API server; raises UnknownError where there is none."""
    if site.api is None:
        site.lacks("api", "No cluster is named: give --namespace, that of the release.")
    return site.api


async def api(site: Site) -> Findings:
    """See whether the API server answers, and knows us."""
    if site.api is None and site.namespace:
        cause = "There is no kubeconfig, or what it names is not there."
        cure = "Set KUBECONFIG, or log in to the cluster."
        return [error("api-server", "API server", site.unknown.get("api", "It is not known."), cause, cure)]
    server = api_of(site)
    try:
        with translated():
            version = await server.call("GET", "/version")
            # It is answered only to who is known.
            await server.call("POST", f"{_REVIEWS}/selfsubjectrulesreviews", _review("SelfSubjectRulesReview"))
    except UnknownError as problem:
        return [
            error(
                "api-server",
                "API server",
                f"No use of it: {problem}.",
                "The kubeconfig is of another or a deleted cluster, its credentials expired, or the network is closed.",
                "See whether `kubectl version` works with the same kubeconfig.",
            )
        ]
    return [ok("API server", f"Kubernetes {version.get('gitVersion')} answers.")]


async def resources(site: Site) -> Findings:
    """Compare the resources that the API server knows with those that this version works with."""
    server = api_of(site)
    from mediaasset.kube import KubeError  # noqa: PLC0415 - the same
    from mediaasset.spec import MediaAssetSpec, MediaProfileSpec  # noqa: PLC0415 - the same
    from mediaasset.status import Status  # noqa: PLC0415 - the same

    wanted: dict[str, dict[str, type[BaseModel]]] = {
        ASSET_KIND: {"spec": MediaAssetSpec, "status": Status},
        PROFILE_KIND: {"spec": MediaProfileSpec},
    }
    cure = "Apply charts/media-operator/crds with `kubectl apply --server-side`, or `helm upgrade`."
    try:
        with translated():
            document = await server.call("GET", f"/openapi/v3/apis/{API_VERSION}")
    except UnknownError as problem:
        if isinstance(problem.__cause__, KubeError) and problem.__cause__.status == 404:  # noqa: PLR2004 - Not Found
            cause = "The chart was installed with --skip-crds, or somebody deleted them."
            return [error("crd-missing", API_VERSION, "The API server does not know it.", cause, cure)]
        raise
    known = {each.get("x-kubernetes-group-version-kind", [{}])[0].get("kind"): each for each in _schemas(document)}
    found: Findings = []
    for kind, parts in wanted.items():
        if kind not in known:
            cause = "Only some of the resources were installed."
            found.append(error("crd-missing", kind, "The API server does not know it.", cause, cure))
            continue
        schema = known[kind]
        missing = sorted(
            name
            for part, model in parts.items()
            for name in _fields(model.model_json_schema(by_alias=True), part)
            - _fields(schema.get("properties", {}).get(part, {}), part)
        )
        about = f"{kind} ({GROUP}/{VERSION})"
        if missing:
            named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")  # noqa: PLR2004 - enough to see which
            text = f"It lacks {len(missing)} fields: {named}."
            cause = "The CRDs are older than the programs; what they lack is dropped without a word."
            found.append(error("crd-old", about, text, cause, cure))
        else:
            found.append(ok(about, "It has every field that this version works with."))
    return found


def _schemas(document: Json) -> Iterator[Json]:
    yield from document.get("components", {}).get("schemas", {}).values()


def _fields(schema: Json, path: str) -> set[str]:
    """Return the paths of all fields of a JSON schema, of pydantic or of the API server."""
    definitions = schema.get("$defs", {})

    def walk(part: Json, at: str) -> Iterator[str]:
        if reference := part.get("$ref"):
            part = definitions.get(reference.rpartition("/")[2], {})
        for member in (*part.get("anyOf", ()), *part.get("allOf", ())):
            # Rules of validation repeat names in a form of their own; pydantic says by anyOf that a field may be null.
            if definitions:
                yield from walk(member, at)
        for name, child in part.get("properties", {}).items():
            yield f"{at}.{name}"
            yield from walk(child, f"{at}.{name}")
        if isinstance(items := part.get("items"), dict):
            yield from walk(items, at)

    return set(walk(schema, path))


async def rights(site: Site) -> Findings:
    """Ask the API server what each component's ServiceAccount may do."""
    server, release = api_of(site), release_of(site)
    reviews = await asyncio.gather(*(_lacking(server, release, need, site.own) for need in NEEDS if _asked(need, site)))
    found: Findings = []
    for component in dict.fromkeys(name for name, _ in reviews):
        lacking = [text for name, texts in reviews if name == component for text in texts]
        about = f"ServiceAccount {release.service_accounts.get(component, component)} of {component}"
        if lacking:
            found.append(
                error(
                    "rbac",
                    about,
                    f"It may not {'; '.join(lacking)}.",
                    "rbac.create is off, the roles are of an older version, or a namespace is not in watchNamespaces.",
                    "`helm upgrade`, or apply what docs/install.md renders of templates/rbac.yaml.",
                )
            )
        else:
            found.append(ok(about, "It may do what it needs."))
    return found


def _asked(need: Need, site: Site) -> bool:
    # A pod may ask for itself only.
    return site.own in (None, need.component)


async def _lacking(server: "Api", release: Release, need: Need, own: str | None) -> tuple[str, list[str]]:
    places = {
        "assets": release.namespaces or ("",),
        "work": (release.work_namespace,),
        "cluster": ("",),
    }[need.where]
    lacking = []
    for place in places:
        for verb in need.verbs:
            attributes = {
                "group": need.group,
                "resource": need.resource,
                "subresource": need.sub,
                "verb": verb,
                "namespace": place,
            }
            if not await _may(server, release, need.component, attributes, own):
                name = "/".join(part for part in (need.resource, need.sub) if part)
                lacking.append(f"{verb} {name}" + (f" in {place}" if place else " in all namespaces"))
    return need.component, lacking


async def _may(server: "Api", release: Release, component: str, attributes: Json, own: str | None) -> bool:
    account = release.service_accounts.get(component)
    with translated():
        if own:
            review = _review("SelfSubjectAccessReview", resourceAttributes=attributes)
            answer = await server.call("POST", f"{_REVIEWS}/selfsubjectaccessreviews", review)
        else:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{release.namespace}", "system:authenticated"]
            user = f"system:serviceaccount:{release.namespace}:{account}"
            review = _review("SubjectAccessReview", resourceAttributes=attributes, user=user, groups=groups)
            answer = await server.call("POST", f"{_REVIEWS}/subjectaccessreviews", review)
    return bool(answer.get("status", {}).get("allowed"))


def _review(kind: str, **spec: object) -> Json:
    namespace = {"namespace": "default"} if kind == "SelfSubjectRulesReview" else {}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {**namespace, **spec}}


def release_of(site: Site) -> Release:
    """Return the release; raises UnknownError where none is known."""
    if site.release is None:
        site.lacks("release", "No release is named: give --namespace.")
    return site.release


async def workloads(site: Site) -> Findings:
    """See whether the pods of each component run."""
    if site.release is None and "release" in site.unknown:
        cause = "The namespace is another one, or the chart is not installed."
        cure = "Name the namespace of `helm list --all-namespaces`."
        return [error("no-release", f"namespace {site.namespace}", site.unknown["release"], cause, cure)]
    release = release_of(site)
    found: Findings = []
    for name in release.missing:
        cause = "It was never made, or in another namespace: transcoders need theirs in the work namespace."
        cure = "Make it: docs/install.md, section 2."
        found.append(error("secret-missing", f"Secret {name}", "It does not exist.", cause, cure))
    if not release.replicas:
        site.lacks("replicas", "A pod does not see the Deployments: run it with --namespace from outside.")
    for name, (wanted, available) in release.replicas.items():
        about = f"Deployment {release.namespace}/{name}"
        if not wanted:
            cause = "Somebody scaled it down, as before a restore, or its values ask for no replicas."
            cure = f"kubectl -n {release.namespace} scale deploy/{name} --replicas=1, or `helm upgrade`."
            found.append(error("pods", about, "It is scaled to none.", cause, cure))
        elif available < wanted:
            found.append(
                error(
                    "pods",
                    about,
                    f"{available} of {wanted} pods are available.",
                    "Their image cannot be pulled, a Secret is missing, or they end: their events and logs say which.",
                    f"kubectl -n {release.namespace} describe pods; kubectl -n {release.namespace} logs deploy/{name}",
                )
            )
        else:
            found.append(ok(about, f"{available} of {wanted} pods are available."))
    return found


async def nodes(site: Site) -> Findings:
    """See whether nodes lack disk or memory: their pods are evicted, and none is started there."""
    server = api_of(site)
    with translated():
        listed = (await server.call("GET", "/api/v1/nodes"))["items"]
    found: Findings = []
    for node in listed:
        states = {each["type"]: each["status"] for each in node.get("status", {}).get("conditions", ())}
        about = f"node {node['metadata']['name']}"
        for kind, (fault, cause, cure) in _PRESSURES.items():
            if states.get(kind) == "True":
                found.append(warning(fault, about, f"It says {kind}.", cause, cure))
    return found or [ok("nodes", f"None of {len(listed)} lacks disk or memory.")]


_PRESSURES = {
    "DiskPressure": (
        "disk-full",
        "Its disk is nearly full, of images, logs, or the scratch space and caches of pods (emptyDir).",
        "Make room or give it a larger disk; lower gateway.cache.size or scratchSizeLimit of transcoder.classes.",
    ),
    "MemoryPressure": (
        "memory-full",
        "Its memory is nearly used up: pods have higher limits than requests.",
        "Add nodes, or raise the requests of what runs there, or lower operator.maxActiveJobs.",
    ),
}


def own_release(namespace: str) -> Release:
    """Return what a pod knows of its release, by its own variables."""
    work = os.environ.get("MEDIA_INGEST_WORK_NAMESPACE", f"{namespace}-work")
    watched = json.loads(os.environ.get("MEDIA_INGEST_NAMESPACES") or "[]")
    return Release(namespace=namespace, work_namespace=work, namespaces=tuple(watched))
