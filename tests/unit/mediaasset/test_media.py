"""Files are recognised by their first bytes, and by nothing else."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaasset.media import MEDIA_TYPES, by_file_name, by_mime, served_mime, sniff


def office(*parts: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for part in parts:
            archive.writestr(part, "x" * 6000)
    return body.getvalue()[:4096]


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\0\0\0\0\0\0\0\0", "image/bmp"),
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x08wide", "video/quicktime"),
        (b"\0\0\0\x18ftyp3gp4", "video/3gpp"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01B\x82\x84webm", "video/webm"),
        (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01B\x82\x88matroska", "video/x-matroska"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio/mpeg"),
        (b"\xff\xf1\x50", "audio/aac"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"OggS\0\x02" + bytes(20) + b"OpusHead", "audio/ogg"),
        (b"\0\0\0\x18ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "image/avif"),
        ((b"G" + b"\0" * 187) * 3, "video/mp2t"),
        ((b"\0\0\0\0G" + b"\0" * 187) * 3, "video/mp2t"),
        (b"fLaC\0\0\0\x22", "audio/flac"),
        (b"#!AMR\n", "audio/amr"),
        (b"%PDF-1.7", "application/pdf"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword"),
        (office("[Content_Types].xml"), by_file_name("a.docx").mime),  # type: ignore[union-attr]
        (office("word/document.xml", "[Content_Types].xml"), by_file_name("a.docx").mime),  # type: ignore[union-attr]
    ],
)
def test_what_is_supported(head: bytes, mime: str) -> None:
    found = sniff(head)
    assert found is not None
    assert found.mime == mime


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"hello",
        b"<svg xmlns=",
        b"%!PS-Adobe",
        b"#EXTM3U\n",
        b"ffconcat version 1.0\n",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
        b"G" + b"x" * 400,
        b"OggS\0\x02" + bytes(22) + b"\x80theora",
        b"PK\x03\x04" + bytes(26) + b"a.txt",
        b"RIFF\0\0\0\0CDDA",
        b"MZ\x90\0",
    ],
)
def test_what_is_not(head: bytes) -> None:
    assert sniff(head) is None


@pytest.mark.parametrize("text", ["Grüße\n".encode(), "hello".encode("utf-16"), "hello".encode("utf-16-be"), b"a\x1bb"])
def test_text_is_text_only_when_it_was_declared(text: bytes) -> None:
    head = text if not text.startswith(b"\0h") else b"\xfe\xff" + text
    assert sniff(head) is None
    declared = sniff(head, declared_text=True)
    assert declared is not None
    assert declared.mime == "text/plain"


def test_binary_is_no_text_whatever_was_declared() -> None:
    assert sniff(b"hello\0world", declared_text=True) is None


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_have_an_answer(head: bytes, text: bool) -> None:  # noqa: FBT001 - hypothesis passes it by position
    assert sniff(head, declared_text=text) in {*MEDIA_TYPES, None}


def test_no_name_belongs_to_two_types() -> None:
    mimes = [mime for media in MEDIA_TYPES for mime in (media.mime, *media.aliases)]
    extensions = [extension for media in MEDIA_TYPES for extension in media.extensions]
    assert len(set(mimes)) == len(mimes)
    assert len(set(extensions)) == len(extensions)


def test_lookups_mind_neither_case_nor_parameters() -> None:
    assert by_mime("Audio/OGG; codecs=opus") == by_file_name("X.OGA")
    assert by_file_name("README") is None
    assert served_mime("media/a/b/large-0123.webp") == "image/webp"
    assert served_mime("media/a/b/page.html") is None
