"""Sending an asset by WhatsApp: its rendition is handed to Graph once, and then named in messages."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from media_ingest.auth import Token
from media_ingest.errors import Problem, Slug
from media_ingest.service import Service
from media_ingest.whatsapp.accounts import Account, Accounts
from media_ingest.whatsapp.graph import MEDIA_CODES, Graph, GraphError
from mediaasset.assets import NotFoundError
from mediaasset.catalogue import State, state_of, type_of
from mediaasset.names import WHATSAPP_MEDIA_ANNOTATION
from mediaasset.spec import RENDITION_NAME, MediaAsset
from mediaasset.status import RenditionStatus
from mediaasset.task import Channel, RenditionState

#: Graph keeps what it was given for 30 days; within the last of them it is given anew.
_KEPT = timedelta(days=29)
#: What a caption of WhatsApp may hold, and which messages have one.
CAPTION_LENGTH = 1024
_WITH_CAPTION = frozenset({"image", "video", "document"})


class Order(BaseModel):
    """What is to be sent: an asset by its id, to a phone number in international form or an id of a user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Annotated[str, StringConstraints(pattern=r"^\+?[0-9A-Za-z._-]{5,128}$")]
    media_id: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    caption: Annotated[str, StringConstraints(min_length=1, max_length=CAPTION_LENGTH)] | None = None
    rendition: Annotated[str, StringConstraints(pattern=RENDITION_NAME)] | None = None


async def account_of(accounts: Accounts, token: Token, name: str) -> Account:
    """Return an account that a token may use: that of its own user, or for an admin any of the namespace.

    Raises Problem not-found.
    """
    account = await accounts.find(name, token.namespace)
    if account is None or not token.may_see(account.user_id):
        raise Problem(Slug.NOT_FOUND, f"There is no WhatsApp account {name[:63]}: check its name and its Secret.")
    return account


async def send(service: Service, graph: Graph, account: Account, token: Token, order: Order) -> dict[str, Any]:
    """Send an asset; return the answer for it.

    Raises Problem: not-found, asset-not-ready, not-sendable, invalid-field for a caption where there can be none, and
    those of GraphError.
    """
    asset = await service.find(token, order.media_id)
    rendition = await _rendition(service, asset, order.rendition)
    kind = _message_type(rendition)
    if order.caption and kind not in _WITH_CAPTION:
        detail = f"a message of the type {kind} has no caption"
        raise Problem(Slug.INVALID_FIELD, f"caption: {detail}.", errors=[{"field": "caption", "detail": detail}])
    try:
        media_id = _given(asset, account, rendition)
        is_new = media_id is None
        media_id = media_id or await _give(service, graph, account, asset, rendition)
        try:
            sent = await graph.send(account, _message(order, kind, media_id, asset))
        except GraphError as error:
            if is_new or error.code not in MEDIA_CODES:
                raise
            # Graph knows the media no longer, or not for this number.
            media_id = await _give(service, graph, account, asset, rendition)
            sent = await graph.send(account, _message(order, kind, media_id, asset))
    except GraphError as error:
        raise error.to_problem(account.name) from error
    contact, message = _first(sent, "contacts"), _first(sent, "messages")
    return {
        "message_id": message.get("id"),
        "to": contact.get("wa_id") or order.to,
        "account": account.name,
        "type": kind,
        "media_id": asset.metadata.name,
        "rendition": rendition.name,
    }


async def _rendition(service: Service, asset: MediaAsset, wanted: str | None) -> RenditionStatus:
    """Return the rendition to send: the first of its type that was made, and held, to the rules of WhatsApp."""
    if state_of(asset) is not State.READY:
        raise Problem(Slug.ASSET_NOT_READY)
    made = {item.name: item for item in asset.status.renditions if item.state is RenditionState.READY}
    asked = asset.spec.renditions or (await service.profile(asset.spec.profile_name)).spec.renditions
    names = [
        rendition.name
        for rendition in asked
        if rendition.channel is Channel.WHATSAPP and rendition.for_ is type_of(asset) and rendition.name in made
    ]
    if not names or (wanted and wanted not in names):
        detail = (
            f"The asset has no rendition {wanted} that is made for WhatsApp."
            if wanted
            else "The asset has no rendition that is made for WhatsApp: upload it with the profile whatsapp."
        )
        raise Problem(Slug.NOT_SENDABLE, detail, renditions=names)
    return made[wanted or names[0]]


def _message_type(rendition: RenditionStatus) -> str:
    kind = (rendition.mime_type or "").partition("/")[0]
    return kind if kind in ("image", "video", "audio") else "document"


def _message(order: Order, kind: str, media_id: str, asset: MediaAsset) -> dict[str, Any]:
    media = {"id": media_id, "caption": order.caption, "filename": None}
    if kind == "document":
        media["filename"] = asset.spec.original_file_name
    return {"to": order.to, "type": kind, kind: {key: value for key, value in media.items() if value is not None}}


def _given(asset: MediaAsset, account: Account, rendition: RenditionStatus) -> str | None:
    """Return the id by which Graph knows the rendition for this number, None when it does not, or not for long."""
    entry = _notes(asset).get(account.phone_number_id)
    if not isinstance(entry, dict) or entry.get("sha256") != rendition.sha256:
        return None
    media_id, until = entry.get("id"), entry.get("until")
    is_kept = isinstance(until, (int, float)) and until > datetime.now(UTC).timestamp()
    return media_id if is_kept and isinstance(media_id, str) else None


async def _give(service: Service, graph: Graph, account: Account, asset: MediaAsset, rendition: RenditionStatus) -> str:
    """Upload the rendition, and note its id on the asset."""
    if rendition.key is None or rendition.size_bytes is None:
        raise Problem(Slug.ASSET_NOT_READY)
    media_id = await graph.upload(
        account,
        mime_type=rendition.mime_type or "application/octet-stream",
        size=rendition.size_bytes,
        chunks=service.store.content(rendition.key),
    )
    until = int((datetime.now(UTC) + _KEPT).timestamp())
    notes = {**_notes(asset), account.phone_number_id: {"id": media_id, "sha256": rendition.sha256, "until": until}}
    try:
        await service.assets.annotate(*asset.key, {WHATSAPP_MEDIA_ANNOTATION: json.dumps(notes)})
    except NotFoundError:
        raise Problem(Slug.NOT_FOUND, "The asset was deleted.") from None
    return media_id


def _notes(asset: MediaAsset) -> Mapping[str, Any]:
    try:
        notes = json.loads(asset.metadata.annotations.get(WHATSAPP_MEDIA_ANNOTATION, "{}"))
    except ValueError:
        return {}
    return notes if isinstance(notes, dict) else {}


def _first(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    items = answer.get(name)
    return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}
