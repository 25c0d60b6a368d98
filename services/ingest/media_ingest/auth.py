"""Who asks: Bearer tokens, of which only the SHA-256 is kept, and what each may do."""

import fnmatch
import hashlib
from collections.abc import Awaitable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from starlette.datastructures import Headers
from starlette.requests import Request

from media_ingest.errors import Problem, Slug
from mediaasset import keys
from mediaasset.invalid import problems
from mediaasset.spec import DNS_LABEL, SHA256

#: Where the user of a request stands in its ASGI scope, for the access log.
USER_SCOPE = "media_ingest.user"
#: And there what a JWT was found to be: a Token, or the Problem that it is answered with.
IDENTITY_SCOPE = "media_ingest.identity"

DEFAULT_PATHS = ("users/{user}", "users/{user}/*", "avatars/user_{user}")
_UNKNOWN = "The token is not known here: check that it is whole and still valid."
_REALM = 'Bearer realm="media-operator"'


class Scope(StrEnum):
    """What a token may do. ADMIN means all of it, for the assets of every user of the namespace and for any path."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ADMIN = "admin"


class Token(BaseModel):
    """One entry of the file: the hash of a token, whose it is, and what it may do.

    A pattern in `paths` is compared segment by segment: `*` is one segment, `**` any number of them, and {user} the
    user of the token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    sha256: Annotated[str, StringConstraints(pattern=SHA256)]
    user: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    username: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    namespace: Annotated[str, StringConstraints(pattern=DNS_LABEL)]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    paths: tuple[str, ...] = DEFAULT_PATHS
    name: str | None = None

    @field_validator("user")
    @classmethod
    def _has_a_path(cls, user: str) -> str:
        # The default path of an upload is made from it.
        if not keys.is_public_path(f"users/{user}"):
            message = "may hold only letters, digits, dot, dash and underscore, and not begin with a dot"
            raise ValueError(message)
        return user

    def has(self, scope: Scope) -> bool:
        """Tell whether the token may do this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_write(self, path: str) -> bool:
        """Tell whether the token may put renditions under this public path."""
        return Scope.ADMIN in self.scopes or any(
            _matches(pattern.replace("{user}", self.user).split("/"), path.split("/")) for pattern in self.paths
        )

    def may_see(self, user: str | None) -> bool:
        """Tell whether the token may see the assets of this user of its namespace."""
        return Scope.ADMIN in self.scopes or user == self.user


class Tokens:
    """All tokens, found by the SHA-256 of what a client presents.

    The search takes no time that depends on the secret in a way that helps to guess it: whoever tries tokens cannot
    choose their hashes, so how far a comparison of hashes got says nothing about the next token to try.
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        """Take the entries; raises ValueError when two have the same hash."""
        self._by_hash: dict[str, Token] = {}
        for token in tokens:
            if token.sha256 in self._by_hash:
                message = f"the token of {token.username} has the same sha256 as an entry before it"
                raise ValueError(message)
            self._by_hash[token.sha256] = token

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a YAML or JSON file: a list of entries.

        Raises ValueError, which names the entry and never shows its values, for a file that is no such list; OSError
        for one that cannot be read.
        """
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = getattr(error, "problem_mark", None)
            message = f"{path} is neither YAML nor JSON" + (f" (line {where.line + 1})" if where else "")
            raise ValueError(message) from None
        if not isinstance(entries, list):
            message = f"{path} must hold a list of tokens"
            raise ValueError(message)  # noqa: TRY004 - one kind of error for all that is wrong in the file
        try:
            return cls([_entry(number, entry) for number, entry in enumerate(entries, 1)])
        except ValueError as error:
            message = f"{path}: {error}"
            raise ValueError(message) from None

    @classmethod
    def of(
        cls,
        token: str,
        *,
        user: str = "1",
        username: str = "user",
        namespace: str = "default",
        scopes: Iterable[Scope] = (Scope.ADMIN,),
        paths: tuple[str, ...] = DEFAULT_PATHS,
    ) -> Self:
        """Make the tokens of a service that has just one."""
        entry = Token(
            sha256=digest(token),
            user=user,
            username=username,
            namespace=namespace,
            scopes=frozenset(scopes),
            paths=paths,
        )
        return cls([entry])

    def replace(self, others: "Tokens") -> None:
        """Become those others: whoever holds these sees them from now on."""
        self._by_hash = others._by_hash  # noqa: SLF001 - it is of this class

    @property
    def namespaces(self) -> frozenset[str]:
        """Return the namespaces that any token belongs to."""
        return frozenset(token.namespace for token in self._by_hash.values())

    def find(self, presented: str) -> Token | None:
        """Return the entry of a token, None for one that is not known."""
        return self._by_hash.get(digest(presented))


def digest(token: str) -> str:
    """Return what the file keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def presented(headers: Headers) -> str | None:
    """Return the token that a request presents, None without one."""
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def refused(reason: str) -> Problem:
    """Return the problem of a token that is not valid (RFC 6750, section 3.1)."""
    return Problem(
        Slug.UNAUTHORIZED,
        reason,
        headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token", error_description="{reason}"'},
    )


async def outcome(verification: Awaitable[Token]) -> Token | Problem:
    """Return what came of a verification, for `authorize` to use or to raise."""
    try:
        return await verification
    except Problem as problem:
        return problem


def authorize(request: Request, tokens: Tokens, scope: Scope) -> Token:
    """Return the token of a request; raises Problem 401 without a valid one, 403 when it lacks the scope."""
    text = presented(request.headers)
    if text is None:
        raise Problem(Slug.UNAUTHORIZED, headers={"WWW-Authenticate": _REALM})
    token = request.scope.get(IDENTITY_SCOPE) or tokens.find(text)
    if isinstance(token, Problem):
        raise token
    if token is None:
        raise refused(_UNKNOWN)
    request.scope[USER_SCOPE] = token.user
    if not token.has(scope):
        raise Problem(
            Slug.FORBIDDEN,
            f"The token lacks the scope {scope}: use one that has it.",
            # RFC 6750, section 3.1.
            headers={"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"'},
        )
    return token


def _matches(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])


def _entry(number: int, entry: object) -> Token:
    name = entry.get("name") or entry.get("username") if isinstance(entry, dict) else None
    label = f"entry {number}" + (f" ({name})" if name else "")
    try:
        return Token.model_validate(entry)
    except ValidationError as error:
        # The input stays out of the message: somebody may have put the token where its hash belongs.
        message = f"{label}: " + "; ".join(problems(error))
        raise ValueError(message) from None
