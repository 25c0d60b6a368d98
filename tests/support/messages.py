"""What Meta's webhook for WhatsApp delivers, shape by shape, and how it is signed.

The shapes are those of Meta's reference, as far as the public facts go: one test each says what becomes of them.
"""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

NUMBER = "106540352242922"
SENDER = "16505551234"
APP_SECRET = "an-app-secret-for-tests"
VERIFY_TOKEN = "a-verify-token-for-tests"
TOKEN = "EAAGm0PX4ZCpsBAtoken"

Json = dict[str, Any]


def message(kind: str, number: int = 1, **media: Any) -> Json:
    """Return one message of a type; what is None is left out of its media."""
    said = {"id": f"10037{number:011}", "mime_type": "image/jpeg", "sha256": digest(str(number).encode()), **media}
    return {
        "from": SENDER,
        "id": f"wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQTdCNTg5RjY1MEMyRjlGMjRG{number}==",
        "timestamp": str(int(time.time())),
        "type": kind,
        kind: {name: value for name, value in said.items() if value is not None},
    }


def digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


IMAGE = message("image", 1, caption="Check this out")
VIDEO = message("video", 2, mime_type="video/mp4", caption=None)
VOICE = message("audio", 3, mime_type="audio/ogg; codecs=opus", voice=True)
AUDIO = message("audio", 4, mime_type="audio/mpeg", voice=False)
DOCUMENT = message("document", 5, mime_type="application/pdf", filename="../../in/voice\n.pdf", caption="The invoice")
STICKER = message("sticker", 6, mime_type="image/webp", animated=True)
#: From v24.0 on media come with their address, which saves nobody the token.
ADDRESSED = message("image", 7, url="https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1")
FORWARDED = {**message("video", 8, mime_type="video/mp4"), "context": {"forwarded": True}}
UNSUPPORTED: Json = {
    **{key: value for key, value in message("unsupported", 9).items() if key != "unsupported"},
    "errors": [
        {
            "code": 131051,
            "title": "Message type unknown",
            "message": "Message type unknown",
            "error_data": {"details": "Message type is currently not supported."},
        }
    ],
}
#: Meta itself could not get the media from the sender's telephone.
LOST: Json = {
    **message("image", 10, id=None, mime_type=None, sha256=None, caption="Look"),
    "errors": [{"code": 131052, "title": "Media download error"}],
}
#: Somebody whose number WhatsApp hides is named by an id of the user.
HIDDEN = {**{k: v for k, v in message("image", 11).items() if k != "from"}, "from_user_id": "US.13491208655302741918"}


def other(kind: str, **said: Any) -> Json:
    """Return a message of a type that carries no media."""
    return {"from": SENDER, "id": f"wamid.{kind}", "timestamp": "1739321024", "type": kind, kind: said}


#: Every type that Meta's reference names beside those with media.
WITHOUT_MEDIA = (
    other("text", body="hello"),
    other("location", latitude=37.4, longitude=-122.1, name="Meta", address="1 Hacker Way"),
    other("reaction", message_id="wamid.a", emoji="👍"),
    other("contacts", phones=[{"phone": SENDER, "type": "CELL"}], name={"formatted_name": "Kerry"}),
    other("interactive", type="button_reply", button_reply={"id": "cancel", "title": "Cancel"}),
    other("interactive", type="list_reply", list_reply={"id": "express", "title": "Express"}),
    other("interactive", type="nfm_reply", nfm_reply={"name": "flow", "response_json": "{}"}),
    other("button", payload="stop", text="Stop"),
    other("order", catalog_id="1", product_items=[{"product_retailer_id": "a", "quantity": 1}]),
    other("system", type="user_changed_number", wa_id="12195555358", body="Kerry changed"),
    # A message that was taken back, and one whose caption was corrected: its media came before.
    other("revoke", original_message_id="wamid.a"),
    other("edit", original_message_id="wamid.a", message={"type": "image", "image": {"id": "1", "caption": "b"}}),
    {**other("request_welcome"), "request_welcome": None},
)
_STATUS: Json = {"id": "wamid.out", "timestamp": "1739321024", "recipient_id": SENDER}
STATUSES: tuple[Json, ...] = (
    *({"statuses": [{**_STATUS, "status": status}]} for status in ("sent", "delivered", "read", "played")),
    {"statuses": [{**_STATUS, "status": "failed", "errors": [{"code": 131053, "title": "Media upload error"}]}]},
)
#: What other fields than `messages` deliver to the same webhook: what the business itself wrote, and of older days.
ECHO: Json = {"message_echoes": [message("image", 12)]}
HISTORY: Json = {"history": [{"threads": [{"id": SENDER, "messages": [message("image", 13)]}]}]}


def value(*messages: Json, number: str = NUMBER, **other: Any) -> Json:
    """Return the value of a change."""
    said = {"contacts": [{"profile": {"name": "Kerry Fisher"}, "wa_id": SENDER}], "messages": list(messages)}
    metadata = {"display_phone_number": "15550783881", "phone_number_id": number}
    return {"messaging_product": "whatsapp", "metadata": metadata, **(other or said)}


def payload(*values: Json, field: str = "messages") -> Json:
    """Return a payload with one entry for each value."""
    entries = [{"id": "8856996819413533", "changes": [{"value": each, "field": field}]} for each in values]
    return {"object": "whatsapp_business_account", "entry": entries}


def encoded(body: Any) -> bytes:
    """Write JSON as Meta does, with every other character than ASCII escaped."""
    return json.dumps(body, ensure_ascii=True).encode()


def signature(body: bytes, secret: str = APP_SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def account(directory: Path, name: str = "support", **texts: str) -> None:
    """Write an account of the namespace shop as standalone keeps it; an empty text leaves a file out."""
    said = {
        "token": f"{TOKEN}\n",
        "namespace": "shop\n",
        "phoneNumberID": f"{NUMBER}\n",
        "appSecret": f"{APP_SECRET}\n",
        "verifyToken": f"{VERIFY_TOKEN}\n",
        **texts,
    }
    (directory / name).mkdir(parents=True)
    for key, text in said.items():
        if text:
            (directory / name / key).write_text(text)
