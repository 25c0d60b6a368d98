"""Sending an asset by WhatsApp: its rendition is handed to Graph once, and then named in messages."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from media_ingest.auth import Token
from media_ingest.errors import KINDS, Problem, Slug, invalid
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
#: Messages of these types can be the header of a template.
_HEADERS = _WITH_CAPTION
#: What a picture of this type is sent as; the others are images.
_STICKER = "image/webp"


def _no_header(component: dict[str, Any]) -> dict[str, Any]:
    if str(component.get("type")).lower() == "header":
        message = "the header is the asset itself: name the other components"
        raise ValueError(message)
    return component


class Template(BaseModel):
    """A template that Meta approved, whose header the asset becomes.

    components are those for the body and the buttons, in the words of Meta, which checks them:
    https://developers.facebook.com/docs/whatsapp/api/messages/message-templates/media-message-templates/
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(_[A-Za-z]{2,4})?$")]
    components: Annotated[tuple[Annotated[dict[str, Any], AfterValidator(_no_header)], ...], Field(max_length=16)] = ()


class Order(BaseModel):
    """What is to be sent: an asset by its id, to a phone number in international form or an id of a user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Annotated[str, StringConstraints(pattern=r"^\+?[0-9A-Za-z._-]{5,128}$")]
    media_id: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    caption: Annotated[str, StringConstraints(min_length=1, max_length=CAPTION_LENGTH)] | None = None
    rendition: Annotated[str, StringConstraints(pattern=RENDITION_NAME)] | None = None
    template: Template | None = None


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

    Raises Problem: not-found, asset-not-ready, not-sendable, invalid-field for what a message of this type cannot have,
    whatsapp-unknown when Graph may have sent it, and those of GraphError when it has not.
    """
    asset = await service.find(token, order.media_id)
    rendition = await _rendition(service, asset, order.rendition)
    kind = _message_type(rendition)
    _check(order, kind)
    try:
        media_id = _given(asset, account, rendition)
        is_new = media_id is None
        media_id = media_id or await _give(service, graph, account, asset, rendition)
        try:
            sent = await _send(graph, account, _message(order, kind, media_id, asset))
        except GraphError as error:
            if is_new or error.code not in MEDIA_CODES:
                raise
            # Graph knows the media no longer, or not for this number.
            media_id = await _give(service, graph, account, asset, rendition)
            sent = await _send(graph, account, _message(order, kind, media_id, asset))
    except GraphError as error:
        raise error.to_problem(account.name) from error
    contact, message = _first(sent, "contacts"), _first(sent, "messages")
    return {
        "message_id": message.get("id"),
        "to": contact.get("wa_id") or order.to,
        "account": account.name,
        "type": "template" if order.template else kind,
        "media_id": asset.metadata.name,
        "rendition": rendition.name,
    }


def _check(order: Order, kind: str) -> None:
    """Refuse what a message of this type cannot have; raises Problem invalid-field."""
    if order.caption and order.template:
        raise invalid({"caption": "a template has its own texts"})
    if order.caption and kind not in _WITH_CAPTION:
        raise invalid({"caption": f"a message of the type {kind} has no caption"})
    if order.template and kind not in _HEADERS:
        raise invalid({"template": f"the header of a template cannot be of the type {kind}"})


async def _send(graph: Graph, account: Account, message: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return await graph.send(account, message)
    except GraphError as error:
        if error.is_open:
            raise Problem(Slug.WHATSAPP_UNKNOWN, f"{error} {KINDS[Slug.WHATSAPP_UNKNOWN].detail}") from error
        raise


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
    if rendition.mime_type == _STICKER:
        return "sticker"
    return kind if kind in ("image", "video", "audio") else "document"


def _message(order: Order, kind: str, media_id: str, asset: MediaAsset) -> dict[str, Any]:
    said = {"id": media_id, "caption": order.caption, "filename": None}
    if kind == "document":
        said["filename"] = asset.spec.original_file_name
    media = {"type": kind, kind: {key: value for key, value in said.items() if value is not None}}
    if order.template is None:
        return {"to": order.to, **media}
    template = {
        "name": order.template.name,
        "language": {"code": order.template.language},
        "components": [{"type": "header", "parameters": [media]}, *order.template.components],
    }
    return {"to": order.to, "type": "template", "template": template}


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
