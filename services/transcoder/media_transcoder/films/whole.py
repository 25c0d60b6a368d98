"""Whether a container ends where its own header says that it does."""

from pathlib import Path

_SEGMENT = b"\x18S\x80g"
_EBML_HEADER = b"\x1aE\xdf\xa3"
#: More boxes than this stand side by side in no file but one in fragments, whose header states no length.
_MAX_BOXES = 1024


def is_whole(path: Path, demuxers: str) -> bool:
    """Tell whether a file is complete; False where its container cannot say so."""
    size = path.stat().st_size
    end = {"mov": _end_of_boxes, "matroska": _end_of_segment, "avi": _end_of_riff}.get(demuxers)
    stated = end(path) if end else None
    return stated is not None and stated <= size


def _end_of_boxes(path: Path) -> int | None:
    """Walk the outermost boxes (ISO 14496-12, 4.2); they end at the end of the file, or beyond."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_MAX_BOXES):
            if at >= size:
                return at
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            # 1: the size follows in 64 bits; 0: up to the end of the file.
            length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - at
            if length < 8:  # noqa: PLR2004 - size and type
                return None
            at += length
    return None


def _end_of_segment(path: Path) -> int | None:
    """Read the size of a Matroska file's one segment, which follows its header (RFC 9559, 4.5; RFC 8794, 4)."""
    at = 0
    with path.open("rb") as file:
        for wanted in (_EBML_HEADER, _SEGMENT):
            file.seek(at)
            head = file.read(12)
            if not head.startswith(wanted) or len(head) < 12 or head[4] == 0:  # noqa: PLR2004
                return None
            width = 9 - head[4].bit_length()
            length = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
            if length == (1 << 7 * width) - 1:  # All ones: unknown.
                return None
            at += 4 + width + length
    return at


def _end_of_riff(path: Path) -> int | None:
    with path.open("rb") as file:
        head = file.read(8)
    length = int.from_bytes(head[4:8], "little")
    return 8 + length if length else None
