"""What obstore is told beside the variables AWS_…, which it reads itself."""

from datetime import timedelta

import pytest
from obstore.store import S3Store

from mediaasset import s3
from mediaasset.s3 import Payload, StoreSettings, open_store
from mediaasset.signing import UrlSigner


@pytest.mark.parametrize(
    ("variables", "payload"),
    [
        ({}, Payload.TRUSTED),
        ({"AWS_ENDPOINT_URL": "https://s3.example"}, Payload.TRUSTED),
        ({"AWS_ENDPOINT": "https://s3.example"}, Payload.TRUSTED),
        ({"AWS_ENDPOINT": "http://s3.example"}, Payload.CHECKED),
        ({"AWS_ENDPOINT": "http://s3.example", "AWS_UNSIGNED_PAYLOAD": "True"}, Payload.TRUSTED),
        ({"AWS_ENDPOINT": "http://s3.example", "AWS_UNSIGNED_PAYLOAD": "false"}, Payload.SIGNED),
        ({"AWS_ENDPOINT": "https://s3.example", "AWS_UNSIGNED_PAYLOAD": "false"}, Payload.SIGNED),
    ],
)
def test_content_is_hashed_where_neither_tls_nor_a_checksum_vouches_for_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], payload: Payload
) -> None:
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_UNSIGNED_PAYLOAD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = open_store(StoreSettings(url="s3://bucket"))
    assert isinstance(store._backend, S3Store)
    assert s3.payload() is payload
    assert (str(store._backend.config.get("unsigned_payload")) == "true") == (payload is Payload.TRUSTED)
    assert (store._streams is None) == (payload is Payload.SIGNED)


async def test_private_renditions_are_signed_by_whoever_answers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    wanted = ["private/a/hls-0123456789abcdef/index.m3u8", "uploads/a/b/c"]
    hour = timedelta(hours=1)
    bucket = StoreSettings(url="s3://bucket/root")
    store = open_store(bucket)
    assert not store.opens_trees
    assert all("X-Amz-Signature=" in url for url in (await store.sign_all(wanted, hour)).values())
    store = open_store(bucket, UrlSigner("https://media.test", b"k" * 32))
    assert store.opens_trees
    private, upload = (await store.sign_all(wanted, hour)).values()
    assert private.startswith("https://media.test/private/~")
    assert "X-Amz-Signature=" in upload
