"""The composition root: ingest, operator core and transcoder in one process on one machine."""

import asyncio
import ipaddress
import logging
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvloop
from starlette.applications import Starlette

from media_ingest.app import create_app
from media_ingest.auth import Tokens
from media_ingest.jwts import JwtSettings, Verifier
from media_ingest.scan import scanner_of
from media_ingest.server import STOPPING, Server
from media_ingest.settings import Settings as IngestSettings
from media_ingest.whatsapp.accounts import in_directory
from media_operator import gauges
from media_operator.loop import Loop
from media_operator.reconcile import Reconciler
from media_operator.settings import Settings as OperatorSettings
from media_standalone.assets import SqliteAssets, load_profiles
from media_standalone.database import Database
from media_standalone.datadir import DataDir
from media_standalone.directory import open_store
from media_standalone.jobs import ProcessJobs
from media_standalone.partial import DirectoryParts
from media_standalone.process import Runner
from media_standalone.serving import routes
from media_standalone.sweeping import sweeping
from mediaasset import exposition
from mediaasset.environment import load
from mediaasset.signing import UrlSigner

_LOG = structlog.get_logger(__name__)

#: A token for others than this machine has at least so many characters.
MIN_TOKEN_LENGTH = 16
#: How long requests may take to end once it is told to stop, in seconds.
_SHUTDOWN_SECONDS = 5
_PUBLIC_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?\Z")


class OptionsError(Exception):
    """The options do not fit together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. port 0 is a free one; token and tokens may both be absent on loopback."""

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path
    token: str | None = None
    tokens: Path | None = None
    public_url: str | None = None
    profiles: Path | None = None

    def check(self) -> None:
        """Raise OptionsError for options that would be unsafe or unclear."""
        if self.token and self.tokens:
            message = "give either --token or --tokens"
            raise OptionsError(message)
        if self.public_url is not None and not _PUBLIC_URL.match(self.public_url):
            message = "--public-url must be like https://media.example.org or http://host:8080/path"
            raise OptionsError(message)
        if _is_loopback(self.host) or self.tokens:
            return
        if not self.token or len(self.token) < MIN_TOKEN_LENGTH:
            message = (
                f"--host {self.host} can be reached from other machines: give --tokens FILE, or a --token of at least"
                f" {MIN_TOKEN_LENGTH} characters"
            )
            raise OptionsError(message)


def run(options: Options) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises OptionsError, InUseError, SchemaError, ValueError, OSError and sqlite3.Error, each with a text for people.
    """
    options.check()
    _configure_logs()
    data = DataDir(options.data_dir.absolute())
    with data.locked(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, data))


async def _serve(options: Options, data: DataDir) -> None:
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(options.host, options.port))
        base_url = options.public_url or _url(options.host, listener)
        signer = UrlSigner(base_url, data.url_secret())
        store = open_store(data.store, signer)
        data.remove_leftovers()
        database = await Database.open(data.database)
        stack.push_async_callback(database.close)

        # The adapters wake the loop, and the loop calls the adapters: the knot is tied through `wake`.
        def wake(namespace: str, name: str) -> None:
            loop.wake(namespace, name)

        assets = SqliteAssets(database, wake, load_profiles(options.profiles))
        runner = Runner(store_url=data.store.as_uri(), scratch=data.scratch, accounts=data.accounts)
        jobs = ProcessJobs(database, runner, wake)
        # More at once than there are processors would only share them; the environment may say less.
        settings = OperatorSettings(public_base_url=base_url)
        settings = settings.model_copy(update={"max_active_jobs": min(settings.max_active_jobs, jobs.slots)})
        reconciler = Reconciler(assets, jobs, store, settings, lambda: datetime.now(UTC), wake=wake)
        loop = Loop(reconciler.reconcile, assets.unfinished)

        _look_for_ffmpeg()
        stack.push_async_callback(jobs.close)
        await jobs.resume()
        # Finished ones too, once: the public URL may be another than at the last start.
        for key in (*await assets.unfinished(), *await assets.everything()):
            loop.wake(*key)
        driving = asyncio.create_task(loop.run())
        stack.push_async_callback(_cancelled, driving)

        ingest = IngestSettings(public_url=options.public_url) if options.public_url else IngestSettings()
        jwt = load(JwtSettings)
        parts = DirectoryParts(data.partial, data.store)
        stack.enter_context(exposition.served(ingest.metrics_port, options.host))
        app = create_app(
            assets=assets,
            store=store,
            parts=parts,
            scanner=scanner_of(ingest),
            progress=jobs,
            tokens=_tokens(options, data),
            settings=ingest,
            verifier=Verifier(jwt) if jwt.is_on else None,
            accounts=in_directory(data.accounts),
            routes=routes(data.store, signer),
        )
        for beside in (sweeping(assets, store, parts, ingest), gauges.follow(loop, reconciler.line)):
            stack.push_async_callback(_cancelled, asyncio.create_task(beside))
        hint = None if options.token or options.tokens else f"Token: {data.token}"
        server = _Server(app, _url(options.host, listener), hint)
        # A loop that ends is an error of ours; serving on without it would accept work that is never done.
        driving.add_done_callback(lambda _: setattr(server, "should_exit", True))
        await server.serve(sockets=[listener])
        if driving.done():
            driving.result()


class _Server(Server):
    """The server that says when it is ready; signals that come after its end do nothing."""

    def __init__(self, app: Starlette, url: str, hint: str | None) -> None:
        super().__init__(app, shutdown_seconds=_SHUTDOWN_SECONDS)
        self._url = url
        self._hint = hint

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            lines = [f"Serving {self._url}", *([self._hint] if self._hint else [])]
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        try:
            with super().capture_signals():
                yield
        finally:
            # From here on the children are being ended; a second signal must not leave them behind.
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        message = f"cannot listen on {host} port {port}: {error.strerror}"
        raise OSError(message) from error
    listener.setblocking(False)  # noqa: FBT003 - the signature of the standard library
    return listener


def _url(host: str, listener: socket.socket) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host
    else:
        # A wildcard is no name that anybody could connect to.
        name = socket.gethostname() if address.is_unspecified else f"[{host}]" if address.version == 6 else host  # noqa: PLR2004 - IPv6
    return f"http://{name}:{listener.getsockname()[1]}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tokens(options: Options, data: DataDir) -> Tokens:
    if options.tokens:
        return Tokens.load(options.tokens)
    return Tokens.of(options.token or data.own_token())


def _look_for_ffmpeg() -> None:
    missing = [program for program in ("ffmpeg", "ffprobe") if shutil.which(program) is None]
    if missing:
        _LOG.warning("Video and audio will fail, images and documents work: install what is missing.", missing=missing)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([task])


def _configure_logs() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            # The default formatter would print local variables, and with them the tokens of requests.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
