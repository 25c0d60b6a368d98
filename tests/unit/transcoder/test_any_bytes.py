"""Any bytes at all end in a reason of the table or as renditions: never in Internal, never in much memory."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import WEB_LIMITS, WEB_RENDITIONS
from forked import Server, Verdict
from mediaasset.media import MEDIA_TYPES, SNIFF_BYTES, Kind, sniff
from mediaasset.reasons import Reason
from mediaasset.task import Source, Task
from seeds import seeds

#: What a person can be told of a file. The machine's reasons are not among them.
_ALLOWED = {
    None,
    Reason.UNSUPPORTED_TYPE,
    Reason.TYPE_MISMATCH,
    Reason.UNDECODABLE,
    Reason.LIMIT_EXCEEDED,
    Reason.SOURCE_TOO_LARGE,
}
_MAX_MIB = 256
_TASK = Task(
    uid="uid",
    namespace="ns",
    name="asset",
    attempt=1,
    inputs_hash="hash",
    source=Source(),
    prefix="media/ns/uid/",
    document_prefix="private/ns/uid/",
    renditions=WEB_RENDITIONS,
    limits=WEB_LIMITS,
    deadline_seconds=60,
)
_ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
_EXTENSIONS = sorted({extension for media in MEDIA_TYPES for extension in media.extensions} | {"svg", "m3u8", ""})
#: First bytes by which `sniff` knows a type: what stands behind them is for its decoder.
_HEADS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\xff\0\0\0WEBP", b"RIFF\xff\0\0\0WAVE",
    b"RIFF\xff\0\0\0AVI ",
    b"\0\0\0\x14ftypisom\0\0\0\0isom", b"\0\0\0\x14ftypavif\0\0\0\0avif", b"\0\0\0\x14ftypheic\0\0\0\0heic",
    b"\0\0\0\x08moov", b"\x1aE\xdf\xa3", b"OggS", b"fLaC", b"#!AMR\n", b"ID3", b"\xff\xfb", b"\xff\xf1",
    b"BM\0\0\0\0\0\0\0\0", b"%PDF-", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK\x03\x04[Content_Types].xml",
)  # fmt: skip


#: Hundreds of files, and a hang is the server's to see.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@st.composite
def damaged(draw: st.DrawFn, kind: Kind) -> bytes:
    """Draw a valid file, cut, overwritten, and with a part of it doubled or taken out."""
    files = seeds_of(kind)
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        size = draw(st.integers(1, 64))
        match draw(st.sampled_from(["write", "double", "remove", "cut", "splice"])):
            case "write":
                content[at : at + size] = draw(st.binary(min_size=size, max_size=size))
            case "double":
                content[at:at] = content[at : at + size] * 9
            case "remove":
                del content[at : at + size]
            case "cut":
                del content[at + 1 :]
            case _:
                content[at:] = draw(st.sampled_from(files))[at:]
    return bytes(content) or b"\0"


_SEEDS: dict[Kind, list[bytes]] = {}


def seeds_of(kind: Kind) -> list[bytes]:
    if kind not in _SEEDS:
        _SEEDS[kind] = list(seeds(kind).values())
    return _SEEDS[kind]


def check(verdict: Verdict, content: bytes) -> None:
    found = sniff(content[:SNIFF_BYTES])
    if found and found.mime == "image/heic" and verdict.signal is not None:
        # libheif crashes on some damage, by chance of what is drawn. The child contains it, and the file is refused.
        assert (verdict.reason, verdict.hung) == (Reason.UNDECODABLE, False), verdict
        return
    assert not verdict.is_defect, verdict
    assert verdict.reason in _ALLOWED, verdict
    assert verdict.signal is None, verdict
    assert verdict.kib < _MAX_MIB * 1024, verdict


@settings(_ANY, max_examples=150)
@given(
    content=st.builds(bytes.__add__, st.sampled_from((b"", *_HEADS)), st.binary(max_size=600)).filter(bool),
    extension=st.sampled_from(_EXTENSIONS),
    declared=st.sampled_from([None, *Kind]),
)
def test_any_bytes_under_any_name(server: Server, content: bytes, extension: str, declared: Kind | None) -> None:
    check(server.decode(content, replace(_TASK, file_name=f"a.{extension}", type=declared)), content)


@pytest.mark.parametrize(
    ("kind", "examples"), [(Kind.IMAGE, 100), (Kind.DOCUMENT, 100), (Kind.AUDIO, 25), (Kind.VIDEO, 20)]
)
def test_any_damage_of_any_format(server: Server, kind: Kind, examples: int) -> None:
    @settings(_ANY, max_examples=examples)
    @given(damaged(kind), st.booleans())
    def damage(content: bytes, is_declared: Any) -> None:
        check(server.decode(content, replace(_TASK, type=kind if is_declared else None)), content)

    damage()


def test_a_sound_file_of_each_format_is_rendered(server: Server) -> None:
    # Otherwise damage to it would prove nothing.
    found = {
        name: server.decode(content, replace(_TASK, file_name=name))
        for kind in Kind
        for name, content in seeds(kind).items()
    }
    assert {name: verdict for name, verdict in found.items() if verdict.reason is not None} == {}
    assert max(verdict.kib for verdict in found.values()) > 10 * 1024


def test_a_defect_would_be_seen(server: Server) -> None:
    # A task without a meaning for the child is an error of ours, and not one of the file.
    verdict = server.decode(seeds_of(Kind.IMAGE)[0], replace(_TASK, deadline_seconds=-1))
    assert verdict.is_defect or verdict.signal is not None
