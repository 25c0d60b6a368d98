from pathlib import Path

import pytest

from media_cli.target import Target, TargetError, find


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("MEDIA_TOKEN", "MEDIA_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = tmp_path / ".local" / "share" / "media-operator"
    directory.mkdir(parents=True)
    (directory / "token").write_text("of-standalone\n")
    return directory


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:1/", "http://[::1]:8080", "http://127.9.9.9"]
)
def test_this_machine_has_the_token_of_standalone(url: str) -> None:
    assert find(url) == Target(url.rstrip("/"), "of-standalone")


@pytest.mark.parametrize("url", ["https://media.example.org", "http://10.0.0.1", "http://127.0.0.1.example.org"])
def test_another_machine_never_sees_it(url: str) -> None:
    assert find(url).token is None


def test_the_order_of_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDIA_TOKEN", "of-environment")
    assert find("http://127.0.0.1").token == "of-environment"
    file = tmp_path / "given"
    file.write_text(" of-file \n")
    assert find("http://127.0.0.1", file).token == "of-file"


def test_where_standalone_keeps_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, directory in (("XDG_DATA_HOME", tmp_path / "xdg" / "media-operator"), ("MEDIA_DATA_DIR", tmp_path / "d")):
        directory.mkdir(parents=True)
        (directory / "token").write_text(name)
        monkeypatch.setenv(name, str(directory.parent if name == "XDG_DATA_HOME" else directory))
        assert find("http://127.0.0.1").token == name


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://x:port", "http://[::1"])
def test_not_a_server(url: str) -> None:
    with pytest.raises(TargetError, match="not"):
        find(url)


@pytest.mark.parametrize("body", [b"", b" \n", b"two\nlines", "tökén".encode(), b"\xff\xfe"])
def test_a_token_file_that_holds_none(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "given"
    file.write_bytes(body)
    with pytest.raises(TargetError, match="token"):
        find("http://127.0.0.1", file)


def test_a_missing_token_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="No such file"):
        find("http://127.0.0.1", tmp_path / "missing")
