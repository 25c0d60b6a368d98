"""What was sent by WhatsApp, fetched by real transcoders from a stand-in for Graph, with the account's own token."""

import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import graph
from bench import Bench, Ended
from graph import Fault, Graph, Media
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Limits, Source, WhatsAppMedia

TOKEN = "EAAGm0PX4ZCpsBAtoken"
ORIGINAL = "whatsapp-media/support/2026-01-02/image/0.jpg"

_BUFFER = io.BytesIO()
Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 50).convert("RGB").save(_BUFFER, "JPEG")
PHOTO = Media(content=_BUFFER.getvalue(), mime_type="image/jpeg")

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., Ended]


@pytest.fixture
def server() -> Iterator[Graph]:
    with graph.serving() as running:
        running.tokens.add(TOKEN)
        running.media["123"] = PHOTO
        yield running


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    """The directory of accounts, of which the namespace of the bench has one."""
    account = tmp_path / "accounts/support"
    account.mkdir(parents=True)
    (account / "token").write_text(f"{TOKEN}\n")
    (account / "namespace").write_text("ns\n")
    return tmp_path / "accounts"


@pytest.fixture
def start(bench: Bench, server: Graph, accounts: Path) -> Start:
    """Start one attempt for a message of the account; keyword arguments are those of WhatsAppMedia, or of the Task."""

    def once(
        *, limits: Limits | None = None, attempt: int = 1, environment: dict[str, str] | None = None, **of: str
    ) -> "subprocess.Popen[str]":
        media = WhatsAppMedia(**{"account_name": "support", "media_id": "123", "original_key": ORIGINAL, **of})
        task = replace(bench.task(Source(whatsapp=media)), allowed_cidrs=("127.0.0.0/8",), attempt=attempt)
        if limits:
            task = replace(bench.with_limits(task, Kind.IMAGE, limits), type=Kind.IMAGE)
        told = {"MEDIA_GRAPH_URL": server.url, "MEDIA_WHATSAPP_DIRECTORY": str(accounts)}
        return bench.start(task, **(told | (environment or {})))

    return once


@pytest.fixture
def run(bench: Bench, start: Start) -> Run:
    """Run one attempt to its end, with the arguments of `start`."""

    def once(**arguments: Any) -> Ended:
        ended = bench.end(start(**arguments))
        # Whatever happens, the token stays where it is.
        written = [path.read_bytes() for path in bench.store.rglob("*") if path.is_file()]
        assert not any(TOKEN.encode() in each for each in (ended.log.encode(), *written))
        assert TOKEN not in json.dumps(ended.progress)
        return ended

    return once


def kept(bench: Bench) -> list[str]:
    return list(bench.objects("whatsapp-media/"))


def expect(bench: Bench, ended: Ended, reason: Reason, *words: str) -> None:
    assert ended.reason is reason, ended.log
    message = bench.failure().message
    assert all(word in message for word in words), message
    assert "://" not in message
    assert bench.objects("media/", "private/") == []


@pytest.mark.parametrize(
    "announced",
    [
        None,
        PHOTO.hex,
        PHOTO.hex.upper(),
        PHOTO.base64,
        PHOTO.base64.rstrip("="),
        PHOTO.base64.replace("+", "-").replace("/", "_"),
    ],
)
def test_a_photograph_becomes_renditions_and_is_kept_as_it_came(
    bench: Bench, server: Graph, run: Run, announced: str | None
) -> None:
    ended = run(**({"sha256": announced} if announced else {}))
    assert ended.code == 0, ended.log
    assert bench.result().source_info.sha256 == PHOTO.hex
    assert kept(bench) == [ORIGINAL]
    assert (bench.store / ORIGINAL).read_bytes() == PHOTO.content
    assert [(asked.step, asked.token) for asked in server.asked] == [("lookup", TOKEN), ("download", TOKEN)]
    assert server.asked[0].path == "/v24.0/123"


@pytest.mark.parametrize(
    "answer",
    [
        {"sha256": PHOTO.base64},
        {"sha256": None},
        {"file_size": str(len(PHOTO.content))},
        {"file_size": None, "mime_type": None, "messaging_product": None},
    ],
)
def test_graph_may_speak_of_media_in_several_forms(server: Graph, run: Run, answer: dict[str, object]) -> None:
    server.media["123"] = replace(PHOTO, answer=answer)
    assert run(sha256=PHOTO.hex).code == 0


@pytest.mark.parametrize(
    ("answer", "announced", "words"),
    [
        ({"sha256": "0" * 64}, None, "Graph announced"),
        ({"sha256": "q" * 43 + "="}, None, "Graph announced"),
        ({"file_size": len(PHOTO.content) + 1}, None, "bytes"),
        ({}, "0" * 64, "The message announced"),
        ({}, "q" * 43, "The message announced"),
    ],
)
def test_what_is_not_what_was_announced_is_not_kept(
    bench: Bench, server: Graph, run: Run, *, answer: dict[str, object], announced: str | None, words: str
) -> None:
    server.media["123"] = replace(PHOTO, answer=answer)
    expect(bench, run(**({"sha256": announced} if announced else {})), Reason.SOURCE_MISMATCH, words)
    assert kept(bench) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_link_is_asked_for_again(server: Graph, run: Run, status: int) -> None:
    server.faults["download"] = [Fault(status=status)] * 2
    assert run().code == 0
    assert server.steps() == ["lookup", "download"] * 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, Reason.SOURCE_FORBIDDEN), (404, Reason.SOURCE_UNAVAILABLE), (410, Reason.SOURCE_UNAVAILABLE)],
)
def test_links_that_never_work_are_given_up(bench: Bench, server: Graph, run: Run, status: int, reason: Reason) -> None:
    server.faults["download"] = [Fault(status=status)] * 9
    expect(bench, run(), reason)
    assert server.steps() == ["lookup", "download"] * 3


def test_a_link_that_is_old_by_the_clock_is_expired(bench: Bench, server: Graph, run: Run) -> None:
    server.link_seconds = 0.0
    expect(bench, run(), Reason.SOURCE_UNAVAILABLE, "links of Graph led nowhere")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(status=401, code=190), Reason.SOURCE_UNAUTHORIZED),
        (Fault(status=400, code=190, subcode=463), Reason.SOURCE_UNAUTHORIZED),
        (Fault(status=401), Reason.SOURCE_UNAUTHORIZED),
        (Fault(status=404), Reason.SOURCE_NOT_FOUND),
        (Fault(status=400, code=100, subcode=33), Reason.SOURCE_NOT_FOUND),
        (Fault(status=400, code=100), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=403), Reason.SOURCE_FORBIDDEN),
        (Fault(status=403, code=10), Reason.SOURCE_FORBIDDEN),
        (Fault(status=400, code=131005), Reason.SOURCE_FORBIDDEN),
        # Limits of rate come with many a status.
        (Fault(status=403, code=4), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=400, code=80007), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=400, code=130429), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=400, code=131056), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=429), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=500), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=503, headers={"Retry-After": "3600"}), Reason.SOURCE_UNAVAILABLE),
        (Fault(status=418), Reason.SOURCE_UNAVAILABLE),
    ],
)
def test_an_error_of_graph_has_its_reason(bench: Bench, server: Graph, run: Run, fault: Fault, reason: Reason) -> None:
    server.faults["lookup"] = [fault] * 5
    expect(bench, run(), reason, f"Graph answered {fault.status}", f"code {fault.code}" if fault.code else "")
    assert server.steps() == ["lookup"]
    assert kept(bench) == []


def test_an_id_that_is_gone_is_said_to_live_for_a_week(bench: Bench, run: Run) -> None:
    expect(bench, run(media_id="999"), Reason.SOURCE_NOT_FOUND, "code 100, subcode 33", "does not exist", "7 days")


def test_a_short_pause_that_graph_asks_for_is_kept(server: Graph, run: Run) -> None:
    busy = Fault(status=429, code=130429, headers={"Retry-After": "0"})
    server.faults = {"lookup": [busy, busy], "download": [busy]}
    assert run().code == 0
    assert server.steps() == ["lookup"] * 3 + ["download"] * 2


def test_graphs_words_come_without_addresses_and_tokens(bench: Bench, server: Graph, run: Run) -> None:
    words = f"Bad access_token={TOKEN}x at https://graph.facebook.com/v24.0/1?a=b, not EAAB12ab nor Bearer abc"
    server.faults["lookup"] = [Fault(status=400, code=190, message=words)]
    expect(bench, run(), Reason.SOURCE_UNAUTHORIZED, "Bad", "at …")
    assert not any(part in bench.failure().message for part in ("EAA", "graph.facebook.com", "abc"))


@pytest.mark.parametrize("body", ["no link", {"url": None}, {"url": 5}, {"sha256": "short"}, {"sha256": 5}])
def test_an_answer_without_what_it_should_hold_may_pass(
    bench: Bench, server: Graph, run: Run, body: str | dict[str, object]
) -> None:
    if isinstance(body, str):
        server.faults["lookup"] = [Fault(status=200)]
    else:
        server.media["123"] = replace(PHOTO, answer=body)
    expect(bench, run(), Reason.SOURCE_UNAVAILABLE)


@pytest.mark.parametrize("size", [len(PHOTO.content), None, 5])
def test_the_limit_of_the_profile_holds(bench: Bench, server: Graph, run: Run, size: int | None) -> None:
    server.media["123"] = replace(PHOTO, answer={"file_size": size})
    expect(bench, run(limits=Limits(max_bytes=len(PHOTO.content) - 1)), Reason.SOURCE_TOO_LARGE)
    assert kept(bench) == []


def test_nothing_is_not_kept(bench: Bench, server: Graph, run: Run) -> None:
    server.media["123"] = Media(content=b"")
    expect(bench, run(), Reason.EMPTY_SOURCE)
    assert kept(bench) == []


def test_a_token_goes_to_no_other_host(bench: Bench, server: Graph, run: Run) -> None:
    with graph.serving("127.0.0.2") as other:
        other.tokens.add("None")
        link = other.link(PHOTO)
        server.faults["download"] = [Fault(status=302, headers={"Location": link})]
        ended = run()
        assert [asked.token for asked in other.asked] == [None]
    # The stand-in wants a token, and ours is not for it.
    expect(bench, ended, Reason.SOURCE_UNAUTHORIZED)


def test_a_token_follows_on_the_host_that_it_is_for(server: Graph, run: Run) -> None:
    server.faults["download"] = [Fault(status=302, headers={"Location": server.link(PHOTO)})]
    assert run().code == 0
    assert [asked.token for asked in server.asked] == [TOKEN] * 3


def test_where_graph_is_asked_by_tls_nothing_is_asked_in_the_clear(
    bench: Bench, server: Graph, run: Run, tmp_path: Path
) -> None:
    certificate, authority = tmp_path / "graph.pem", tmp_path / "authority.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch -subj /CN=graph"
    files: list[str | Path] = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", certificate, "-out", authority]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + authority.read_text())
    with graph.serving(certificate=certificate) as secured:
        secured.tokens.add(TOKEN)
        secured.media["123"] = PHOTO
        environment = {"MEDIA_GRAPH_URL": secured.url, "SSL_CERT_FILE": str(authority)}
        assert run(environment=environment).code == 0
        assert [asked.token for asked in secured.asked] == [TOKEN, TOKEN]

        def refused() -> None:
            (bench.store / ORIGINAL).unlink(missing_ok=True)
            (bench.store / "work/uid/1/failure-pod.json").unlink(missing_ok=True)
            (bench.store / "work/uid/1/result.json").unlink(missing_ok=True)
            assert run(environment=environment).reason is Reason.SOURCE_FORBIDDEN
            assert "unencrypted" in bench.failure().message

        secured.links = [server.link(PHOTO)]
        refused()
        secured.faults["download"] = [Fault(status=302, headers={"Location": server.link(PHOTO)})]
        refused()
        # A certificate that nobody vouches for.
        (bench.store / "work/uid/1/failure-pod.json").unlink()
        assert run(environment={"MEDIA_GRAPH_URL": secured.url}).reason is Reason.SOURCE_UNAVAILABLE
    assert server.asked == []


def test_graph_and_links_pass_the_address_guard(bench: Bench, server: Graph, run: Run) -> None:
    server.links = [f"http://169.254.169.254:{server.server_port}/latest/"]
    expect(bench, run(), Reason.SOURCE_FORBIDDEN, "not a public one")
    assert server.steps() == ["lookup"]
    (bench.store / "work/uid/1/failure-pod.json").unlink()
    ended = run(environment={"MEDIA_GRAPH_URL": f"http://[fd00::1]:{server.server_port}/v24.0"})
    expect(bench, ended, Reason.SOURCE_FORBIDDEN, "not a public one")
    assert len(server.asked) == 1


def test_what_was_kept_serves_when_graph_has_forgotten_it(
    bench: Bench, server: Graph, run: Run, accounts: Path
) -> None:
    assert run(sha256=PHOTO.base64).code == 0
    first = bench.result()
    server.media.clear()
    server.asked.clear()
    # Not even the account is needed any more.
    shutil.rmtree(accounts / "support")
    assert run(sha256=PHOTO.base64, attempt=2).code == 0
    assert server.asked == []
    second = json.loads((bench.store / "work/uid/2/result.json").read_bytes())
    assert second["sourceInfo"]["sha256"] == first.source_info.sha256
    assert [each["key"] for each in second["renditions"]] == [each.key for each in first.renditions]


def test_what_cannot_be_decoded_is_not_lost(bench: Bench, server: Graph, run: Run) -> None:
    content = PHOTO.content[:2000]
    server.media["123"] = Media(content=content)
    expect(bench, run(), Reason.UNDECODABLE)
    assert (bench.store / ORIGINAL).read_bytes() == content


def test_what_was_kept_and_is_not_what_was_announced_is_fetched_again(bench: Bench, server: Graph, run: Run) -> None:
    (bench.store / ORIGINAL).parent.mkdir(parents=True)
    (bench.store / ORIGINAL).write_bytes(b"something else")
    assert run(sha256=PHOTO.hex).code == 0
    assert server.steps() == ["lookup", "download"]
    assert (bench.store / ORIGINAL).read_bytes() == PHOTO.content


@pytest.mark.parametrize("missing", ["MEDIA_WHATSAPP_DIRECTORY", "support", "support/token", "support/namespace"])
def test_an_account_that_is_missing_is_said(
    bench: Bench, server: Graph, run: Run, accounts: Path, missing: str
) -> None:
    environment = {}
    if missing.startswith("MEDIA"):
        environment[missing] = ""
    elif missing == "support":
        shutil.rmtree(accounts / missing)
    else:
        (accounts / missing).unlink()
    ended = run(environment=environment)
    expect(bench, ended, Reason.SOURCE_UNAUTHORIZED, "Secret whatsapp-support", "keys token and namespace")
    assert server.asked == []


@pytest.mark.parametrize("token", ["", "  \n", "two words", "split\r\nHost: elsewhere", "\xfcmlaut"])
def test_a_token_that_is_none_is_not_sent(bench: Bench, server: Graph, run: Run, accounts: Path, token: str) -> None:
    (accounts / "support/token").write_text(token)
    expect(bench, run(), Reason.SOURCE_UNAUTHORIZED)
    assert server.asked == []


@pytest.mark.parametrize("namespace", ["other", "", "ns2", "NS"])
def test_an_account_of_another_namespace_is_refused(
    bench: Bench, server: Graph, run: Run, accounts: Path, namespace: str
) -> None:
    (accounts / "support/namespace").write_text(namespace)
    expect(bench, run(), Reason.SOURCE_FORBIDDEN, "does not belong to the namespace ns")
    assert server.asked == []


def test_an_account_is_no_path(bench: Bench, accounts: Path, run: Run) -> None:
    (accounts / "inner").mkdir()
    expect(bench, run(account_name="inner/../support"), Reason.SOURCE_UNAUTHORIZED)
