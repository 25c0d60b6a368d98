"""The way in: Ingresses and HTTPRoutes of a release, whether one leads to publicBaseURL, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from media_cli.doctor.cluster import api_of, release_of, translated
from media_cli.doctor.registry import Finding, Findings, error, ok, warning
from media_cli.doctor.site import Release, Site
from mediaasset.kube import KubeError

if TYPE_CHECKING:
    from mediaasset.kube import Api

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One of them, the hosts that it is for (none are all), and what keeps it from working."""

    name: str
    hosts: tuple[str, ...]
    trouble: Finding | None

    def is_for(self, host: str) -> bool:
        """Tell whether requests for a host come this way; `*.example.org` is for each name below."""
        wildcards = (each.removeprefix("*") for each in self.hosts if each.startswith("*."))
        return not self.hosts or host in self.hosts or "" in self.hosts or host.endswith(tuple(wildcards))


async def look(site: Site) -> Findings:
    """Look for an Ingress or HTTPRoute of the release that leads to publicBaseURL, and for what is wrong with it."""
    server, release = api_of(site), release_of(site)
    if not site.public_url:
        site.lacks("public_url", "publicBaseURL is not known: give --public-url.")
    host = urlsplit(site.public_url).hostname or ""
    with translated():
        services = {each["metadata"]["name"] for each in await _listed(server, "/api/v1", release, "services")}
        ingresses = await _listed(server, "/apis/networking.k8s.io/v1", release, "ingresses")
        routes = await _listed(server, "/apis/gateway.networking.k8s.io/v1", release, "httproutes")
    known = [_of_ingress(each, services) for each in ingresses] + [_of_route(each, services) for each in routes]
    return [_led(release, host, known)]


def _led(release: Release, host: str, known: list[Route]) -> Finding:
    about = f"routes of {release.namespace} to {host}"
    fitting = [each for each in known if each.is_for(host)]
    if not known:
        cause = "ingress.enabled and httpRoute.enabled are off."
        return error("no-route", about, "There is none.", cause, "Turn one on, or lead the paths yourself.")
    if not fitting:
        others = ", ".join(sorted({each for route in known for each in route.hosts}))
        cause = "ingress.hosts or httpRoute.hostnames name other hosts than publicBaseURL."
        return error("route-host", about, f"They lead to {others} only.", cause, "Make the hosts agree.")
    if all(troubles := [each.trouble for each in fitting]):
        return next(each for each in troubles if each)
    return ok(about, f"{', '.join(each.name for each in fitting if not each.trouble)} lead there.")


def _of_ingress(body: Json, services: set[str]) -> Route:
    name, spec = f"ingresses/{body['metadata']['name']}", body.get("spec", {})
    rules = spec.get("rules", ())
    paths = [path for rule in rules for path in rule.get("http", {}).get("paths", ())]
    backends = [spec.get("defaultBackend", {}), *(path.get("backend", {}) for path in paths)]
    trouble = _nowhere(name, (each.get("service", {}).get("name") for each in backends), services)
    if not trouble and not body.get("status", {}).get("loadBalancer", {}).get("ingress"):
        cause = "No Ingress controller takes it: ingress.className is wrong, or the controller is not installed."
        cure = "Name the class of one: kubectl get ingressclass."
        trouble = warning("route-waiting", name, "It has no address.", cause, cure)
    return Route(name, tuple(rule.get("host", "") for rule in rules), trouble)


def _of_route(body: Json, services: set[str]) -> Route:
    name, spec = f"httproutes/{body['metadata']['name']}", body.get("spec", {})
    own = body["metadata"].get("namespace")
    references = [each for rule in spec.get("rules", ()) for each in rule.get("backendRefs", ())]
    # What lies elsewhere, or is no Service, its Gateway judges: the condition ResolvedRefs says how.
    near = [each for each in references if each.get("kind", "Service") == "Service"]
    names = (each["name"] for each in near if each.get("namespace", own) == own)
    trouble = _nowhere(name, names, services) or _unattached(name, body.get("status", {}).get("parents", ()))
    return Route(name, tuple(spec.get("hostnames", ())), trouble)


def _nowhere(name: str, backends: Iterator[str | None], services: set[str]) -> Finding | None:
    missing = sorted({each for each in backends if each} - services)
    if not missing:
        return None
    text = f"It leads to {', '.join(missing)}, and there is no such Service."
    cause = "The Service was deleted, or the route was changed by hand or is of a release of another name."
    return error("route-backend", name, text, cause, "`helm upgrade` brings about both as the chart has them.")


def _unattached(name: str, parents: list[Json]) -> Finding | None:
    """Return what no Gateway makes of a route: conditions of RouteParentStatus in the Gateway API, v1."""
    if not parents:
        cause = "No Gateway takes it: httpRoute.parentRefs names none that exists, or its controller is not installed."
        return warning("route-waiting", name, "No Gateway has looked at it.", cause, "See kubectl get gateways -A.")
    refusals = [_refusal(parent) for parent in parents]
    # One Gateway that takes it is enough.
    if None in refusals:
        return None
    text = f"Its Gateway refuses it: {refusals[0]}"
    cause = "The listener is for other hosts, or lets no routes of this namespace in, or a backend may not be used."
    cure = "Correct the listener's hostname and allowedRoutes, or httpRoute.parentRefs and httpRoute.hostnames."
    return error("route-refused", name, text, cause, cure)


def _refusal(parent: Json) -> str | None:
    conditions = [each for each in parent.get("conditions", ()) if each["type"] in ("Accepted", "ResolvedRefs")]
    return next((f"{each['reason']}: {each['message']}" for each in conditions if each["status"] == "False"), None)


async def _listed(server: "Api", base: str, release: Release, kind: str) -> list[Json]:
    try:
        found: list[Json] = (await server.call("GET", f"{base}/namespaces/{release.namespace}/{kind}"))["items"]
    except KubeError as problem:
        # The Gateway API is not installed everywhere.
        if problem.status == 404:  # noqa: PLR2004 - Not Found
            return []
        raise
    return found
