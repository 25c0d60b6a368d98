"""Office documents, as small as their formats allow."""

import io
import struct
import zipfile
from collections.abc import Sequence

_OOXML = "application/vnd.openxmlformats-officedocument."
#: The types of main parts (ECMA-376-1, 15.2, and Microsoft's own), by the extension of the document.
MAIN_PARTS = {
    "docx": f"{_OOXML}wordprocessingml.document.main+xml",
    "xlsx": f"{_OOXML}spreadsheetml.sheet.main+xml",
    "pptx": f"{_OOXML}presentationml.presentation.main+xml",
    "dotx": f"{_OOXML}wordprocessingml.template.main+xml",
    "ppsx": f"{_OOXML}presentationml.slideshow.main+xml",
    "docm": "application/vnd.ms-word.document.macroEnabled.main+xml",
    "xlsm": "application/vnd.ms-excel.sheet.macroEnabled.main+xml",
    "pptm": "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
    "xlsb": "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
}

_FREE, _END, _IS_TABLE = 0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFD
_SECTOR = 512


def types_of(*types: str, encoding: str = "utf-8") -> bytes:
    """Return [Content_Types].xml with the types of these parts."""
    overrides = "".join(f'<Override PartName="/part{at}.xml" ContentType="{name}"/>' for at, name in enumerate(types))
    text = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    return f'<?xml version="1.0"?>{text}{overrides}</Types>'.encode(encoding)


def ooxml(*types: str, encoding: str = "utf-8", parts: Sequence[str] = ()) -> bytes:
    """Return an Office Open XML document whose parts have these types; `parts` are the names of further ones."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types_of(*types, encoding=encoding))
        archive.writestr("part0.xml", "<x/>")
        for name in parts:
            archive.writestr(name, b"")
    return buffer.getvalue()


def ole(*streams: str, body: bytes = b"") -> bytes:
    """Return a compound file (MS-CFB) with empty streams of these names at its root, and `body` behind it all."""
    entries = [_entry("Root Entry", 5, child=1 if streams else _FREE)]
    # Each is the right sibling of the one before it.
    entries += [_entry(name, 2, right=at + 2 if at + 1 < len(streams) else _FREE) for at, name in enumerate(streams)]
    directory = b"".join(entries) + _entry("", 0) * (-len(entries) % 4)
    sectors = len(directory) // _SECTOR
    table = [_IS_TABLE, *range(2, sectors + 1), _END]
    table += [_FREE] * (_SECTOR // 4 - len(table))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, _END, 0, _END, 0)
    head += struct.pack("<109I", 0, *[_FREE] * 108)
    return head + struct.pack(f"<{len(table)}I", *table) + directory + body


def _entry(name: str, kind: int, *, right: int = _FREE, child: int = _FREE) -> bytes:
    text = name.encode("utf-16-le")
    length = len(text) + 2 if name else 0
    links = struct.pack("<III", _FREE, right, child)
    return (
        text.ljust(64, b"\0") + struct.pack("<HBB", length, kind, 1) + links + bytes(36) + struct.pack("<IQ", _END, 0)
    )
