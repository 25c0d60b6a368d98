"""Messages with an Idempotency-Key: one that is asked for again and again is sent once.

What became of it lies in the store, for no replica may forget it: the order is written before anything is sent, the
answer afterwards. A message whose end nobody knows is not sent again: that is the client's to decide, with a new key.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import structlog

from media_ingest.auth import Token
from media_ingest.errors import Problem, Slug
from media_ingest.service import Service
from media_ingest.whatsapp import sending
from media_ingest.whatsapp.accounts import Account
from media_ingest.whatsapp.graph import Graph
from mediaasset import keys, names
from mediaasset.reasons import MediaError
from mediaasset.spec import digest

#: A request that began so long ago has ended, or its replica has: Graph is waited for a few minutes at most.
_LONGEST = timedelta(minutes=10)
_MAX_BYTES = 64 * 1024

_LOG = structlog.get_logger("media_ingest.whatsapp")


class Sent(NamedTuple):
    """The answer for a message; replayed when an earlier request with the same key had sent it."""

    answer: dict[str, Any]
    replayed: bool = False


async def send(
    service: Service, graph: Graph, account: Account, token: Token, order: sending.Order, *, key: str | None
) -> Sent:
    """Send an asset as `sending.send` does, with a key only once.

    Raises as that does, and with a key also Problem: idempotency-mismatch for another order or account, in-progress,
    whatsapp-unknown. A key of a message that was certainly not sent is free again.
    """
    if key is None:
        return Sent(await sending.send(service, graph, account, token, order))
    name = names.keyed_asset_name(token.namespace, token.user, key)
    claim, outcome = (keys.sent(token.namespace, name, what) for what in ("order", "answer"))
    wanted = digest({"account": account.name, **order.model_dump(mode="json")}).encode()
    if not await service.store.create(claim, wanted):
        return Sent(await _earlier(service, claim, outcome, wanted), replayed=True)
    try:
        answer = await sending.send(service, graph, account, token, order)
    except Exception as error:
        # Whatever becomes of the note, the first error is what counts; one that is not written makes it unknown later.
        with suppress(MediaError):
            if isinstance(error, Problem) and error.slug is Slug.WHATSAPP_UNKNOWN:
                await service.store.create(outcome, b"null")
            else:
                await service.store.delete([claim])
        raise
    try:
        await service.store.create(outcome, json.dumps(answer).encode())
    except MediaError:
        _LOG.exception("a message was sent, and its Idempotency-Key does not know it", message=answer["message_id"])
    return Sent(answer)


async def _earlier(service: Service, claim: str, outcome: str, wanted: bytes) -> dict[str, Any]:
    """Return the answer that an earlier request with the key was given."""
    begun, claimed = await service.store.stat(claim), await service.store.read(claim, max_bytes=_MAX_BYTES)
    if claimed is not None and claimed != wanted:
        raise Problem(Slug.IDEMPOTENCY_MISMATCH)
    found = await service.store.read(outcome, max_bytes=_MAX_BYTES)
    if found is None and (begun is None or datetime.now(UTC) - begun.modified < _LONGEST):
        raise Problem(Slug.IN_PROGRESS)
    answer: dict[str, Any] | None = json.loads(found) if found else None
    if answer is None:
        raise Problem(Slug.WHATSAPP_UNKNOWN)
    return answer
