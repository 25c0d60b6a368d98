"""Signed webhooks of any sender, by Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks.

A source is who may send: its secrets, and what its media become.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import structlog
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from media_ingest import intake
from media_ingest.auth import DEFAULT_PATHS, Scope, Token, digest
from media_ingest.errors import Problem, Slug
from media_ingest.fields import Fields
from media_ingest.jsonbody import Item
from mediaasset.invalid import problems
from mediaasset.names import delivered_asset_name
from mediaasset.spec import DNS_LABEL, MediaAsset

#: The headers that are signed with the body.
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
#: What Standard Webhooks advise senders to stay far below (20 kB).
MAX_BYTES = 256 * 1024
#: Bytes of a secret, by the specification.
_SECRET_BYTES = range(24, 65)
_ID_LENGTH = 256

_LOG = structlog.get_logger("media_ingest.inbound")


def _sound(secret: SecretStr) -> SecretStr:
    message = "must be whsec_ and the base64 of 24 to 64 bytes"
    text = secret.get_secret_value()
    try:
        raw = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(message) from None
    if not text.startswith("whsec_") or len(raw) not in _SECRET_BYTES:
        raise ValueError(message)
    return secret


class Source(BaseModel):
    """Who sends: any of the secrets will do, so that a new one can be brought in before the old one goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    name: Annotated[str, StringConstraints(pattern=DNS_LABEL)]
    secrets: Annotated[tuple[Annotated[SecretStr, AfterValidator(_sound)], ...], Field(min_length=1, max_length=8)]
    namespace: Annotated[str, StringConstraints(pattern=DNS_LABEL)]
    user: str
    paths: tuple[str, ...] = DEFAULT_PATHS

    def verify(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Return the id of a delivery; raises Problem signature-missing, signature-invalid.

        The window of time, five minutes to both sides, is the library's.
        """
        given = {name: headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE)}
        if not all(given.values()):
            detail = f"Send the headers {ID}, {TIMESTAMP} and {SIGNATURE}, as Standard Webhooks have them."
            raise Problem(Slug.SIGNATURE_MISSING, detail, headers={"WWW-Authenticate": "Standard-Webhooks"})
        # All are tried, so that the time does not tell which secret came how close.
        found = [_refusal(secret.get_secret_value(), body, given) for secret in self.secrets]
        if all(found):
            raise Problem(Slug.SIGNATURE_INVALID, f"{found[0]}.")
        if len(given[ID]) > _ID_LENGTH:
            raise Problem(Slug.SIGNATURE_INVALID, f"The {ID} may have {_ID_LENGTH} characters.")
        return given[ID]

    def asset_of(self, delivery: str, body: Mapping[str, Any]) -> MediaAsset:
        """Return the asset that a delivery asks for, of the same name each time; raises Problem."""
        item = Item.read(body)
        form = item.form(body)
        token = self.token()
        spec = Fields.read(form.fields).to_spec(token, form.file, source={"url": item.url}, kind=item.type)
        return intake.asset_of(token, delivered_asset_name("in", self.name, delivery), spec)

    def token(self) -> Token:
        """Return what the source may do, as if it had a token for it; nobody can present that one."""
        return Token(
            sha256=digest(""),
            user=self.user,
            username=self.name,
            namespace=self.namespace,
            scopes=frozenset({Scope.WRITE}),
            paths=self.paths,
        )


class Sources:
    """The sources of a file, which is read again when it has changed."""

    def __init__(self, path: Path | None = None) -> None:
        """Take a YAML or JSON file with a list of sources, None for no sources.

        Raises ValueError, with a text for people that holds no secret, for a file that is none; OSError for one that
        cannot be read.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._sources: dict[str, Source] = {}
        if path is not None:
            self._seen = _state(path)
            self._sources = _load(path)

    def find(self, name: str) -> Source:
        """Return a source; raises Problem not-found."""
        self._renew()
        source = self._sources.get(name)
        if source is None:
            raise Problem(Slug.NOT_FOUND, "There is no such source.")
        return source

    def _renew(self) -> None:
        if self._path is None:
            return
        try:
            state = _state(self._path)
            if state == self._seen:
                return
            self._seen = state
            self._sources = _load(self._path)
        except (OSError, ValueError) as error:
            _LOG.error("the sources of webhooks that were read before stay", error=str(error))


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _load(path: Path) -> dict[str, Source]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        message = f"{path} is neither YAML nor JSON"
        raise ValueError(message) from None
    if not isinstance(entries, list):
        message = f"{path} must hold a list of sources"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for all that is wrong in the file
    return {source.name: source for source in _read(path, entries)}


def _read(path: Path, entries: Iterable[object]) -> Iterable[Source]:
    names = set()
    for number, entry in enumerate(entries, 1):
        try:
            source = Source.model_validate(entry)
            source.token()
        except ValidationError as error:
            message = f"{path}: entry {number}: " + "; ".join(problems(error))
            raise ValueError(message) from None
        if source.name in names:
            message = f"{path}: two sources have the name {source.name}"
            raise ValueError(message)
        names.add(source.name)
        yield source


def _refusal(secret: str, body: bytes, headers: dict[str, str]) -> str:
    """Return why a delivery is not signed with this secret; empty if it is."""
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except WebhookVerificationError as error:
        return str(error) or "No matching signature found"
    except ValueError:
        # What is no list of signatures, no base64 or no UTF-8, the library does not expect.
        return "The signature cannot be read"
    return ""
