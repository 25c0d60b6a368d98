"""What a webhook of WhatsApp says, read without trust in its form: a pure function from JSON to messages with media.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mediaasset.media import Kind, by_mime
from mediaasset.spec import ANNOUNCED_SHA256, MEDIA_ID

#: The types of messages that carry media, and what each must be; anything may be sent as a document.
_KINDS: dict[str, Kind | None] = {
    "image": Kind.IMAGE,
    "video": Kind.VIDEO,
    "audio": Kind.AUDIO,
    "voice": Kind.AUDIO,
    "sticker": Kind.IMAGE,
    "document": None,
}
#: The types of messages that WhatsApp could not hand over, media or not.
_WITHOUT = ("unsupported", "unknown")

_ID_LENGTH, _SENDER_LENGTH, _MIME_LENGTH = 256, 128, 255
#: Bounds of a MediaAsset: of a value of metadata, of a text for display, of a file name, of a failure.
_VALUE_LENGTH, _CAPTION_LENGTH, _FILE_NAME_LENGTH, _FAILURE_LENGTH = 1024, 2048, 1024, 1024

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message with media, or one that WhatsApp sent without its media: exactly one of media_id and failure is set.

    kind is what the content must be, None for a document, which may be anything. metadata is what else was said.
    """

    phone_number_id: str
    id: str
    sender: str
    timestamp: datetime
    media_id: str | None
    failure: str | None
    kind: Kind | None
    mime_type: str | None
    sha256: str | None
    caption: str | None
    file_name: str | None
    voice: bool
    animated: bool
    metadata: dict[str, str]


def messages(payload: Any, now: datetime) -> Iterator[Message]:
    """Yield the messages with media of a payload; all else, and what cannot be understood, is passed over.

    now stands in for a time that is none.
    """
    if _object(payload).get("object") != "whatsapp_business_account":
        return
    for entry in _list(_object(payload).get("entry")):
        for change in _list(_object(entry).get("changes")):
            value = _object(_object(change).get("value"))
            if _object(change).get("field") == "messages":
                for message in _list(value.get("messages")):
                    yield from _message(_object(message), value, now)


def _message(message: dict[str, Any], value: dict[str, Any], now: datetime) -> Iterator[Message]:
    number = _text(_object(value.get("metadata")).get("phone_number_id"), _ID_LENGTH)
    name, kind = _text(message.get("id"), _ID_LENGTH + 1), _text(message.get("type"), 32)
    if not number or not name or len(name) > _ID_LENGTH or kind not in (*_KINDS, *_WITHOUT):
        return
    media = _object(message.get(kind))
    media_id = _text(media.get("id"), _ID_LENGTH)
    if not re.fullmatch(MEDIA_ID, media_id) or kind in _WITHOUT:
        media_id = ""
    # WhatsApp names who has no number, or hides it, by an id of the user alone.
    sender = _text(message.get("from") or message.get("from_user_id"), _SENDER_LENGTH)
    sha256 = _text(media.get("sha256"), _ID_LENGTH)
    voice = kind == "voice" or media.get("voice") is True
    said = {
        "message_id": name,
        "message_type": kind,
        "media_id": media_id,
        "phone_number_id": number,
        "sender": sender,
        "sender_name": _sender_name(value, sender),
        "voice": "true" if voice else "",
        "forwarded": "true" if _object(message.get("context")).get("forwarded") is True else "",
    }
    announced = _text(media.get("mime_type"), _MIME_LENGTH).partition(";")[0].strip().lower()
    known = by_mime(announced)
    yield Message(
        phone_number_id=number,
        id=name,
        sender=sender,
        timestamp=_time(message.get("timestamp")) or now,
        media_id=media_id or None,
        failure=None if media_id else _failure(message, media),
        kind=_KINDS.get(kind),
        mime_type=(known.mime if known else announced) or None,
        sha256=sha256 if re.fullmatch(ANNOUNCED_SHA256, sha256) else None,
        caption=_text(media.get("caption"), _CAPTION_LENGTH) or None,
        file_name=_file_name(media.get("filename")),
        voice=voice,
        animated=media.get("animated") is True,
        metadata={key: text for key, text in said.items() if text},
    )


def _failure(message: dict[str, Any], media: dict[str, Any]) -> str:
    for error in (*_list(message.get("errors")), *_list(media.get("errors"))):
        said = _object(error)
        code, details = said.get("code"), _object(said.get("error_data")).get("details")
        words = [str(code) if type(code) is int else "", _text(said.get("title") or said.get("message"), 200)]
        text = " ".join(word for word in words if word)
        more = _text(details, 500)
        if text or more:
            return f"{text}: {more}"[:_FAILURE_LENGTH] if text and more else text or more
    return "it gives no id for them."


def _sender_name(value: dict[str, Any], sender: str) -> str:
    for contact in map(_object, _list(value.get("contacts"))):
        if sender and sender in (contact.get("wa_id"), contact.get("user_id")):
            return _text(_object(contact.get("profile")).get("name"), _VALUE_LENGTH)
    return ""


def _time(seconds: Any) -> datetime | None:
    """Return a time that is given as a text of seconds since 1970."""
    text = str(seconds) if type(seconds) in (str, int) else ""
    # Ten digits last until the year 2286.
    return datetime.fromtimestamp(int(text), UTC) if re.fullmatch(r"[0-9]{1,10}", text) else None


def _file_name(name: Any) -> str | None:
    """Return the name of a file as its sender chose it: no more than a text for display, without directories."""
    base = re.split(r"[/\\]", _CONTROLS.sub(" ", _text(name, 2 * _FILE_NAME_LENGTH)))[-1].strip()
    return base[-_FILE_NAME_LENGTH:] or None


def _text(value: Any, length: int) -> str:
    """Return a text that can be stored: JSON can hold NUL, and halves of characters that UTF-8 cannot."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode().replace("\0", "")[:length]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
