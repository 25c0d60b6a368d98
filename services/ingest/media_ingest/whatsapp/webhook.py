"""What Meta's webhook delivers, made into assets: who signed it, which account it is for, and each message once."""

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import ValidationError

from media_ingest import metrics
from media_ingest.delivered import create_once
from media_ingest.errors import Problem, Slug
from media_ingest.service import Service
from media_ingest.whatsapp.accounts import Account, Accounts
from media_ingest.whatsapp.payload import Message, messages
from mediaasset.invalid import problems
from mediaasset.names import delivered_asset_name
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, Source, WhatsAppSource

#: What Meta sends at most: "payloads can be up to 3 MB".
MAX_BYTES = 3 * 1024 * 1024

#: So many assets of one delivery are made at a time.
_PARALLEL = 16
#: Meta delivers for 7 days, and media can be fetched for 7 days. What is older was recorded by somebody and is
#: replayed, perhaps after its asset was deleted: tombstones last longer than this, but not for ever.
_OLDEST = timedelta(days=8)
_PREFIX = "sha256="

_LOG = structlog.get_logger("media_ingest.whatsapp")


def signers(accounts: Iterable[Account], body: bytes, signature: str | None) -> tuple[Account, ...]:
    """Return the accounts whose app signed a body, by the header X-Hub-Signature-256.

    Raises Problem signature-missing, signature-invalid. The time taken does not tell which secret came how close.
    """
    if not signature:
        raise Problem(Slug.SIGNATURE_MISSING, headers={"WWW-Authenticate": "X-Hub-Signature-256"})
    given = signature.removeprefix(_PREFIX).encode()
    by_secret: dict[bytes, list[Account]] = {}
    for account in accounts:
        by_secret.setdefault(account.app_secret.get_secret_value().encode(), []).append(account)
    matching = [
        owners
        for secret, owners in by_secret.items()
        if hmac.compare_digest(hmac.new(secret, body, hashlib.sha256).hexdigest().encode(), given)
    ]
    if not matching or not signature.startswith(_PREFIX):
        raise Problem(Slug.SIGNATURE_INVALID)
    return tuple(account for owners in matching for account in owners)


def knows(accounts: Iterable[Account], token: str) -> bool:
    """Tell whether a verify token is that of any account."""
    given = token.encode()
    # All are compared, so that the time does not tell which one came close.
    tokens = [account.verify_token.get_secret_value().encode() for account in accounts]
    return sum(hmac.compare_digest(known, given) for known in tokens) > 0


async def deliver(service: Service, accounts: Sequence[Account], payload: Any) -> Mapping[str, int]:
    """Make the assets of a payload that these accounts' app signed; return how many messages had which outcome.

    created, known (of an earlier delivery), deleted (since then), unknown_account, old, invalid. Raises AssetsError or
    MediaError unless every asset exists or need not: Meta then delivers all of it again, and none is made twice.
    """
    now = datetime.now(UTC)
    by_number = {account.phone_number_id: account for account in accounts}
    gate = asyncio.Semaphore(_PARALLEL)

    async def one(message: Message) -> str:
        account = by_number.get(message.phone_number_id)
        if account is None:
            _LOG.warning("a message for no WhatsApp account of its app", phone_number_id=message.phone_number_id)
            return "unknown_account"
        if now - message.timestamp > _OLDEST:
            _LOG.warning("a message that is too old", account=account.name, message=message.id)
            return "old"
        try:
            asset = asset_of(account, message)
        except ValidationError as error:
            _LOG.warning("a message that cannot be an asset", account=account.name, errors=problems(error))
            return "invalid"
        async with gate:
            return (await create_once(service, asset)).outcome

    # Each is tried, whatever becomes of the others: the next delivery has the less to do.
    found = [one(message) for message in messages(payload, now)]
    outcomes = await asyncio.gather(*found, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    counted = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    for outcome, count in (*counted.items(), ("failed", len(errors))):
        if count:
            metrics.WHATSAPP_MESSAGES.labels(outcome).inc(count)
    if errors:
        raise errors[0]
    return counted


def asset_of(account: Account, message: Message) -> MediaAsset:
    """Return the asset of a message: the same name whenever it is delivered. Raises ValidationError."""
    name = delivered_asset_name("whatsapp", message.phone_number_id, message.id, message.media_id or "")
    spec = MediaAssetSpec(
        source=Source(
            whatsapp=WhatsAppSource(
                account_name=account.name,
                media_id=message.media_id,
                message_id=message.id,
                sender=message.sender or None,
                timestamp=message.timestamp,
                mime_type=message.mime_type,
                sha256=message.sha256,
                voice=message.voice,
                animated=message.animated,
                failure=message.failure,
            )
        ),
        type=message.kind,
        profile_name=account.profile_name,
        public_path=account.path(),
        collection=account.collection_of(message.sender),
        user_id=account.user_id,
        original_file_name=message.file_name,
        caption=message.caption,
        metadata={**message.metadata, "account": account.name},
        expire_seconds_after_creation=account.expire_seconds_after_creation,
    )
    return MediaAsset(metadata=Metadata(namespace=account.namespace, name=name), spec=spec)


async def all_signers(accounts: Accounts, body: bytes, signature: str | None) -> tuple[Account, ...]:
    """Do what `signers` does without holding others up: hashing 3 MB takes milliseconds, for each app."""
    return await asyncio.to_thread(signers, await accounts.all(), body, signature)
