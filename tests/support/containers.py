"""Building blocks of media files, and small valid ones."""

import io
import os
import struct
import subprocess

from PIL import Image

FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-y")


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of ISO 14496-12."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def riff(form: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    content = form + b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks
    )
    return b"RIFF" + struct.pack("<I", len(content)) + content


def element(identity: int, *parts: bytes) -> bytes:
    """Return an element of EBML (RFC 8794) with a size of eight bytes."""
    content = b"".join(parts)
    head = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    return head + (len(content) | 1 << 56).to_bytes(8, "big") + content


def id3(*frames: tuple[bytes, bytes]) -> bytes:
    """Return an ID3v2.3 tag."""
    content = b"".join(name + struct.pack(">IH", len(body), 0) + body for name, body in frames)
    size = len(content)
    return b"ID3\x03\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + content


def film(*options: str, suffix: str = "mp4") -> bytes:
    """Return a small sound film."""
    return _made("testsrc2=s=64x64:d=0.4:r=10[out0];sine=d=0.4[out1]", suffix, options)


def sound(*options: str, suffix: str = "wav") -> bytes:
    """Return a short tone."""
    return _made("sine=d=0.3", suffix, options)


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "navy").save(buffer, form)
    return buffer.getvalue()


def _made(graph: str, suffix: str, options: tuple[str, ...]) -> bytes:
    # Through a file and not a pipe: most muxers go back to their head.
    descriptor = os.memfd_create("made")
    try:
        target = f"/proc/self/fd/{descriptor}"
        form = {"mkv": "matroska", "ts": "mpegts", "m4a": "ipod"}.get(suffix, suffix)
        command = [*FFMPEG, "-f", "lavfi", "-i", graph, "-pix_fmt", "yuv420p", *options, "-f", form, target]
        subprocess.run(command, check=True, pass_fds=[descriptor])
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
