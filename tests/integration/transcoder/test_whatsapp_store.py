"""What was sent by WhatsApp, kept in a real S3 by an account that has a transcoder's rights and no more."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import graph
import s3server
from bench import Bench
from graph import Media
from mediaasset.policies import bucket_policy
from mediaasset.reasons import Reason
from mediaasset.task import Source, WhatsAppMedia
from s3server import S3Server

KEY = "whatsapp-media/support/2026-01-02/document/0.pdf"
PDF = Media(content=b"%PDF-1.7\n%%EOF\n" + bytes(9 * 1024 * 1024), mime_type="application/pdf")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3server.start(tmp_path / "s3") as started:
        yield started


def test_the_bytes_are_kept_for_us_alone_and_found_again(bench: Bench, server: S3Server, tmp_path: Path) -> None:
    server.create_bucket("media")
    account = server.create_account("transcoder")
    server.put_policy("media", bucket_policy("media", "root", {"transcoder": account.access_key}))
    folder = tmp_path / "accounts/support"
    folder.mkdir(parents=True)
    (folder / "token").write_text("token")
    (folder / "namespace").write_text("ns")
    media = WhatsAppMedia(account_name="support", media_id="1", original_key=KEY, sha256=PDF.base64)
    task = replace(bench.task(Source(whatsapp=media)), allowed_cidrs=("127.0.0.0/8",))
    environment = server.environment("media", prefix="root", account=account)
    environment["MEDIA_WHATSAPP_DIRECTORY"] = str(folder.parent)
    with graph.serving() as chat:
        chat.tokens.add("token")
        chat.media["1"] = PDF
        ended = bench.run(task, **environment, MEDIA_GRAPH_URL=chat.url)
        assert ended.code == 0, ended.log
        assert chat.steps() == ["lookup", "download"]
        chat.media.clear()
        ended = bench.run(replace(task, attempt=2), **environment, MEDIA_GRAPH_URL=chat.url)
        assert ended.code == 0, ended.log
        assert chat.steps() == ["lookup", "download"]
        # Another asset has another key, and finds nothing there.
        other = replace(task, attempt=3, source=Source(whatsapp=replace(media, original_key=KEY + "x")))
        assert bench.run(other, **environment, MEDIA_GRAPH_URL=chat.url).reason is Reason.SOURCE_NOT_FOUND
    found = server.client().head_object(Bucket="media", Key=f"root/{KEY}")
    assert found["ContentLength"] == len(PDF.content)
    # Whoever gets a link to it gets a file, not a page of the store's origin.
    assert (found["ContentType"], found["ContentDisposition"]) == ("application/octet-stream", "attachment")
    assert found["CacheControl"].startswith("private")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/media/root/{KEY}")
    assert refused.value.code == 403
    refused.value.close()
