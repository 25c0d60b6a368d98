"""What obstore is told beside the variables AWS_…, which it reads itself."""

import pytest
from obstore.store import S3Store

from mediaasset.s3 import StoreSettings, open_store


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "true"),
        ({"AWS_ENDPOINT_URL": "https://s3.example"}, "true"),
        ({"AWS_ENDPOINT": "https://s3.example"}, "true"),
        ({"AWS_ENDPOINT": "http://s3.example"}, "None"),
        ({"AWS_ENDPOINT": "https://s3.example", "AWS_UNSIGNED_PAYLOAD": "false"}, "None"),
    ],
)
def test_a_body_is_hashed_where_no_tls_vouches_for_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_UNSIGNED_PAYLOAD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    backend = open_store(StoreSettings(url="s3://bucket"))._backend
    assert isinstance(backend, S3Store)
    assert str(backend.config.get("unsigned_payload")) == told
