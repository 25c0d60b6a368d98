"""Sending by WhatsApp, and checking an account, over the real application and a stand-in for Graph."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from chatting import PHOTO, TO, api_of_account, graph_of_account, ready, send
from graph import Fault, Graph
from media_ingest.whatsapp.accounts import Account, in_directory
from media_ingest.whatsapp.checking import check as check_account
from media_ingest.whatsapp.graph import Graph as GraphClient
from mediaasset.media import Kind
from mediaasset.names import WHATSAPP_MEDIA_ANNOTATION
from messages import APP_SECRET, NUMBER, TOKEN, VERIFY_TOKEN
from uploading import Api


@pytest.fixture
def server() -> Iterator[Graph]:
    with graph_of_account() as running:
        yield running


@pytest.fixture
async def api(tmp_path: Path, server: Graph, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setenv("MEDIA_GRAPH_URL", server.url)
    async with api_of_account(tmp_path) as running:
        yield running


async def test_an_image_goes_up_once_and_out_as_often_as_asked(api: Api, server: Graph) -> None:
    asset = await ready(api, ("thumbnail", "image/jpeg", b"small"), ("large", "image/jpeg", PHOTO))
    for number in (1, 2):
        answer = await send(api, asset, caption="Look")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "message_id": f"wamid.sent{number}",
            "to": "16505551234",
            "account": "support",
            "type": "image",
            "media_id": asset,
            "rendition": "large",
        }
    assert server.steps() == ["upload", "message", "message"]
    ((media_id, uploaded),) = server.uploaded.items()
    assert (uploaded.number, uploaded.mime_type, uploaded.content) == (NUMBER, "image/jpeg", PHOTO)
    assert (
        server.sent
        == [
            {
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": TO,
                "type": "image",
                "image": {"id": media_id, "caption": "Look"},
            }
        ]
        * 2
    )
    assert {asked.token for asked in server.asked} == {TOKEN}


@pytest.mark.parametrize(
    ("kind", "made", "sent"),
    [
        (Kind.VIDEO, ("mp4", "video/mp4"), {"video": {"caption": "Look"}}),
        (Kind.DOCUMENT, ("original", "application/pdf"), {"document": {"caption": "Look", "filename": "bill.pdf"}}),
        (Kind.AUDIO, ("voice", "audio/ogg"), {"audio": {}}),
        (Kind.IMAGE, ("sticker", "image/webp"), {"sticker": {}}),
    ],
)
async def test_each_type_of_message(
    api: Api, server: Graph, kind: Kind, made: tuple[str, str], sent: dict[str, dict[str, str]]
) -> None:
    rendition, mime_type = made
    profile = "whatsapp-sticker" if rendition == "sticker" else "whatsapp"
    asset = await ready(api, (rendition, mime_type, b"content"), kind=kind, profile=profile, file_name="bill.pdf")
    ((name, members),) = sent.items()
    answer = await send(api, asset, **({"caption": "Look"} if "caption" in members else {}), rendition=rendition)
    assert answer.status_code == 200, answer.text
    (message,) = server.sent
    assert message["type"] == name
    assert {key: value for key, value in message[name].items() if key != "id"} == members


TEMPLATE: dict[str, Any] = {
    "name": "invoice_ready",
    "language": "en_US",
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "Kerry"}]}],
}


@pytest.mark.parametrize(
    ("kind", "rendition", "header"),
    [
        (Kind.IMAGE, ("large", "image/jpeg"), {"type": "image", "image": {}}),
        (Kind.VIDEO, ("mp4", "video/mp4"), {"type": "video", "video": {}}),
        (Kind.DOCUMENT, ("original", "application/pdf"), {"type": "document", "document": {"filename": "bill.pdf"}}),
    ],
)
async def test_a_template_has_the_asset_as_its_header(
    api: Api, server: Graph, kind: Kind, rendition: tuple[str, str], header: dict[str, Any]
) -> None:
    asset = await ready(api, (*rendition, b"content"), kind=kind, file_name="bill.pdf")
    answer = await send(api, asset, template=TEMPLATE)
    assert (answer.status_code, answer.json()["type"]) == (200, "template"), answer.text
    ((media_id, _),) = server.uploaded.items()
    (message,) = server.sent
    header[header["type"]]["id"] = media_id
    assert (message["type"], message["template"]) == (
        "template",
        {
            "name": "invoice_ready",
            "language": {"code": "en_US"},
            "components": [{"type": "header", "parameters": [header]}, *TEMPLATE["components"]],
        },
    )


@pytest.mark.parametrize(
    ("kind", "rendition", "said", "field"),
    [
        (Kind.AUDIO, ("mp3", "audio/mpeg"), {"template": TEMPLATE}, "template"),
        (Kind.AUDIO, ("mp3", "audio/mpeg"), {"caption": "Listen"}, "caption"),
        (Kind.IMAGE, ("sticker", "image/webp"), {"template": TEMPLATE}, "template"),
        (Kind.IMAGE, ("sticker", "image/webp"), {"caption": "Look"}, "caption"),
        (Kind.IMAGE, ("large", "image/jpeg"), {"template": TEMPLATE, "caption": "Look"}, "caption"),
    ],
)
async def test_what_a_message_of_this_type_cannot_have(
    api: Api, server: Graph, *, kind: Kind, rendition: tuple[str, str], said: dict[str, Any], field: str
) -> None:
    profile = "whatsapp-sticker" if rendition[0] == "sticker" else "whatsapp"
    asset = await ready(api, (*rendition, b"content"), kind=kind, profile=profile)
    answer = await send(api, asset, **said)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])
    assert server.asked == []


async def test_what_graph_no_longer_knows_goes_up_again(api: Api, server: Graph) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    await send(api, asset)
    # It kept the media for 30 days, as it says, or less.
    server.uploaded.clear()
    assert (await send(api, asset)).status_code == 200
    assert server.steps() == ["upload", "message", "message", "upload", "message"]
    note = {NUMBER: {"id": "1", "sha256": "0" * 64, "until": 1}}
    await api.assets.annotate("shop", asset, {WHATSAPP_MEDIA_ANNOTATION: json.dumps(note)})
    assert (await send(api, asset)).status_code == 200
    assert server.steps()[5:] == ["upload", "message"]


@pytest.mark.parametrize("note", ["", "[]", "no json", '{"106540352242922": 7}', '{"106540352242922": {"id": 7}}'])
async def test_a_note_that_somebody_wrote_over(api: Api, server: Graph, note: str) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    await api.assets.annotate("shop", asset, {WHATSAPP_MEDIA_ANNOTATION: note})
    assert (await send(api, asset)).status_code == 200
    assert server.steps() == ["upload", "message"]


ACCOUNT, BUSY, REFUSED, DOWN, OPEN = (
    (502, "whatsapp-account", None),
    (429, "whatsapp-busy", "60"),
    (422, "whatsapp-refused", None),
    (503, "whatsapp-unavailable", "5"),
    (504, "whatsapp-unknown", None),
)
#: What Graph answers, and what a client is told: status, problem, Retry-After.
FAULTS = [
    (Fault(status=401, code=190, message=f"Error validating access token {TOKEN}"), ACCOUNT),
    (Fault(status=401, code=0), ACCOUNT),
    (Fault(status=403, code=131005), ACCOUNT),
    (Fault(status=403, code=10), ACCOUNT),
    # Graph has an odd status for it.
    (Fault(status=500, code=3), ACCOUNT),
    (Fault(status=403, code=368), ACCOUNT),
    (Fault(status=403, code=131031), ACCOUNT),
    (Fault(status=400, code=131042), ACCOUNT),
    (Fault(status=400, code=133010), ACCOUNT),
    (Fault(status=401), ACCOUNT),
    (Fault(status=400, code=131056), (429, "whatsapp-busy", "6")),
    (Fault(status=400, code=130429), BUSY),
    (Fault(status=429), BUSY),
    (Fault(status=400, code=80007, headers={"Retry-After": "33"}), (429, "whatsapp-busy", "33")),
    (Fault(status=400, code=4, headers={"Retry-After": "soon"}), BUSY),
    (Fault(status=400, code=100), REFUSED),
    (Fault(status=400, code=131053), REFUSED),
    (Fault(status=400, code=131026), REFUSED),
    (Fault(status=400, code=131047), REFUSED),
    (Fault(status=403, code=130497), REFUSED),
    (Fault(status=400, code=132001), REFUSED),
    (Fault(status=302), REFUSED),
    (Fault(status=500, code=131000), DOWN),
    (Fault(status=500, code=1), DOWN),
    (Fault(status=500, code=131057), DOWN),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=lambda item: f"{item.code}" if item in FAULTS else None)
@pytest.mark.parametrize("step", ["upload", "message"])
async def test_what_errors_of_graph_mean(
    api: Api, server: Graph, step: str, fault: Fault, expected: tuple[int, str, str | None]
) -> None:
    await check_refusal(api, server, step, fault, expected)


@pytest.mark.parametrize(("step", "expected"), [("upload", DOWN), ("message", OPEN)])
async def test_an_error_of_somebody_in_between_may_hide_that_it_was_sent(
    api: Api, server: Graph, step: str, expected: tuple[int, str, str | None]
) -> None:
    await check_refusal(api, server, step, Fault(status=502), expected)


async def check_refusal(
    api: Api, server: Graph, step: str, fault: Fault, expected: tuple[int, str, str | None]
) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    server.faults[step] += [fault]
    answer = await send(api, asset)
    problem = answer.json()
    told = answer.status_code, problem["type"].rpartition(":")[2], answer.headers.get("Retry-After")
    assert told == expected, answer.text
    assert problem.get("code") == fault.code
    assert TOKEN not in answer.text
    assert server.sent == []


async def test_the_day_after_their_last_message_a_template_is_advised(api: Api, server: Graph) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    server.faults["message"] += [Fault(status=400, code=131047, message="Re-engagement message")]
    assert (await send(api, asset)).json()["detail"] == (
        "Graph answered 400 (code 131047): Re-engagement message."
        " Their last message is more than 24 hours old: send a template."
    )


async def test_a_graph_that_cannot_be_reached(api: Api, server: Graph) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    server.shutdown()
    server.server_close()
    answer = await send(api, asset)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "whatsapp-unavailable")


async def test_a_rendition_that_is_gone_is_not_half_sent(api: Api, server: Graph) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    await api.store.delete([f"private/shop/{asset}/large"])
    assert (await send(api, asset)).status_code == 503
    assert (server.uploaded, server.sent) == ({}, [])


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"to": "x"}, "to"),
        ({"to": "1650555\n1234"}, "to"),
        ({"caption": "a" * 1025}, "caption"),
        ({"rendition": "../x"}, "rendition"),
        ({"template": "x"}, "template"),
        ({"template": {**TEMPLATE, "name": "Not Approved"}}, "template"),
        ({"template": {**TEMPLATE, "language": "English"}}, "template"),
        ({"template": {**TEMPLATE, "components": [{"type": "HEADER", "parameters": []}]}}, "template"),
        ({"template": {**TEMPLATE, "components": [7]}}, "template"),
        ({"text": "x"}, "text"),
    ],
)
async def test_orders_that_cannot_be(api: Api, server: Graph, said: dict[str, Any], field: str) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    answer = await send(api, asset, **said)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])
    assert server.asked == []


async def test_assets_that_cannot_be_sent(api: Api, server: Graph) -> None:
    other = await ready(api, ("large", "image/jpeg", PHOTO), profile="web", name="web")
    answer = await send(api, other)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "not-sendable")
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    assert (await send(api, asset, rendition="thumbnail")).json()["renditions"] == ["large"]
    assert (await send(api, "nobody")).status_code == 404
    uploaded = await api.post(content=PHOTO, params={"profile": "whatsapp"})
    waiting = await send(api, uploaded.json()["id"])
    assert (waiting.status_code, waiting.json()["type"].rpartition(":")[2]) == (409, "asset-not-ready")
    assert server.asked == []


async def test_who_may_send(api: Api, server: Graph) -> None:
    asset = await ready(api, ("large", "image/jpeg", PHOTO))
    # Bob is another user than the account's, and the other admin is of another namespace.
    for user, status in {"nobody": 401, "reader": 403, "bob": 404, "other": 404, "admin": 200, "alice": 200}.items():
        assert (await send(api, asset, user=user)).status_code == status, user
    assert (await send(api, asset, path="/api/whatsapp/sales/send/")).status_code == 404
    foreign = await ready(api, ("large", "image/jpeg", PHOTO), name="foreign", user="43")
    assert (await send(api, foreign)).status_code == 404


def test_addresses_and_what_is_secret_in_them_stay_out_of_the_log(server: Graph) -> None:
    script = f"""
from mediaasset import logs
logs.configure()
import httpx2, logging
httpx2.get({server.url!r} + "/me?hub.verify_token={VERIFY_TOKEN}")
logging.getLogger("other").info("it works")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "it works" in done.stderr
    assert VERIFY_TOKEN not in done.stderr


# The check


async def check(api: Api) -> dict[str, bool | None]:
    answer = await api.get("/api/whatsapp/support/check/")
    assert answer.status_code == 200, answer.text
    assert TOKEN not in answer.text
    assert APP_SECRET not in answer.text
    body = answer.json()
    assert body["ok"] == all(each["ok"] for each in body["checks"])
    assert all(each["cure"] for each in body["checks"] if not each["ok"])
    return {each["name"]: each["ok"] for each in body["checks"]}


WELL = {"token": True, "app secret": True, "phone number": True, "subscription": True, "webhook": None}


async def test_an_account_that_is_well(api: Api) -> None:
    # Where Meta reaches us, nobody has said.
    assert await check(api) == WELL


async def test_a_token_that_expired(api: Api, server: Graph) -> None:
    server.tokens.clear()
    assert await check(api) == {**dict.fromkeys(WELL, False), "webhook": None}


async def test_the_secret_of_another_app(api: Api, server: Graph) -> None:
    server.app_secret = "another"
    assert await check(api) == {**WELL, "app secret": False}


async def test_a_number_of_somebody_else(api: Api, server: Graph) -> None:
    server.numbers.clear()
    assert await check(api) == {**WELL, "phone number": False}


async def test_webhooks_that_no_app_gets(api: Api, server: Graph) -> None:
    server.businesses["8856996819413533"] = []
    assert await check(api) == {**WELL, "subscription": False}


async def test_a_graph_that_does_not_answer_says_nothing_about_the_account(api: Api, server: Graph) -> None:
    server.faults["read"] += [Fault(status=500, code=2)] * 4
    assert await check(api) == dict.fromkeys(WELL)


async def test_our_own_address_is_tried_as_meta_does(api: Api, server: Graph, tmp_path: Path) -> None:
    (account,) = await in_directory(tmp_path / "accounts").all()
    stranger = account.model_copy(update={"verify_token": SecretStr("another")})

    async def webhook(account: Account, path: str) -> bool | None:
        checks = await check_account(GraphClient(server.url), account, f"http://127.0.0.1:{api.port}{path}")
        return {each.name: each.ok for each in checks}["webhook"]

    assert await webhook(account, "/webhooks/whatsapp/") is True
    assert await webhook(stranger, "/webhooks/whatsapp/") is False
    assert await webhook(account, "/healthz") is False
    server.shutdown()
    server.server_close()
    checks = await check_account(GraphClient(server.url), account, server.url)
    assert {each.name: each.ok for each in checks} == {**dict.fromkeys(WELL), "webhook": False}
