"""The closed table of media types, and their recognition by content.

A file's kind is what its first bytes say, never its name. The table is also what a served file's Content-Type is taken
from, so an extension that is not in it is never served.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

#: How many first bytes `sniff` wants to see; fewer is fine for a shorter file.
SNIFF_BYTES = 4096


class Kind(StrEnum):
    """What a MediaAsset is; `spec.type`."""

    IMAGE = "Image"
    VIDEO = "Video"
    AUDIO = "Audio"
    DOCUMENT = "Document"


@dataclass(frozen=True, slots=True)
class MediaType:
    """One supported format. The first extension is the one that we write."""

    mime: str
    kind: Kind
    extensions: tuple[str, ...]
    aliases: tuple[str, ...] = ()


_OOXML = "application/vnd.openxmlformats-officedocument"

MEDIA_TYPES = (
    MediaType("image/jpeg", Kind.IMAGE, ("jpg", "jpeg", "jpe", "jfif"), ("image/jpg", "image/pjpeg")),
    MediaType("image/png", Kind.IMAGE, ("png",), ("image/x-png",)),
    MediaType("image/gif", Kind.IMAGE, ("gif",)),
    MediaType("image/webp", Kind.IMAGE, ("webp",)),
    MediaType("image/bmp", Kind.IMAGE, ("bmp", "dib"), ("image/x-ms-bmp", "image/x-bmp")),
    MediaType("image/avif", Kind.IMAGE, ("avif",)),
    MediaType("image/heic", Kind.IMAGE, ("heic", "heif", "hif"), ("image/heif",)),
    MediaType("video/mp4", Kind.VIDEO, ("mp4", "m4v"), ("video/x-m4v",)),
    MediaType("video/quicktime", Kind.VIDEO, ("mov", "qt")),
    MediaType("video/x-msvideo", Kind.VIDEO, ("avi",), ("video/avi", "video/msvideo")),
    MediaType("video/x-matroska", Kind.VIDEO, ("mkv",), ("video/matroska",)),
    MediaType("video/webm", Kind.VIDEO, ("webm",)),
    MediaType("video/3gpp", Kind.VIDEO, ("3gp", "3g2", "3gpp"), ("video/3gpp2",)),
    MediaType("video/mp2t", Kind.VIDEO, ("ts", "mts", "m2ts"), ("video/mpegts",)),
    MediaType("audio/mpeg", Kind.AUDIO, ("mp3",), ("audio/mp3", "audio/x-mp3")),
    MediaType("audio/wav", Kind.AUDIO, ("wav",), ("audio/x-wav", "audio/wave", "audio/vnd.wave")),
    MediaType("audio/ogg", Kind.AUDIO, ("ogg", "oga", "opus"), ("audio/opus", "application/ogg")),
    MediaType("audio/aac", Kind.AUDIO, ("aac",), ("audio/aacp", "audio/x-aac")),
    MediaType("audio/mp4", Kind.AUDIO, ("m4a",), ("audio/m4a", "audio/x-m4a")),
    MediaType("audio/amr", Kind.AUDIO, ("amr",), ("audio/3gpp", "audio/amr-nb")),
    MediaType("audio/flac", Kind.AUDIO, ("flac",), ("audio/x-flac",)),
    MediaType("application/pdf", Kind.DOCUMENT, ("pdf",), ("application/x-pdf",)),
    MediaType("application/msword", Kind.DOCUMENT, ("doc",)),
    MediaType("application/vnd.ms-excel", Kind.DOCUMENT, ("xls",)),
    MediaType("application/vnd.ms-powerpoint", Kind.DOCUMENT, ("ppt",)),
    MediaType(f"{_OOXML}.wordprocessingml.document", Kind.DOCUMENT, ("docx",)),
    MediaType(f"{_OOXML}.spreadsheetml.sheet", Kind.DOCUMENT, ("xlsx",)),
    MediaType(f"{_OOXML}.presentationml.presentation", Kind.DOCUMENT, ("pptx",)),
    MediaType("text/plain", Kind.DOCUMENT, ("txt",)),
)

#: What only we write, inside the directory of a rendition: playlists (RFC 8216) and cues (WebVTT).
_WRITTEN = {"m3u8": "application/vnd.apple.mpegurl", "vtt": "text/vtt"}

_BY_MIME = {name: media for media in MEDIA_TYPES for name in (media.mime, *media.aliases)}
_BY_EXTENSION = {extension: media for media in MEDIA_TYPES for extension in media.extensions}

_MATROSKA = b"\x1aE\xdf\xa3"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: Names of parts that begin an Office document; their order is free.
_OOXML_MARKS = (b"[Content_Types].xml", b"_rels/.rels", b"word/", b"xl/", b"ppt/", b"docProps/")
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_HEIF_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
#: What a packet of an MPEG transport stream begins with (ISO 13818-1, 2.4.3.3).
_SYNC = 0x47
#: A PDF may have other things before it, as printers and mail programs leave them, within its first kilobyte (PDF
#: Reference 1.7, appendix H, 13): its header is then the first line that looks like one.
_PDF = re.compile(rb"(?:\xef\xbb\xbf)?[\0\t\n\r\f ]*%PDF-|.{0,1023}?[\r\n]%PDF-[12]\.[0-9]", re.DOTALL)
#: Bytes that plain text does not hold: C0 controls except tab, newline, form feed, return and escape.
_NOT_TEXT = bytes(set(range(32)) - {9, 10, 12, 13, 27}) + b"\x7f"


def by_mime(mime: str) -> MediaType | None:
    """Look a Content-Type up; parameters and case do not matter."""
    return _BY_MIME.get(mime.partition(";")[0].strip().lower())


def by_file_name(name: str) -> MediaType | None:
    """Look the extension of a file name up."""
    stem, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get(extension.strip().lower()) if stem or dot else None


def served_mime(key: str) -> str | None:
    """Return the Content-Type of an object that we wrote, by its extension; None for anything else."""
    media = by_file_name(key)
    return media.mime if media else _WRITTEN.get(key.rpartition(".")[2])


def sniff(head: bytes, *, declared_text: bool = False) -> MediaType | None:  # noqa: C901, PLR0911, PLR0912 - one flat table of magics
    """Recognise a file by its first SNIFF_BYTES bytes; None for what is not supported.

    A zip or OLE file cannot be told further from its beginning: it comes back as a Word document, and the transcoder
    looks inside. Text has no mark at all, so it is only text/plain when the sender declared it as text.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return _BY_MIME["image/jpeg"]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _BY_MIME["image/png"]
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _BY_MIME["image/gif"]
    if head.startswith(b"RIFF"):
        return {
            b"WEBP": _BY_MIME["image/webp"],
            b"WAVE": _BY_MIME["audio/wav"],
            b"AVI ": _BY_MIME["video/x-msvideo"],
        }.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot") and head[:3] == b"\0\0\0":
        return _BY_MIME["video/quicktime"]
    if head.startswith(_MATROSKA):
        return _BY_MIME["video/webm" if b"webm" in head[:64] else "video/x-matroska"]
    if head.startswith(b"OggS"):
        # Ogg with Theora is a video format that no profile takes.
        return None if b"theora" in head[:128] else _BY_MIME["audio/ogg"]
    if head.startswith(b"fLaC"):
        return _BY_MIME["audio/flac"]
    if head.startswith((b"#!AMR\n", b"#!AMR-WB\n")):
        return _BY_MIME["audio/amr"]
    if head.startswith(b"ID3"):
        return _BY_MIME["audio/mpeg"]
    if _is_mpeg_sync(head) and (found := _mpeg_audio(head[1])):
        return found
    if _is_transport_stream(head):
        return _BY_MIME["video/mp2t"]
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return _BY_MIME["image/bmp"]
    if _PDF.match(head):
        return _BY_MIME["application/pdf"]
    if head.startswith(_OLE):
        return _BY_MIME["application/msword"]
    if head.startswith(b"PK\x03\x04") and any(mark in head for mark in _OOXML_MARKS):
        return _BY_EXTENSION["docx"]
    if declared_text and looks_like_text(head):
        return _BY_MIME["text/plain"]
    return None


def looks_like_text(head: bytes) -> bool:
    """Tell whether the bytes could be the beginning of a plain text in UTF-8, UTF-16 with a mark, or an 8-bit set."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return not head.translate(None, delete=bytes(set(range(256)) - set(_NOT_TEXT)))


def _iso_media(head: bytes) -> MediaType | None:
    """Tell a file of ISO 14496-12 by its brands: the major one, and those that it is compatible with."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brand, compatible = head[8:12], {head[at : at + 4] for at in range(16, size - 3, 4)}
    if brand in _AUDIO_BRANDS:
        return _BY_MIME["audio/mp4"]
    if brand == b"qt  ":
        return _BY_MIME["video/quicktime"]
    if brand.startswith(b"3g"):
        return _BY_MIME["video/3gpp"]
    # HEIF is a container for pictures (ISO 23008-12): what compressed them, the brands say.
    if brand in _AVIF_BRANDS or (brand in _HEIF_BRANDS and compatible & _AVIF_BRANDS):
        return _BY_MIME["image/avif"]
    if brand in _HEIC_BRANDS or (brand in _HEIF_BRANDS and compatible & _HEIC_BRANDS):
        return _BY_MIME["image/heic"]
    return None if brand in _HEIF_BRANDS else _BY_MIME["video/mp4"]


def _is_transport_stream(head: bytes) -> bool:
    """Tell whether the first packets of an MPEG transport stream begin where they must, plain or with a time code."""
    return any(
        len(head) > start + 2 * size and all(head[start + at * size] == _SYNC for at in range(3))
        for start, size in ((0, 188), (4, 192))
    )


def _is_mpeg_sync(head: bytes) -> bool:
    """Tell whether the 11 bits are set that begin a frame of MPEG audio; the mark of UTF-16 begins so as well."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0  # noqa: PLR2004 - the bits


def _mpeg_audio(second: int) -> MediaType | None:
    layer = second >> 1 & 3
    if second & 0xF6 == 0xF0:  # noqa: PLR2004 - ADTS: sync 12 bits, layer 0
        return _BY_MIME["audio/aac"]
    return _BY_MIME["audio/mpeg"] if layer in (1, 2) else None
