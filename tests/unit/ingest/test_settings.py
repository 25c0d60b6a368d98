"""Settings that belong together."""

from datetime import timedelta
from pathlib import Path

import pytest

from media_ingest.settings import ClusterSettings
from mediaasset.environment import load

SIGNING = {"MEDIA_INGEST_SIGNING_KEY": "k" * 32, "MEDIA_INGEST_SIGNING_BASE_URL": "https://media.test/base"}


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> ClusterSettings:
    for name, value in {"MEDIA_INGEST_TOKENS": "/none", **given}.items():
        monkeypatch.setenv(name, value)
    return load(ClusterSettings)


def test_urls_of_private_media_are_signed_with_a_secret_and_a_base(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = settings(monkeypatch)
    assert (plain.tokens, plain.signer()) == (Path("/none"), None)
    signer = settings(monkeypatch, **SIGNING).signer()
    assert signer is not None
    assert signer.url("private/a/b-0123456789abcdef.jpg", timedelta(hours=1)).startswith(
        "https://media.test/base/private/~"
    )


@pytest.mark.parametrize("name", SIGNING)
def test_one_of_them_alone_is_wrong(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ValueError, match="belong together"):
        settings(monkeypatch, **{name: SIGNING[name]})


def test_secret_that_is_short_is_refused_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="MEDIA_INGEST_SIGNING_KEY") as raised:
        settings(monkeypatch, **SIGNING | {"MEDIA_INGEST_SIGNING_KEY": "too short"})
    assert "too short" not in str(raised.value)
