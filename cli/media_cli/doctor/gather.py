"""Finds out what can be looked at: by options, variables, the pod that this is, the release that is named."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media_cli import target
from media_cli.doctor.site import POD_NAMESPACE, Environment, Release, Site, UnknownError, is_in_pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says."""

    urls: tuple[str, ...] = ()
    server: str | None = None
    token_file: Path | None = None
    public_url: str | None = None
    namespace: str | None = None
    component: str | None = None
    data_dir: Path | None = None
    upload: bool = False


@asynccontextmanager
async def site(asked: Asked) -> AsyncIterator[Site]:
    """Give what is known; raises target.TargetError for a server or token that cannot be used."""
    if asked.urls:
        # Who gives a URL asks for this one.
        yield Site(urls=asked.urls)
        return
    facts: dict[str, Any] = {"upload": asked.upload}
    unknown: dict[str, str] = {}
    namespace = asked.namespace or (POD_NAMESPACE.read_text().strip() if is_in_pod() else None)
    environments: dict[str, Environment] = {}
    api = None
    try:
        if namespace:
            api = await _connected(unknown)
            facts |= await _release(api, namespace, asked, environments, unknown)
        own = _own(asked.component)
        if not asked.namespace and any(os.environ.get(name) for name in ("MEDIA_STORE_URL", "MEDIA_REDIS_URL")):
            environments.setdefault(own, dict(os.environ))
        if own == "this account":
            unknown.setdefault("component", "Say whose account the variables AWS_… are: --component.")
        facts["public_url"] = asked.public_url or facts.get("public_url")
        facts["data_dir"] = asked.data_dir or _standalone(asked)
        yield Site(
            **facts,
            environments=environments,
            api=api,
            namespace=namespace,
            own=own if namespace and not asked.namespace else None,
            server=_server(asked, facts, environments),
            unknown=unknown,
        )
    finally:
        if api:
            await api.close()


def is_anything(site: Site) -> bool:
    """Tell whether there is anything to look at."""
    return bool(site.urls or site.server or site.environments or site.namespace or site.data_dir or site.public_url)


async def _connected(unknown: dict[str, str]) -> Any:
    try:
        from mediaasset.kube import connect  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as missing:
        unknown["api"] = f"{missing.name} is not installed: pip install 'media-operator[platform]'."
        return None
    try:
        return await connect()
    except OSError as problem:
        unknown["api"] = f"{problem}."
        return None


async def _release(
    api: Any, namespace: str, asked: Asked, environments: dict[str, Environment], unknown: dict[str, str]
) -> dict[str, Any]:
    if api is None:
        return {}
    from media_cli.doctor.cluster import own_release, translated  # noqa: PLC0415 - an extra of its own
    from media_cli.doctor.installed import read  # noqa: PLC0415 - the same

    if not asked.namespace:
        # A pod of ours may not read Deployments; it knows itself.
        release: Release = own_release(namespace)
        return {"release": release}
    try:
        with translated():
            found = await read(api, namespace)
    except UnknownError as why:
        unknown |= dict.fromkeys(("release", "store", "redis", "public_url"), str(why))
        return {}
    environments |= found.environments
    unknown |= found.unknown
    return {"release": found.release, "public_url": found.environments.get("operator", {}).get(_PUBLIC_URL)}


_PUBLIC_URL = "MEDIA_OPERATOR_PUBLIC_BASE_URL"


def _own(component: str | None) -> str:
    """Return whose variables these are."""
    return component or ("ingest" if os.environ.get("MEDIA_INGEST_TOKENS") else "this account")


def _standalone(asked: Asked) -> Path | None:
    if asked.namespace or is_in_pod():
        return None
    kept = target.data_directory()
    return kept if kept.is_dir() or os.environ.get("MEDIA_DATA_DIR") else None


def _server(asked: Asked, facts: Mapping[str, Any], environments: Mapping[str, Environment]) -> target.Target | None:
    url = asked.server
    if not url and asked.namespace:
        url = environments.get("ingest", {}).get("MEDIA_INGEST_PUBLIC_URL") or facts.get("public_url")
    if not url and (is_in_pod() or facts.get("data_dir")):
        url = target.DEFAULT_URL
    return target.find(url, asked.token_file) if url else None
