"""Looking into zip and OLE files: which of the office documents it is. Bounded; nothing is unpacked."""

import mmap
import zipfile
from pathlib import Path

from media_transcoder.faults import blaming
from mediaasset.media import MediaType, by_file_name
from mediaasset.reasons import MediaError, Reason

_ZIP_FOLDERS = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}
#: The streams by which MS-DOC, MS-XLS and MS-PPT name their main content.
_OLE_STREAMS = {"WordDocument": "doc", "Workbook": "xls", "Book": "xls", "PowerPoint Document": "ppt"}

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
    """Name an Office Open XML document by the names in its directory; None for any other zip.

    Raises MediaError: Undecodable, LimitExceeded.
    """
    with blaming(Reason.UNDECODABLE):
        if _directory_bytes(path) > _MAX_DIRECTORY_BYTES:
            raise MediaError(Reason.LIMIT_EXCEEDED, "The document holds too many files.")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    for folder, extension in _ZIP_FOLDERS.items():
        if any(name.startswith(folder) for name in names):
            return by_file_name("." + extension)
    return None


def recognise_ole(path: Path) -> MediaType | None:
    """Name an office document of the older formats by its streams; None for any other OLE file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # A directory entry begins with its name in 64 bytes of UTF-16, so a shorter name is followed by zeros.
        for name, extension in _OLE_STREAMS.items():
            if content.find(name.encode("utf-16-le") + b"\0\0") >= 0:
                return by_file_name("." + extension)
    return None


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
