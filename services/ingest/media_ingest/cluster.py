"""The composition root of the cluster: the API over Kubernetes and S3."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog
from redis.asyncio import Redis

from media_ingest import metrics
from media_ingest.app import create_app
from media_ingest.auth import Tokens
from media_ingest.jwts import JwtSettings, Verifier
from media_ingest.limiting import Limiter
from media_ingest.live import LiveProgress
from media_ingest.locks import RedisLocks
from media_ingest.scan import scanner_of
from media_ingest.server import Server
from media_ingest.settings import ClusterSettings
from media_ingest.shared import RedisSettings
from media_ingest.shared import connect as connect_redis
from media_ingest.whatsapp.accounts import Accounts
from media_ingest.whatsapp.secrets import labelled, named
from mediaasset import exposition
from mediaasset.environment import load
from mediaasset.jobs import ProgressReader
from mediaasset.kube import Api, connect
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from mediaasset.task import Progress

#: How often the file of tokens is looked at, in seconds; the kubelet itself takes a minute to renew it.
_TOKENS_SECONDS = 5

_LOG = structlog.get_logger(__name__)


async def serve(settings: ClusterSettings, bucket: StoreSettings) -> None:
    """Serve until SIGINT or SIGTERM, and let the requests that run then come to their end.

    An API server or store that does not answer is no error: /readyz says so. Raises OSError, ValueError and MediaError,
    with a text for people, for a file or setting that is wrong.
    """
    listener = _listen(settings.host, settings.port)
    store = open_store(bucket, settings.signer())
    parts = S3Parts(bucket)
    tokens = _load(settings)
    jwt = load(JwtSettings)
    redis = connect_redis(load(RedisSettings))
    api = await connect()
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(exposition.served(settings.metrics_port, settings.host))
            assets = KubernetesAssets(api, settings.namespaces, component="media-ingest")
            await stack.enter_async_context(assets)
            metrics.MIRROR_SILENT.set_function(assets.silent_seconds)
            await stack.enter_async_context(_following(settings, tokens))
            app = create_app(
                assets=assets,
                store=store,
                parts=parts,
                forms=parts,
                progress=await _progress(stack, redis),
                tokens=tokens,
                settings=settings,
                locks=RedisLocks(redis) if redis else None,
                limiter=Limiter(redis),
                scanner=scanner_of(settings),
                verifier=Verifier(jwt, settings.namespaces) if jwt.is_on else None,
                accounts=_accounts(api, settings),
            )
            # The address that limits count by and the scheme are those that the nearest proxies say.
            server = Server(
                app, shutdown_seconds=settings.shutdown_seconds, trusted_proxies=",".join(settings.trusted_proxies)
            )
            await server.serve(sockets=[listener])
    finally:
        await api.close()
        if redis is not None:
            await redis.aclose()


class Unknown:
    """Implements `ProgressReader` where no Redis is: nobody reports progress."""

    async def progress(self, uid: str) -> Progress | None:  # noqa: ARG002 - the signature is the port's
        """Return nothing."""
        return None


async def _progress(stack: AsyncExitStack, redis: Redis | None) -> ProgressReader:
    if redis is None:
        return Unknown()
    live = LiveProgress(redis)
    await stack.enter_async_context(live.listening())
    return live


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        message = f"cannot listen on {host} port {port}: {error.strerror}"
        raise OSError(message) from error


def _accounts(api: Api, settings: ClusterSettings) -> Accounts | None:
    if settings.work_namespace is None:
        return None
    if settings.whatsapp_discover:
        return labelled(api, settings.work_namespace)
    return named(api, settings.work_namespace, settings.whatsapp_accounts)


def _load(settings: ClusterSettings) -> Tokens:
    tokens = Tokens.load(settings.tokens)
    strange = tokens.namespaces - set(settings.namespaces) if settings.namespaces else frozenset()
    if strange:
        message = f"{settings.tokens} has tokens for namespaces that are not served: {', '.join(sorted(strange))}"
        raise ValueError(message)
    return tokens


@asynccontextmanager
async def _following(settings: ClusterSettings, tokens: Tokens) -> AsyncIterator[None]:
    """Keep the tokens as the file says for as long as it runs."""
    task = asyncio.create_task(_follow(settings, tokens))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _follow(settings: ClusterSettings, tokens: Tokens) -> None:
    seen = await asyncio.to_thread(_state, settings.tokens)
    while True:
        await asyncio.sleep(_TOKENS_SECONDS)
        state = await asyncio.to_thread(_state, settings.tokens)
        if state == seen:
            continue
        seen = state
        try:
            tokens.replace(await asyncio.to_thread(_load, settings))
        except (OSError, ValueError) as error:
            _LOG.error("the tokens that were read before stay", error=str(error))
        else:
            _LOG.info("tokens read", file=str(settings.tokens))


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with the file, also when a link on the way to it is set anew; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
