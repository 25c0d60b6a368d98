"""Looking into zip and OLE files: which of the office documents it is. Bounded; nothing is unpacked."""

import re
import zipfile
from pathlib import Path

import olefile

from media_transcoder.faults import blaming
from mediaasset.media import MediaType, by_file_name
from mediaasset.reasons import MediaError, Reason

_OOXML = "application/vnd.openxmlformats-officedocument."
#: What the main part of a document is called in [Content_Types].xml (ECMA-376-1, 15.2): of those that are taken, and of
#: their kin, which are not, with what to do.
_MAIN_PARTS = {
    f"{_OOXML}wordprocessingml.document.main+xml": "docx",
    f"{_OOXML}spreadsheetml.sheet.main+xml": "xlsx",
    f"{_OOXML}presentationml.presentation.main+xml": "pptx",
}
_KIN = {
    "template": "A template is not taken: save it as a document.",
    "slideshow": "A slide show (.ppsx) is not taken: save it as .pptx.",
    "macroenabled": "A document with macros is not taken: save it without them.",
    "": "An office document of this kind is not taken: save it as .docx, .xlsx, .pptx or PDF.",
}
_CONTENT_TYPES = "[content_types].xml"
_TYPE = re.compile(r"""\bContentType\s*=\s*["']([^"'<>]{1,256})["']""")
#: A document of ten thousand parts has a list of 1.5 MB.
_MAX_TYPES_BYTES = 4 * 1024 * 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

#: The streams at the root by which MS-DOC, MS-XLS and MS-PPT name their main content.
_OLE_STREAMS = {"worddocument": "doc", "workbook": "xls", "book": "xls", "powerpoint document": "ppt"}
#: What holds a document of the newer formats under a password (MS-OFFCRYPTO, 2.3.4.4).
_ENCRYPTED = "encryptedpackage"

#: The end record of a zip: 22 bytes and a comment of at most 65,535.
_END = b"PK\x05\x06"
_END_BYTES = 22
_COMMENT_BYTES = 65_535
#: ZIP64 (APPNOTE 4.3.15): what stands directly before the end record to say that another one holds the true sizes.
_LOCATOR = b"PK\x06\x07"
_LOCATOR_BYTES = 20
#: A directory of this size names about a hundred thousand files.
_MAX_DIRECTORY_BYTES = 8 * 1024 * 1024


def recognise_zip(path: Path) -> MediaType | None:
    """Name an Office Open XML document by the type of its main part; None for any other zip.

    Raises MediaError: Undecodable, LimitExceeded, UnsupportedType for the kin of documents that is not taken.
    """
    with blaming(Reason.UNDECODABLE):
        if _directory_bytes(path) > _MAX_DIRECTORY_BYTES:
            raise MediaError(Reason.LIMIT_EXCEEDED, "The document holds too many files.")
        with zipfile.ZipFile(path) as archive:
            types = set(_TYPE.findall(_content_types(archive)))
    found = {extension for name, extension in _MAIN_PARTS.items() if name in types}
    if len(found) == 1:
        return by_file_name("." + found.pop())
    # ".main" in Office's own names too: application/vnd.ms-word.document.macroEnabled.main+xml.
    kin = "".join(name.lower() for name in types if ".main" in name)
    if kin:
        raise MediaError(Reason.UNSUPPORTED_TYPE, next(text for word, text in _KIN.items() if word in kin))
    return None


def recognise_ole(path: Path) -> MediaType | None:
    """Name an office document of the older formats by its directory; None for any other OLE file.

    Raises MediaError: Undecodable, UnsupportedType for a document under a password.
    """
    with blaming(Reason.UNDECODABLE), olefile.OleFileIO(path) as file:
        names = {entry.name.lower() for entry in file.root.kids}
    if _ENCRYPTED in names:
        raise MediaError(Reason.UNSUPPORTED_TYPE, "A document under a password is not taken: save it without one.")
    return next((by_file_name("." + kind) for name, kind in _OLE_STREAMS.items() if name in names), None)


def _content_types(archive: zipfile.ZipFile) -> str:
    """Return the list of the types of all parts; empty if there is none. Names of parts have no case (OPC, 6.3.5)."""
    entry = next((entry for entry in archive.infolist() if entry.filename.lower() == _CONTENT_TYPES), None)
    if entry is None:
        return ""
    # Other methods than these are none of OPC, and one asks for as much memory as the file says.
    if entry.compress_type not in _METHODS:
        raise MediaError(Reason.UNDECODABLE)
    with archive.open(entry) as file:
        content = file.read(_MAX_TYPES_BYTES + 1)
    if len(content) > _MAX_TYPES_BYTES:
        raise MediaError(Reason.LIMIT_EXCEEDED, "The document holds too many files.")
    # XML in UTF-16 begins with a mark; in UTF-8, the names that count are ASCII.
    return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8", errors="replace")


def _directory_bytes(path: Path) -> int:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LOCATOR_BYTES - _END_BYTES - _COMMENT_BYTES))
        tail = file.read()
    at = _end(tail)
    if at < 0:
        raise MediaError(Reason.UNDECODABLE, "The document is cut short.")
    # The sizes of the end record do not count then, and no document that we take is so large that it needs others.
    if tail[max(0, at - _LOCATOR_BYTES) : at].startswith(_LOCATOR):
        raise MediaError(Reason.LIMIT_EXCEEDED, "The document is in ZIP64, which is for files of 4 GiB and more.")
    return int.from_bytes(tail[at + 12 : at + 16], "little")


def _end(tail: bytes) -> int:
    """Return where the end record begins, found as zipfile finds it: what is measured must be what is read."""
    last = len(tail) - _END_BYTES
    # A record without a comment is the last thing in the file. Its fields may hold the signature once more.
    if last >= 0 and tail.startswith(_END, last) and tail.endswith(b"\0\0"):
        return last
    return tail.rfind(_END)
