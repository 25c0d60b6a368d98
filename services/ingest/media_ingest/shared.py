"""Redis, where the replicas of ingest share what none of them must lose for ever: limits, locks, progress."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

#: For connecting and for an answer: it is in the same network, and no request may wait for it longer.
TIMEOUT_SECONDS = 0.25


class RedisSettings(BaseSettings):
    """Where Redis is: the variables MEDIA_REDIS_…, the same as a transcoder's. Without a URL there is none."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_REDIS_", frozen=True)

    #: redis://HOST:PORT/DATABASE, or rediss:// for TLS. It may hold the user and the password.
    url: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    #: Connections that one process opens at most.
    connections: int = Field(default=50, ge=2)


def connect(settings: RedisSettings) -> Redis | None:
    """Return a client, which connects when it is first used; None without a URL.

    Raises ValueError, which does not show the URL, for one that cannot be read.
    """
    if settings.url is None:
        return None
    try:
        pool = BlockingConnectionPool.from_url(
            settings.url.get_secret_value(),
            max_connections=settings.connections,
            timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        message = "MEDIA_REDIS_URL must be like redis://host:6379 or rediss://host:6379"
        raise ValueError(message) from None
    if settings.username is not None:
        pool.connection_kwargs["username"] = settings.username
    if settings.password is not None:
        pool.connection_kwargs["password"] = settings.password.get_secret_value()
    return Redis.from_pool(pool)
