"""Tokens of an identity provider: JWTs (RFC 7519), verified by its published keys (RFC 7517)."""

import asyncio
import json
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import httpx2
import jwt
import structlog
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from media_ingest.auth import DEFAULT_PATHS, Scope, Token, digest, refused
from media_ingest.errors import Problem, Slug
from mediaasset.spec import DNS_LABEL

#: A list of keys is looked at again when it is so old; one that cannot be renewed is believed for a day.
_FRESH_SECONDS, _STALE_SECONDS = 600, 86_400
#: An unknown key, or a failure, is no reason to ask more often than this.
_PAUSE_SECONDS = 10
_TIMEOUT_SECONDS = 5
_MAX_JWKS_BYTES = 1024 * 1024
#: What no compact JWT of a request's header is longer than; httptools takes 64 KiB for all headers.
_MAX_LENGTH = 16 * 1024

_LOG = structlog.get_logger("media_ingest")


class Flaw(StrEnum):
    """Why a JWT is refused, as its bearer is told; nothing of the token stands in it."""

    LONG = "The JWT is too long."
    UNREADABLE = "The JWT cannot be read: check that it is whole."
    ALGORITHM = "The JWT is signed by an algorithm that is not taken here."
    KEY = "The JWT is signed by a key that its issuer does not publish."
    SIGNATURE = "The signature of the JWT is wrong."
    EXPIRED = "The JWT has expired: get a new one."
    EARLY = "The JWT is not valid yet: check the clocks."
    AUDIENCE = "The JWT is for another audience."
    ISSUER = "The JWT is from another issuer."
    LACKING = "The JWT lacks one of the claims exp, iss, aud."
    NAMESPACE = "The JWT is for a namespace that is not served here."
    OTHER = "The JWT is not valid."


_FLAWS: Mapping[type[jwt.InvalidTokenError], Flaw] = {
    jwt.ExpiredSignatureError: Flaw.EXPIRED,
    jwt.ImmatureSignatureError: Flaw.EARLY,
    jwt.InvalidAudienceError: Flaw.AUDIENCE,
    jwt.InvalidIssuerError: Flaw.ISSUER,
    jwt.InvalidSignatureError: Flaw.SIGNATURE,
    jwt.MissingRequiredClaimError: Flaw.LACKING,
}


class JwtSettings(BaseSettings):
    """What is believed of a JWT: the variables MEDIA_INGEST_JWT_…. Without a JWKS there are only tokens of the file.

    A claim is named by its path, with dots between (`realm_access.roles`); a name that itself holds dots or slashes,
    such as `https://example.org/user`, is looked for as it is first.
    """

    model_config = SettingsConfigDict(env_prefix="MEDIA_INGEST_JWT_", frozen=True)

    #: Where the keys are: a URL, or a file, which is read again when it has changed.
    jwks_url: Annotated[str, Field(pattern=r"^https?://[^\s#]+$")] | None = None
    jwks_file: Path | None = None
    #: Both must be in each token: without them, one that was made for another service would do.
    issuer: str | None = None
    audience: str | None = None
    #: Only with a pair of keys: who can check such a token cannot make one.
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"], ...] = (
        "RS256",
        "PS256",
        "ES256",
        "EdDSA",
    )
    #: How far the clocks may differ, in seconds.
    leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 30
    user_claim: Annotated[str, Field(min_length=1)] = "sub"
    #: For display; the user where it is absent.
    username_claim: Annotated[str, Field(min_length=1)] = "preferred_username"
    #: The namespace is that of the claim, or of all tokens if there is no such claim.
    namespace_claim: Annotated[str, Field(min_length=1)] = "namespace"
    namespace: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    #: A list, or words in one string; only those that begin with the prefix count, without it.
    scopes_claim: Annotated[str, Field(min_length=1)] = "scope"
    scope_prefix: str = ""
    #: A list of patterns as in the file of tokens; absent, or empty here, are those that are the default there.
    paths_claim: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.jwks_url and self.jwks_file:
            message = "give either a JWKS URL or a JWKS file"
            raise ValueError(message)
        if self.is_on and not (self.issuer and self.audience and self.algorithms):
            message = "a JWKS needs the issuer, the audience and an algorithm"
            raise ValueError(message)
        return self

    @property
    def is_on(self) -> bool:
        """Tell whether JWTs are taken at all."""
        return bool(self.jwks_url or self.jwks_file)


class Verifier:
    """Turns a JWT into what its bearer may do."""

    def __init__(self, settings: JwtSettings, namespaces: tuple[str, ...] = ()) -> None:
        """Take the settings, which are on, and the namespaces that tokens may be for, all if none."""
        self._settings = settings
        self._namespaces = frozenset(namespaces)
        self._keys = Keys(settings.jwks_url or settings.jwks_file or "")

    async def verify(self, token: str) -> Token:
        """Return the token's rights.

        Raises Problem: unauthorized with a reason that shows nothing of the token; issuer-unavailable while there are
        no keys to check it by.
        """
        if len(token) > _MAX_LENGTH:
            raise refused(Flaw.LONG)
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise refused(Flaw.UNREADABLE) from None
        settings = self._settings
        if header.get("alg") not in settings.algorithms:
            raise refused(Flaw.ALGORITHM)
        key = await self._keys.find(header.get("kid"))
        if key is None:
            raise refused(Flaw.KEY)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.InvalidTokenError as error:
            raise refused(_FLAWS.get(type(error), Flaw.OTHER)) from None
        return self._token(claims)

    def _token(self, claims: Mapping[str, Any]) -> Token:
        settings = self._settings
        user = claim(claims, settings.user_claim)
        namespace = claim(claims, settings.namespace_claim) or settings.namespace
        granted = claim(claims, settings.scopes_claim)
        paths = claim(claims, settings.paths_claim) if settings.paths_claim else None
        try:
            token = Token.model_validate(
                {
                    # The same through all the tokens that a user is given: limits count by it.
                    "sha256": digest(f"jwt:{settings.issuer}:{namespace}:{user}"),
                    "user": user,
                    "username": claim(claims, settings.username_claim) or user,
                    "namespace": namespace,
                    "scopes": _scopes(granted, settings.scope_prefix),
                    "paths": DEFAULT_PATHS if paths is None else paths,
                }
            )
        except ValidationError as error:
            wrong = sorted({str(item["loc"][0]) for item in error.errors()})
            reason = f"The JWT says nothing usable of: {', '.join(wrong)}."
            raise refused(reason) from None
        if self._namespaces and token.namespace not in self._namespaces:
            raise refused(Flaw.NAMESPACE)
        return token


class Keys:
    """The public keys of an issuer, renewed while they are used."""

    def __init__(self, source: str | Path) -> None:
        """Take their URL or file."""
        self._source = source
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at = self._tried_at = -float("inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: object) -> jwt.PyJWK | None:
        """Return the key of this id, None for one that is not published; without an id, the only one there is.

        Raises Problem issuer-unavailable while none could be had.
        """
        if time.monotonic() - self._fetched_at > _FRESH_SECONDS:
            fetching = self._renew()
            if fetching is not None and not self._keys:
                await asyncio.shield(fetching)
        found = self._known(kid)
        if found is None:
            # The issuer may have changed its keys; whoever invents ids does not make us ask at each.
            fetching = self._renew()
            if fetching is not None:
                await asyncio.shield(fetching)
            found = self._known(kid)
        if not self._keys or time.monotonic() - self._fetched_at > _STALE_SECONDS:
            raise Problem(Slug.ISSUER_UNAVAILABLE)
        return found

    def _known(self, kid: object) -> jwt.PyJWK | None:
        if kid is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == kid), None)

    def _renew(self) -> "asyncio.Task[None] | None":
        """Return the one fetch that runs, or a new one; None where the last is too fresh."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if time.monotonic() - self._tried_at < _PAUSE_SECONDS:
            return None
        self._tried_at = time.monotonic()
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            raw = await (_download(self._source) if isinstance(self._source, str) else _read(self._source))
            self._keys = _usable(json.loads(raw))
        except (httpx2.HTTPError, jwt.PyJWTError, OSError, ValueError, TimeoutError) as error:
            _LOG.warning("the keys that verify JWTs could not be renewed", source=str(self._source), error=repr(error))
        else:
            self._fetched_at = time.monotonic()


def claim(claims: Mapping[str, Any], path: str) -> object:
    """Return a claim by its name, or by its names with dots between; None where there is none."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _scopes(granted: object, prefix: str) -> list[str]:
    words = granted.split() if isinstance(granted, str) else granted if isinstance(granted, list) else []
    names = {word.removeprefix(prefix) for word in words if isinstance(word, str) and word.startswith(prefix)}
    # Other words are scopes of other services: openid, email.
    return sorted(names & set(Scope))


def _usable(document: object) -> list[jwt.PyJWK]:
    if not isinstance(document, dict):
        message = "a JWKS must be an object"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for all that is wrong in it
    # A key of a kind that the library does not know is left out; a secret one has no business in such a list.
    keys = jwt.PyJWKSet.from_dict(document).keys
    return [key for key in keys if key.key_type in ("RSA", "EC", "OKP") and key.public_key_use in (None, "sig")]


async def _download(url: str) -> bytes:
    async with (
        asyncio.timeout(_TIMEOUT_SECONDS),
        httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, headers={"Accept": "application/json"}) as client,
        client.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _MAX_JWKS_BYTES:
                message = "a JWKS may have 1 MiB"
                raise ValueError(message)
        return body


async def _read(path: Path) -> bytes:
    return await asyncio.to_thread(path.read_bytes)
