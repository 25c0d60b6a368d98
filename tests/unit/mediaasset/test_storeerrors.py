"""What a directory store says when the disk does not do its part."""

from pathlib import Path

import pytest

from mediaasset.reasons import MediaError, Reason
from mediaasset.storeerrors import persist


def test_what_cannot_be_made_durable_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x")
    persist(tmp_path, "a/b")
    with pytest.raises(MediaError) as raised:
        persist(tmp_path, "a/gone")
    assert raised.value.reason is Reason.STORE_UNAVAILABLE
