"""What is known of an installation before it is looked at, and from where it is known."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from media_cli.target import Target

if TYPE_CHECKING:
    from mediaasset.kube import Api

#: Where a pod finds the namespace that it runs in.
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Environment = Mapping[str, str]


class UnknownError(Exception):
    """Something is not known, so it cannot be looked at; the text says what to give."""


def not_known(text: str) -> NoReturn:
    """Raise UnknownError."""
    raise UnknownError(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An installed chart, as its Deployments say: the ServiceAccount of each component and where it works."""

    namespace: str
    work_namespace: str
    #: The namespaces that are watched; none are all of them.
    namespaces: tuple[str, ...] = ()
    service_accounts: Mapping[str, str] = field(default_factory=dict)
    #: Secrets that pods need and that do not exist, as namespace/name.
    missing: tuple[str, ...] = ()
    #: Of each Deployment, how many of its pods are wanted and how many are available.
    replicas: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What can be looked at; None or empty is what is not known, and `unknown` says why by the name of the field.

    environments holds the variables of each component that has credentials: MEDIA_STORE_…, AWS_…, MEDIA_REDIS_….
    """

    urls: tuple[str, ...] = ()
    server: Target | None = None
    #: What readers find before `media/…`.
    public_url: str | None = None
    data_dir: Path | None = None
    environments: Mapping[str, Environment] = field(default_factory=dict)
    api: "Api | None" = None
    #: The namespace of the release, if it was named or this is a pod of it.
    namespace: str | None = None
    release: Release | None = None
    #: The component that this process runs in the pod of.
    own: str | None = None
    upload: bool = False
    unknown: Mapping[str, str] = field(default_factory=dict)

    def lacks(self, name: str, otherwise: str) -> NoReturn:
        """Raise UnknownError for what is not known, with the reason or else this one."""
        raise UnknownError(self.unknown.get(name, otherwise))

    def stores(self) -> dict[str, Environment]:
        """Return the environments that name a bucket; raises UnknownError when none does."""
        found = {name: each for name, each in self.environments.items() if each.get("MEDIA_STORE_URL")}
        if not found:
            text = (
                "No bucket is known with an account: set MEDIA_STORE_URL and AWS_…, or name the release by --namespace."
            )
            self.lacks("store", text)
        return found

    def origins(self) -> dict[str, str]:
        """Return the URLs of every server that is known, each with what it is."""
        found: dict[str, str] = {}
        for url in self.urls:
            found.setdefault(url, "the given URL")
        if self.public_url:
            found.setdefault(self.public_url, "publicBaseURL")
        if self.server:
            found.setdefault(self.server.url, "the API")
        for each in self.environments.values():
            for name, what in {"AWS_ENDPOINT": "the store", "MEDIA_STORE_PUBLIC_ENDPOINT": "the public store"}.items():
                if endpoint := each.get(name):
                    found.setdefault(endpoint, what)
            if each.get("MEDIA_STORE_URL") and not each.get("AWS_ENDPOINT"):
                found.setdefault(f"https://s3.{each.get('AWS_REGION', 'us-east-1')}.amazonaws.com", "the store")
        # One look at each server is enough.
        unique: dict[tuple[str, str], tuple[str, str]] = {}
        for url, what in found.items():
            parts = urlsplit(url)
            unique.setdefault((parts.scheme, parts.netloc), (url, what))
        return dict(unique.values())


def is_in_cluster_only(host: str) -> bool:
    """Tell whether only pods know a name: that of a Service, or one without any dot."""
    return host.endswith((".svc", ".cluster.local")) or ("." not in host and host != "localhost" and ":" not in host)


def is_in_pod() -> bool:
    """Tell whether this is a pod of a cluster."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and POD_NAMESPACE.exists()
