"""WhatsApp on the real cluster, through its Ingress: what Meta delivers becomes assets, and assets are sent.

Graph is a stand-in on this machine: ingest sends through it, the pods of the transcoder fetch from it.
"""

import base64
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image
from standardwebhooks import Webhook

import graph
import messages
from cluster import ASSETS, Json
from every import samples
from graph import Fault, Graph, Media
from installed import SYSTEM, WORK, Installed, labels
from messages import APP_SECRET, NUMBER, VERIFY_TOKEN, encoded, payload, signature, value
from service import wait_for

DATA = Path(__file__).parents[1] / "data"
BUSINESS = "8856996819413533"
MUSEUM = "106540352242923"
#: The accounts, by their names: whose media they become, and the token that only they have.
ACCOUNTS = {
    "support": {"namespace": "shop", "userID": "alice", "phoneNumberID": NUMBER, "token": "EAAsupport"},
    "guide": {"namespace": "museum", "userID": "mallory", "phoneNumberID": MUSEUM, "token": "EAAguide"},
}
SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
SOURCE = {"name": "crm", "secrets": [SECRET], "namespace": "shop", "user": "alice"}
SEND = "/api/whatsapp/support/send/"


@pytest.fixture(scope="module")
def chat(media: Installed) -> Iterator[Graph]:
    """Run Graph at the address that this machine has for the node."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((urlsplit(media.base_url).hostname, 9))
        here = probe.getsockname()[0]
    with graph.serving(here) as running:
        running.tokens |= {account["token"] for account in ACCOUNTS.values()}
        running.numbers[NUMBER] = "+1 555-078-3881"
        running.businesses[BUSINESS] = ["media"]
        running.app_secret = APP_SECRET
        yield running


@pytest.fixture(scope="module", autouse=True)
def upgraded(media: Installed, chat: Graph) -> Iterator[None]:
    """Set the accounts up as docs/operations/whatsapp-accounts.md says."""
    common = {"appSecret": APP_SECRET, "verifyToken": VERIFY_TOKEN, "businessAccountID": BUSINESS}
    for name, texts in ACCOUNTS.items():
        media.cluster.secret(f"whatsapp-{name}", WORK, **common, **texts)
    media.cluster.secret("media-webhooks", SYSTEM, **{"sources.yaml": json.dumps([SOURCE])})
    operator = media.values["operator"]
    media.install(
        {
            "whatsapp": {"accounts": list(ACCOUNTS), "graphURL": chat.url, "webhookPaths": ["/api/webhook"]},
            "webhooks": {"existingSecret": "media-webhooks"},
            "ingest": {**media.values["ingest"], "publicURL": media.base_url},
            "operator": {**operator, "allowedCIDRs": [*operator["allowedCIDRs"], f"{chat.name}/32"]},
        }
    )
    yield
    media.install()


class Sent(NamedTuple):
    """A file that somebody sends: what kind of message carries it, what more that says, and where the original lies."""

    content: bytes
    mime_type: str
    type: str
    said: dict[str, Any]
    original: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sent]:
    made = {name: sample.path.read_bytes() for name, sample in samples(tmp_path_factory.mktemp("every")).items()}
    photo = (DATA / "photo.jpg").read_bytes()
    return {
        "photo": Sent(photo, "image/jpeg", "image", {"caption": "Grüße 🍏"}, r"image/\S+\.jpg"),
        "clip": Sent(made["mp4"], "video/mp4", "video", {}, r"video/\S+\.mp4"),
        "voice": Sent(made["opus"], "audio/ogg; codecs=opus", "audio", {"voice": True}, r"audio/\S+\.og[ga]"),
        "bill": Sent(made["pdf"], "application/pdf", "document", {"filename": "bill 7.pdf"}, r"document/\S+\.pdf"),
        "sticker": Sent(made["webp"], "image/webp", "sticker", {"animated": False}, r"image/\S+\.webp"),
        # Of no type that is taken.
        "archive": Sent(archive(), "application/zip", "document", {"filename": "all.zip"}, r"other/\S+\.bin"),
    }


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("a.txt", "hello")
    return target.getvalue()


def deliver(media: Installed, *values: Json, secret: str | None = APP_SECRET) -> httpx2.Response:
    """Deliver what Meta would, signed with the secret of an app."""
    raw = encoded(payload(*values))
    headers = {} if secret is None else {"X-Hub-Signature-256": signature(raw, secret)}
    return httpx2.post(f"{media.base_url}/webhooks/whatsapp/", content=raw, headers=headers, timeout=60)


def outcomes(media: Installed, *values: Json) -> dict[str, int]:
    answer = deliver(media, *values)
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()["messages"]
    return found


def announced(chat: Graph, sent: Sent) -> Json:
    """Let Graph have a file; return the message with it, which nobody has sent before."""
    number = int.from_bytes(os.urandom(4))
    media = Media(content=sent.content, mime_type=sent.mime_type)
    said = messages.message(sent.type, number, mime_type=sent.mime_type, sha256=media.base64, **sent.said)
    chat.media[said[sent.type]["id"]] = media
    return said


def of_message(media: Installed, message: Json) -> Json:
    """Wait until the asset of a message is ready or failed; return the API's answer for it."""
    with media.client() as client:
        # Each replica hears of what the other one made within moments.
        query = {"message_id": message["id"]}
        (found,) = wait_for(lambda: client.get("/api/media/", params=query).json()["results"], what="the message")
    return media.finished(found["id"])


@pytest.fixture(scope="module")
def said(chat: Graph, files: dict[str, Sent]) -> dict[str, Json]:
    """Return one message of each type, and two whose media nobody has."""
    gone = messages.message("image", int.from_bytes(os.urandom(4)), caption="Look")
    lost = {**messages.LOST, "id": f"wamid.{os.urandom(8).hex()}"}
    return {**{name: announced(chat, sent) for name, sent in files.items()}, "gone": gone, "lost": lost}


@pytest.fixture(scope="module")
def came(media: Installed, chat: Graph, said: dict[str, Json], files: dict[str, Sent]) -> dict[str, Json]:
    """Deliver all of them at once, with one for another number and what is no media; return the assets by name."""
    other = announced(chat, files["photo"])
    others = value(other, number=MUSEUM), value(*messages.WITHOUT_MEDIA), value(**messages.STATUSES[0])
    assert outcomes(media, value(*said.values()), *others) == {"created": len(said) + 1}
    return {**{name: of_message(media, message) for name, message in said.items()}, "other": other}


# Who may deliver


@pytest.mark.parametrize("path", ["/webhooks/whatsapp/", "/api/webhook"])
def test_the_handshake(media: Installed, path: str) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN}
    answer = httpx2.get(media.base_url + path, params=query)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert httpx2.get(media.base_url + path, params={**query, "hub.verify_token": "another"}).status_code == 403


def test_what_no_app_of_ours_signed(media: Installed) -> None:
    message = messages.message("image", int.from_bytes(os.urandom(4)))
    assert deliver(media, value(message), secret=None).status_code == 401
    assert deliver(media, value(message), secret="another").status_code == 403
    assert outcomes(media, value(message, number="4711")) == {"unknown_account": 1}
    with media.client() as client:
        assert client.get("/api/media/", params={"message_id": message["id"]}).json()["count"] == 0


# What comes in


@pytest.mark.parametrize("name", ["photo", "clip", "voice", "bill", "sticker", "archive"])
def test_what_was_sent_is_kept_as_it_came(
    media: Installed, came: dict[str, Json], said: dict[str, Json], files: dict[str, Sent], name: str
) -> None:
    sent, body = files[name], came[name]
    assert (body["caption"], body["original_name"]) == (sent.said.get("caption"), sent.said.get("filename"))
    assert body["metadata"]["message_id"] == said[name]["id"]
    spec = media.asset(body["id"])["spec"]
    assert (spec.get("visibility", "Private"), spec["expireSecondsAfterCreation"]) == ("Private", 90 * 24 * 3600)
    # Under the day of the message.
    day = datetime.fromtimestamp(int(said[name]["timestamp"]), UTC).strftime("%Y-%m-%d")
    kept = {media.read(key): key for key in media.objects("whatsapp-media/support/")}
    assert re.fullmatch(rf"whatsapp-media/support/{day}/{sent.original}", kept[sent.content])
    with media.client() as client:
        moved = client.get(f"/api/media/{body['id']}/download/", follow_redirects=False)
    assert moved.status_code == 302, moved.text
    downloaded = httpx2.get(moved.headers["Location"], timeout=30)
    assert downloaded.content == sent.content
    file_name = sent.said.get("filename", kept[sent.content].rpartition("/")[2])
    assert file_name in downloaded.headers["Content-Disposition"]


@pytest.mark.parametrize("name", ["photo", "clip", "voice", "bill", "sticker"])
def test_each_type_of_media_becomes_ready(
    media: Installed, came: dict[str, Json], files: dict[str, Sent], name: str
) -> None:
    assert came[name]["status"] == "ready", came[name]
    info = media.asset(came[name]["id"])["status"]["sourceInfo"]
    digest = hashlib.sha256(files[name].content).hexdigest()
    assert (info["sha256"], info["mimeType"]) == (digest, files[name].mime_type.partition(";")[0])


def test_what_is_of_no_type_that_is_taken_says_so(came: dict[str, Json]) -> None:
    body = came["archive"]
    assert (body["status"], body["error"]["reason"]) == ("failed", "UnsupportedType")


@pytest.mark.parametrize("name", ["photo", "clip", "voice", "bill", "sticker"])
def test_renditions_are_private_and_signed(came: dict[str, Json], name: str) -> None:
    for rendition in came[name]["renditions"]:
        signed = httpx2.get(rendition["url"], timeout=30)
        assert (signed.status_code, len(signed.content)) == (200, rendition["file_size"])
        assert signed.headers["Content-Type"] == rendition["mime_type"]
        assert httpx2.get(rendition["url"].partition("?")[0], timeout=30).status_code == 403


def test_each_was_fetched_with_the_token_of_its_account(chat: Graph, came: dict[str, Json]) -> None:
    asked = {each.path.rpartition("/")[2]: each.token for each in chat.asked if each.step == "lookup"}
    own, other = came["photo"]["metadata"]["media_id"], came["other"]["image"]["id"]
    assert (asked[own], asked[other]) == (ACCOUNTS["support"]["token"], ACCOUNTS["guide"]["token"])


@pytest.mark.parametrize(("name", "word"), [("gone", "7 days"), ("lost", "131052 Media download error")])
def test_a_message_whose_media_are_gone_stays_with_the_reason(came: dict[str, Json], name: str, word: str) -> None:
    body = came[name]
    assert (body["status"], body["error"]["reason"], body["caption"]) == ("failed", "SourceNotFound", "Look")
    assert word in body["error"]["message"]
    assert (body["metadata"]["sender"], body["metadata"]["sender_name"]) == (messages.SENDER, "Kerry Fisher")


def test_a_message_to_another_number_is_another_tenants(media: Installed, came: dict[str, Json]) -> None:
    query = {"message_id": came["other"]["id"]}
    with media.client() as client, media.client("token-of-mallory-for-tests") as mallory:
        assert client.get("/api/media/", params=query).json()["count"] == 0
        (found,) = mallory.get("/api/media/", params=query).json()["results"]
        assert mallory.get(f"/api/media/{found['id']}/", params={"wait": 55}).json()["status"] == "ready"
    assert media.asset(found["id"], "museum")["spec"]["source"]["whatsapp"]["accountName"] == "guide"
    # The token of the account opens nothing for who only names it.
    source = {**media.asset(found["id"], "museum")["spec"]["source"]["whatsapp"]}
    stalled = media.stalled(media.apply(source={"whatsapp": source}, visibility="Private"))
    reasons = {each["type"]: each["reason"] for each in stalled["status"]["conditions"]}
    assert reasons["Stalled"] == "SourceForbidden"


def test_a_graph_that_is_busy_is_asked_again(media: Installed, chat: Graph, files: dict[str, Sent]) -> None:
    message = announced(chat, files["photo"])
    chat.faults["lookup"].append(Fault(status=400, code=130429, message="Rate limit hit"))
    assert outcomes(media, value(message)) == {"created": 1}
    body = of_message(media, message)
    assert body["status"] == "ready", body
    assert media.asset(body["id"])["status"]["attempt"] == 2


def test_twenty_deliveries_at_both_replicas_make_one_asset_and_none_once_it_is_deleted(
    media: Installed, chat: Graph, files: dict[str, Sent]
) -> None:
    message = announced(chat, files["photo"])
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: outcomes(media, value(message)), range(20)))
    assert sorted(map(str, answers)) == sorted(map(str, [{"created": 1}, *[{"known": 1}] * 19]))
    name = of_message(media, message)["id"]
    with media.client() as client:
        assert client.delete(f"/api/media/{name}/").status_code == 204
    assert set(outcomes(media, value(message))) <= {"known", "deleted"}
    media.cluster.gone(ASSETS, name, "shop")
    assert outcomes(media, value(message)) == {"deleted": 1}
    assert not media.cluster.exists(ASSETS, name, "shop")


# What goes out


def test_a_photograph_goes_up_once_and_out_from_both_replicas(
    media: Installed, chat: Graph, came: dict[str, Json]
) -> None:
    (large,) = [each for each in came["photo"]["renditions"] if each["name"] == "large"]
    before = len(chat.sent)
    with media.client() as client:
        for _ in range(4):
            order = {"to": "+16505551234", "media_id": came["photo"]["id"], "caption": "Look"}
            answer = client.post(SEND, json=order)
            assert answer.status_code == 200, answer.text
            assert answer.json()["message_id"] == f"wamid.sent{len(chat.sent)}"
    sent = chat.sent[before:]
    (media_id,) = {message["image"]["id"] for message in sent}
    assert [message["image"]["caption"] for message in sent] == ["Look"] * 4
    assert chat.uploaded[media_id].content == httpx2.get(large["url"], timeout=30).content


def test_a_key_is_known_to_both_replicas(media: Installed, chat: Graph, came: dict[str, Json]) -> None:
    before = len(chat.sent)
    order = {"to": "+16505551234", "media_id": came["clip"]["id"]}
    with media.client() as client:
        key = {"Idempotency-Key": os.urandom(8).hex()}
        answers = [client.post(SEND, json=order, headers=key) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 6
        assert len({answer.json()["message_id"] for answer in answers}) == 1
        assert client.post(SEND, json={**order, "caption": "b"}, headers=key).status_code == 422
    assert len(chat.sent) == before + 1
    assert media.objects("uploads/shop/.sent/")


def test_a_template_and_a_sticker_go_out(media: Installed, chat: Graph, came: dict[str, Json]) -> None:
    order = {"to": "+16505551234", "media_id": came["bill"]["id"], "template": {"name": "bill", "language": "de"}}
    with media.client() as client:
        assert client.post(SEND, json=order).status_code == 200
        (header,) = chat.sent[-1]["template"]["components"]
        assert header["parameters"][0]["document"]["filename"] == "bill 7.pdf"
        name = media.upload(DATA / "photo.jpg", profile="whatsapp-sticker", is_public="false")["id"]
        assert media.finished(name)["status"] == "ready"
        assert client.post(SEND, json={"to": "+16505551234", "media_id": name}).json()["type"] == "sticker"
    sticker = chat.uploaded[chat.sent[-1]["sticker"]["id"]]
    with Image.open(io.BytesIO(sticker.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (512, 512))
    assert len(sticker.content) <= 100_000


def test_what_whatsapp_refuses_is_said(media: Installed, chat: Graph, came: dict[str, Json]) -> None:
    chat.faults["message"].append(Fault(status=400, code=131047, message="Re-engagement message"))
    with media.client() as client:
        answer = client.post(SEND, json={"to": "+16505551234", "media_id": came["bill"]["id"]})
        assert (answer.status_code, answer.json()["code"]) == (422, 131047)
    with media.client("token-of-mallory-for-tests") as mallory:
        answer = mallory.post(SEND, json={"to": "+16505551234", "media_id": came["bill"]["id"]})
        assert answer.status_code == 404, "the account is another tenant's"


def test_the_command_line_checks_an_account(media: Installed, chat: Graph) -> None:
    command = [sys.executable, "-m", "media_cli", "whatsapp", "check", "support", "--url", media.base_url]
    environment = {"MEDIA_TOKEN": media.token, "COLUMNS": "120"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("+1 555-078-3881 (Shop)", "answers the handshake"):
        assert word in done.stdout
    chat.app_secret = "another"
    wrong = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    chat.app_secret = APP_SECRET
    assert (wrong.returncode, "Copy the App Secret" in wrong.stdout) == (1, True)


# The other senders, and all of them


def test_a_signed_webhook_of_anybody_becomes_ready(media: Installed, files: dict[str, Sent]) -> None:
    media.put("elsewhere/photo.jpg", files["photo"].content)
    where = {"Bucket": media.bucket, "Key": media.key("elsewhere/photo.jpg")}
    link = media.s3.client().generate_presigned_url("get_object", Params=where)
    text, moment = json.dumps({"url": link, "type": "image", "metadata": {"lead": "7"}}), datetime.now(UTC)
    headers = {
        "webhook-id": f"msg_{os.urandom(8).hex()}",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_other", moment, text),
    }
    address = f"{media.base_url}/webhooks/in/crm/"
    assert httpx2.post(address, content=text, headers=headers).status_code == 403
    headers["webhook-signature"] = Webhook(SECRET).sign(headers["webhook-id"], moment, text)
    answers = [httpx2.post(address, content=text, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    (name,) = {answer.json()["id"] for answer in answers}
    body = media.finished(name)
    assert (body["status"], body["metadata"]) == ("ready", {"lead": "7"}), body


@pytest.mark.usefixtures("came")
def test_no_log_shows_a_secret(media: Installed) -> None:
    places = {"ingest": SYSTEM, "operator": SYSTEM, "transcoder": WORK}
    logs = {
        component: media.cluster.kubectl("logs", "-n", namespace, "-l", labels(component), "--tail=-1")
        for component, namespace in places.items()
    }
    # The operator has nothing to say as long as nothing is wrong.
    assert logs["ingest"]
    assert logs["transcoder"]
    tokens = [account["token"] for account in ACCOUNTS.values()]
    secrets = (*tokens, APP_SECRET, VERIFY_TOKEN, SECRET)
    assert [component for component, log in logs.items() if any(secret in log for secret in secrets)] == []
