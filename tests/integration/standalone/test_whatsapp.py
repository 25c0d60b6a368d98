"""From a message that Meta delivers to its media in the archive, and out again: all of it as it runs on one machine."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import graph
import messages
from graph import Graph, Media
from messages import APP_SECRET, NUMBER, VERIFY_TOKEN, encoded, payload, signature, value
from service import wait_for
from standalone import Standalone, assets_in, files_under, started

TOKEN = "EAAGm0PX4ZCpsBAtoken"
PHOTO = Media(content=(Path(__file__).parents[2] / "data/photo.jpg").read_bytes(), mime_type="image/jpeg")


@pytest.fixture(scope="module")
def chat() -> Iterator[Graph]:
    with graph.serving() as running:
        running.tokens.add(TOKEN)
        running.numbers[NUMBER] = "+1 555-078-3881"
        running.app_secret = APP_SECRET
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, chat: Graph) -> Iterator[Standalone]:
    data = tmp_path_factory.mktemp("whatsapp") / "data"
    account = data / "accounts/support"
    account.mkdir(parents=True)
    texts = {
        "token": TOKEN,
        "namespace": "default",
        "phoneNumberID": NUMBER,
        "appSecret": APP_SECRET,
        "verifyToken": VERIFY_TOKEN,
        "userID": "1",
    }
    for name, text in texts.items():
        (account / name).write_text(f"{text}\n")
    with started(data, MEDIA_GRAPH_URL=chat.url, MEDIA_OPERATOR_ALLOWED_CIDRS='["127.0.0.0/8"]') as running:
        yield running
        log = data.with_suffix(".log").read_text()
        assert not any(secret in log for secret in (TOKEN, APP_SECRET, VERIFY_TOKEN))


def deliver(server: Standalone, *said: messages.Json) -> dict[str, int]:
    """Deliver messages as Meta does."""
    raw = encoded(payload(value(*said)))
    headers = {"X-Hub-Signature-256": signature(raw)}
    answer = httpx2.post(f"{server.base_url}/webhooks/whatsapp/", content=raw, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()["messages"]
    return found


def of_message(server: Standalone, message: messages.Json) -> str:
    with server.client() as client:
        found = client.get("/api/media/", params={"message_id": message["id"]}).json()["results"]
    (only,) = found
    name: str = only["id"]
    return name


def test_a_photograph_comes_in_is_kept_and_goes_out_again(server: Standalone, chat: Graph) -> None:
    said = messages.message("image", 1, id="1003", sha256=PHOTO.base64, caption="Look")
    chat.media["1003"] = PHOTO
    assert deliver(server, said) == {"created": 1}
    name = of_message(server, said)
    body = server.finished(name)
    assert (body["status"], body["caption"], body["is_public"]) == ("ready", "Look", False), body
    assert body["metadata"]["sender_name"] == "Kerry Fisher"
    (original,) = [path for path in files_under(server.data_dir / "store") if path.parts[0] == "whatsapp-media"]
    assert (original.parts[1], original.parts[3], original.suffix) == ("support", "image", ".jpg")
    assert (server.data_dir / "store" / original).read_bytes() == PHOTO.content
    # Private: the address is signed, and works for whoever has it.
    assert "/private/~" in body["urls"]["large"]
    with urllib.request.urlopen(body["urls"]["large"]) as answer:
        large = answer.read()
    with server.client() as client:
        sent = client.post("/api/whatsapp/support/send/", json={"to": "+16505551234", "media_id": name})
    assert sent.status_code == 200, sent.text
    (uploaded,) = chat.uploaded.values()
    assert (uploaded.mime_type, uploaded.content) == ("image/jpeg", large)
    # The note of it woke the asset, and changed nothing else.
    assert server.get(name)["status"] == "ready"


def test_a_message_without_its_media_fails_and_says_why(server: Standalone) -> None:
    assert deliver(server, messages.UNSUPPORTED) == {"created": 1}
    body = server.finished(of_message(server, messages.UNSUPPORTED))
    assert (body["status"], body["error"]["reason"]) == ("failed", "SourceNotFound")
    assert "131051 Message type unknown" in body["error"]["message"]
    assert body["metadata"]["sender"] == messages.SENDER


def test_what_was_deleted_stays_deleted(server: Standalone, chat: Graph) -> None:
    chat.media["1004"] = PHOTO
    said = messages.message("image", 4, id="1004", sha256=PHOTO.hex)
    assert deliver(server, said) == {"created": 1}
    name = of_message(server, said)
    server.finished(name)
    with server.client() as client:
        assert client.delete(f"/api/media/{name}/").status_code == 204
    assert set(deliver(server, said)) <= {"known", "deleted"}
    graph_asked = len(chat.asked)
    wait_for(lambda: name not in {each["metadata"]["name"] for each in assets_in(server.data_dir)}, what="it to go")
    assert deliver(server, said) == {"deleted": 1}
    assert len(chat.asked) == graph_asked


def test_the_command_line_checks_an_account(server: Standalone, chat: Graph) -> None:
    def check(account: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "media_cli", "whatsapp", "check", account, "--url", server.base_url]
        environment = {"MEDIA_TOKEN": server.token, "COLUMNS": "40"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    well = check("support")
    assert well.returncode == 0, well.stderr
    assert "+1 555-078-3881 (Shop)" in well.stdout
    assert "businessAccountID" in well.stdout
    chat.app_secret = "another"
    wrong = check("support")
    chat.app_secret = APP_SECRET
    assert wrong.returncode == 1
    assert "Copy the App Secret" in wrong.stdout
    assert TOKEN not in wrong.stdout + wrong.stderr
    assert check("nobody").returncode == 3
