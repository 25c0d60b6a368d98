"""The WhatsApp accounts: what each is told by, and where they are read.

An account is a set of named texts: the keys of a Secret in a cluster, the files of a directory in standalone. The
transcoder reads two of them, `token` and `namespace`, from the same place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, field_validator

from mediaasset import keys
from mediaasset.assets import AssetsError
from mediaasset.invalid import problems
from mediaasset.spec import DNS_LABEL, ExpireSeconds

#: The texts of each account, by its name.
Texts = Mapping[str, Mapping[str, str]]

#: How long what was read is believed, in seconds.
_FRESH_SECONDS = 5
#: How long media of chats are kept unless the account says otherwise.
_RETENTION_SECONDS = 90 * 24 * 3600
_NEVER = "never"
#: In a collection, what stands for the sender of each message.
_SENDER = "{sender}"
_MAX_BYTES = 64 * 1024

_LOG = structlog.get_logger("media_ingest.whatsapp")

_Secret = Annotated[SecretStr, Field(min_length=1)]


class Account(BaseModel):
    """One account: a phone number, what opens it, and what becomes of the media that are sent to it.

    The names of the texts are the members in camelCase, as in a MediaAsset; keys of other names are not looked at.
    expire_seconds_after_creation is None, as a text `never`, for media that are kept until somebody deletes them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, StringConstraints(pattern=DNS_LABEL)]
    namespace: Annotated[str, StringConstraints(pattern=DNS_LABEL)]
    phone_number_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$"), Field(alias="phoneNumberID")]
    token: _Secret
    app_secret: Annotated[_Secret, Field(alias="appSecret")]
    verify_token: Annotated[_Secret, Field(alias="verifyToken")]
    business_account_id: Annotated[
        str | None, StringConstraints(pattern=r"^[0-9]{1,32}$"), Field(alias="businessAccountID")
    ] = None
    user_id: Annotated[str | None, StringConstraints(min_length=1, max_length=128), Field(alias="userID")] = None
    profile_name: Annotated[str, StringConstraints(pattern=DNS_LABEL), Field(alias="profileName")] = "whatsapp"
    public_path: Annotated[
        str | None,
        StringConstraints(pattern=keys.PUBLIC_PATH_PATTERN, max_length=keys.PUBLIC_PATH_MAX_LENGTH),
        Field(alias="publicPath"),
    ] = None
    collection: Annotated[str, StringConstraints(max_length=200)] | None = None
    expire_seconds_after_creation: Annotated[ExpireSeconds | None, Field(alias="expireSecondsAfterCreation")] = (
        _RETENTION_SECONDS
    )

    @field_validator("expire_seconds_after_creation", mode="before")
    @classmethod
    def _or_never(cls, text: object) -> object:
        return None if text == _NEVER else text

    def path(self) -> str:
        """Return where its media lie among those of the namespace."""
        return self.public_path or f"whatsapp/{self.name}"

    def collection_of(self, sender: str) -> str:
        """Return what the media of one sender are listed under: by default a conversation each."""
        collection = self.collection or f"whatsapp/{self.name}/{_SENDER}"
        # A sender that is no segment of a path is nobody that WhatsApp knows.
        filled = collection.replace(_SENDER, sender)
        return filled if keys.is_public_path(filled) else collection.replace(_SENDER, "unknown")


class Accounts:
    """All accounts, as they were at most a few seconds ago."""

    def __init__(self, read: Callable[[], Awaitable[Texts]]) -> None:
        """Take where they are read; it may raise AssetsError."""
        self._read = read
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._texts: Texts = {}
        self._accounts: tuple[Account, ...] = ()

    async def all(self) -> tuple[Account, ...]:
        """Return all that are complete, by name; raises AssetsError when they cannot be read now."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() >= self._until:
                texts = await self._read()
                if texts != self._texts:
                    self._accounts = tuple(_sound(texts))
                self._texts, self._until = texts, loop.time() + _FRESH_SECONDS
            return self._accounts

    async def find(self, name: str, namespace: str) -> Account | None:
        """Return an account of a namespace by its name; None when there is none."""
        found = (account for account in await self.all() if (account.name, account.namespace) == (name, namespace))
        return next(found, None)


def in_directory(path: Path) -> Accounts:
    """Return the accounts of a directory, which has a directory for each; it need not exist."""

    async def read() -> Texts:
        return await asyncio.to_thread(_read_directory, path)

    return Accounts(read)


def none_at_all() -> Accounts:
    """Return the accounts of a service that has none."""

    async def read() -> Texts:
        return {}

    return Accounts(read)


def _read_directory(path: Path) -> Texts:
    try:
        return {
            account.name: {file.name: _text(file) for file in account.iterdir() if file.is_file()}
            for account in path.iterdir()
            if account.is_dir()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        message = f"the accounts in {path} cannot be read: {error}"
        raise AssetsError(message) from error


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES).decode(errors="replace")


def _sound(texts: Texts) -> list[Account]:
    found: dict[str, Account] = {}
    for name, values in sorted(texts.items()):
        try:
            # A file written with an editor ends in a newline.
            account = Account.model_validate({**{key: value.strip() for key, value in values.items()}, "name": name})
        except ValidationError as error:
            # Without the values: one of them is the token.
            _LOG.warning("a WhatsApp account is not complete", account=name, errors=problems(error))
            continue
        first = found.setdefault(account.phone_number_id, account)
        if first is not account:
            _LOG.error("two WhatsApp accounts have one phone number id", account=name, instead=first.name)
    return list(found.values())
