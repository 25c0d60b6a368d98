"""All checks, in the order in which their findings are shown: what is wrong first is often the cause of the rest."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module

from media_cli.doctor import flow, machine, network, store
from media_cli.doctor.registry import Check, Findings
from media_cli.doctor.site import Site, UnknownError


def _lazily(module: str, name: str) -> Callable[[Site], Awaitable[Findings]]:
    """Return a check of a module that needs the extra `platform`."""

    async def look(site: Site) -> Findings:
        try:
            found = import_module(f"media_cli.doctor.{module}")
        except ModuleNotFoundError as missing:
            text = f"{missing.name} is not installed: pip install 'media-operator[platform]'."
            raise UnknownError(text) from missing
        result: Findings = await getattr(found, name)(site)
        return result

    return look


def prepare(site: Site) -> None:
    """Import what takes long, before the time of any check counts; what is not installed its check tells of."""
    modules = ("mediaasset.s3client", "redis.asyncio") if site.environments else ()
    for name in modules:
        with suppress(ModuleNotFoundError):
            import_module(name)


CHECKS = (
    Check("directory", machine.look),
    Check("dns", network.dns),
    Check("tls", network.tls),
    Check("store", store.reach),
    Check("clock", store.clock),
    Check("rights", _lazily("rights", "look"), seconds=90),
    Check("bucket", store.settings),
    Check("storage", store.storage),
    Check("redis", _lazily("counters", "look")),
    Check("api", _lazily("cluster", "api")),
    Check("crd", _lazily("cluster", "resources")),
    Check("rbac", _lazily("cluster", "rights")),
    Check("pods", _lazily("cluster", "workloads")),
    Check("nodes", _lazily("cluster", "nodes")),
    Check("ingress", _lazily("routes", "look")),
    Check("server", flow.server),
    Check("route", flow.route),
    Check("media", flow.media, seconds=90),
    Check("upload", flow.upload, seconds=flow.UPLOAD_SECONDS + 60),
)

#: Those that say something about a URL alone.
OF_URL = (Check("dns", network.dns), Check("tls", network.tls), Check("url", flow.urls, seconds=120))
