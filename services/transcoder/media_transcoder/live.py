"""Progress for whoever watches: published to Redis beside the work, which never waits for it nor fails with it."""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mediaasset.task import PROGRESS_CHANNEL, REDIS_VARIABLE

if TYPE_CHECKING:
    from redis import Redis

#: Instead of a user and a password in the URL.
USERNAME_VARIABLE = "MEDIA_REDIS_USERNAME"
PASSWORD_VARIABLE = "MEDIA_REDIS_PASSWORD"  # noqa: S105 - the name of a variable

#: Between two messages, and before the first: work that is over by then has no progress to watch, and the client takes
#: as long to import as five sizes of a photograph take to make.
_PAUSE_SECONDS = 1.0
#: For connecting, for sending, and for the answer.
_TIMEOUT_SECONDS = 1.0
#: For the last message, when the work is done.
_LAST_SECONDS = 0.5


class Live:
    """Publishes on the channel of one asset what it is offered; of what comes within a second, the newest.

    A context manager: at the end of the work the last message still goes out, if Redis answers.
    """

    def __init__(self, uid: str, log: Callable[[str], None]) -> None:
        """Publish where MEDIA_REDIS_URL says, nowhere without it; `log` is told once if Redis fails."""
        self._url = os.environ.get(REDIS_VARIABLE)
        self._channel = PROGRESS_CHANNEL + uid
        self._log = log
        self._newest: str | None = None
        self._ending = threading.Event()
        self._has_told = self._is_failing = False
        # A daemon: the process ends, whatever this thread hangs in.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Do nothing: the thread starts with the first message."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last message; not for a Redis that fails, nor when a signal asks to end at once."""
        self._ending.set()
        is_stopped = kind is not None and not issubclass(kind, Exception)
        if self._thread.is_alive() and not (self._is_failing or is_stopped):
            self._thread.join(_LAST_SECONDS)

    def offer(self, message: str) -> None:
        """Have a message published in its turn, unless a newer one comes before; return at once."""
        if not self._url:
            return
        self._newest = message
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        client, published = None, None
        while not (is_last := self._ending.wait(_PAUSE_SECONDS)) or client is not None:
            message = self._newest
            try:
                client = client or _client(self._url or "")
                if message is not None and message != published:
                    client.publish(self._channel, message)
            except Exception as error:  # noqa: BLE001 - a wrong URL or a refusal: nothing here is worth the work
                self._fail(error)
            else:
                published, self._is_failing = message, False
            if is_last:
                return

    def _fail(self, error: Exception) -> None:
        if not self._has_told:
            # Parts of a URL that cannot be read stand in the error's text, and it may hold a password.
            text = "" if isinstance(error, ValueError) else f": {error}"
            self._log(f"Progress is not published to Redis ({type(error).__name__}{text}); the work goes on.")
        self._has_told = self._is_failing = True


def _client(url: str) -> "Redis":
    """Return a client that says nothing but AUTH and PUBLISH: whoever may do no more can use it."""
    # Imported here, as only few transcoders have a Redis and it costs more than all other modules together.
    from redis import ConnectionPool, Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    pool = ConnectionPool.from_url(
        url,
        username=os.environ.get(USERNAME_VARIABLE),
        password=os.environ.get(PASSWORD_VARIABLE),
        # No HELLO and no CLIENT SETINFO.
        protocol=2,
        driver_info=None,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        socket_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    # Channels belong to no database, so none is selected, whatever the URL says.
    pool.connection_kwargs["db"] = 0
    return Redis(connection_pool=pool)
