"""Small files that would take more memory, time or space than anybody has, if they were believed."""

import io
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from containers import FFMPEG, box, element, film, picture, riff
from hostile import main_part

MIB = 1 << 20
GIB = 1 << 30
TEN_YEARS = 10 * 365 * 86_400


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _deflated(size: int) -> bytes:
    """Return so many zeros, compressed, without ever holding them."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def png(width: int, height: int, *chunks: bytes, depth: int = 1) -> bytes:
    """Return a valid black PNG of any size."""
    row = 1 + (width * depth + 7) // 8
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    data = _deflated(row * height // MIB * MIB + MIB)
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def png_claiming() -> bytes:
    """Return a PNG whose only data announces the 2 GiB that a chunk may have at most."""
    content = png(8, 8)
    at = content.index(b"IDAT") - 4
    return content[:at] + struct.pack(">I", (1 << 31) - 1) + content[at + 4 :]


def jpeg(side: int) -> bytes:
    content = bytearray(picture("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def bmp(side: int) -> bytes:
    content = bytearray(picture("BMP"))
    content[18:26] = struct.pack("<ii", side, side)
    return bytes(content)


def gif(side: int) -> bytes:
    content = bytearray(picture("GIF"))
    content[6:10] = struct.pack("<HH", side, side)
    return bytes(content)


def gif_frame_outside() -> bytes:
    """Return a GIF of 40 x 30 pixels whose frame has 65,535 x 65,535."""
    content = bytearray(picture("GIF"))
    at = content.rindex(b",") if content.count(b",") == 1 else content.index(b"\x2c", 13 + 3 * 2)
    content[at + 5 : at + 9] = struct.pack("<HH", 65_535, 65_535)
    return bytes(content)


def webp() -> bytes:
    """Return the largest picture that WebP has, of one colour: 16,383 x 16,383."""
    bits = 0x2F | (16_382 << 8) | (16_382 << 22)
    return riff(b"WEBP", (b"VP8L", bits.to_bytes(5, "little") + bytes(60)))


def heif(path: Path | None = None) -> bytes:
    """Return an AVIF, or the HEIC that is given, whose header says 65,535 x 65,535."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "AVIF", speed=10)
    content = bytearray(path.read_bytes() if path else buffer.getvalue())
    at = -1
    while (at := content.find(b"ispe", at + 1)) >= 0:
        content[at + 8 : at + 16] = struct.pack(">II", 65_535, 65_535)
    return bytes(content)


def gif_frames(count: int) -> bytes:
    frame = b"\x21\xf9\x04\0\1\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame * count + b";"


def png_frames(count: int) -> bytes:
    data = zlib.compress(b"\0\0")
    parts = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        _chunk(b"acTL", struct.pack(">II", count, 0)),
    ]
    for number in range(count):
        at = max(0, 2 * number - 1)
        parts.append(_chunk(b"fcTL", struct.pack(">IIIIIHHBB", at, 1, 1, 0, 0, 1, 10, 0, 0)))
        parts.append(_chunk(b"fdAT", struct.pack(">I", at + 1) + data) if number else _chunk(b"IDAT", data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + _chunk(b"IEND", b"")


def webp_frames(count: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "WEBP", lossless=True)
    frame = bytes(6) + bytes(6) + b"\x0a\0\0\0" + buffer.getvalue()[12:]
    header = b"\x02\0\0\0" + bytes(6)
    return riff(b"WEBP", (b"VP8X", header), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count)


def png_text() -> bytes:
    """Return a PNG with compressed texts and a profile that would be half a gigabyte each."""
    bomb = _deflated(512 * MIB)
    return png(
        40,
        30,
        _chunk(b"iCCP", b"x\0\0" + bomb),
        _chunk(b"zTXt", b"x\0\0" + bomb),
        _chunk(b"iTXt", b"x\0\1\0\0\0" + bomb),
    )


def png_texts() -> bytes:
    """Return a PNG with thousands of texts of nearly what a single one may have."""
    text = _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(MIB - 1), 9))
    return png(40, 30, *[text] * 5000)


def jpeg_segments() -> bytes:
    """Return a JPEG with as much metadata as fits below the limit of bytes: an ICC profile and EXIF in pieces."""
    content = picture("JPEG")
    profile = b"".join(
        b"\xff\xe2" + struct.pack(">H", 65_535) + b"ICC_PROFILE\0" + bytes([part, 120]) + bytes(65_519)
        for part in range(1, 121)
    )
    return content[:2] + profile + content[2:]


def tracks(count: int) -> bytes:
    """Return an MP4 that repeats its only track."""
    content = film("-an", "-c:v", "mpeg4", "-t", "0.1")
    start = content.index(b"moov") - 4
    (size,) = struct.unpack_from(">I", content, start)
    moov = content[start + 8 : start + size]
    at = moov.index(b"trak") - 4
    (length,) = struct.unpack_from(">I", moov, at)
    return content[:start] + box(b"moov", moov[:at], moov[at : at + length] * count, moov[at + length :])


def matroska_tracks(count: int) -> bytes:
    head = element(0x1A45DFA3, element(0x4282, b"matroska"))
    entries = [
        element(
            0xAE,
            element(0xD7, number.to_bytes(2, "big")),
            element(0x73C5, number.to_bytes(2, "big")),
            element(0x83, b"\1"),
            element(0x86, b"V_MPEG4/ISO/ASP"),
            element(0xE0, element(0xB0, b"\x40"), element(0xBA, b"\x40")),
        )
        for number in range(1, count + 1)
    ]
    info = element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40"))
    cluster = element(0x1F43B675, element(0xE7, b"\0"), element(0xA3, b"\x81\0\0\x80" + b"\0" * 32))
    return head + element(0x18538067, info, element(0x1654AE6B, *entries), cluster)


def programs(count: int) -> bytes:
    """Return a transport stream with so many streams, each of one packet of MPEG audio."""
    return b"".join(
        struct.pack(">BHB", 0x47, 0x4000 | 0x100 + number, 0x10)
        + (b"\0\0\1\xc0\0\0\x80\x80\x05\x21\0\1\0\1" + b"\xff\xfd\x84\0" * 99)[:184]
        for number in range(count)
    )


def long_film(seconds: int, *, header: bool = True) -> bytes:
    """Return an MP4 whose frames last that long; without header, only its table of times says so."""
    content = bytearray(film("-an", "-c:v", "mpeg4", "-video_track_timescale", "10"))
    if header:
        at = content.index(b"mvhd") + 4
        (scale,) = struct.unpack_from(">I", content, at + 12)
        struct.pack_into(">I", content, at + 16, min(scale * seconds, 2**32 - 1))
        at = content.index(b"mdhd") + 4
        struct.pack_into(">I", content, at + 16, min(10 * seconds, 2**32 - 1))
    at = content.index(b"stts") + 8
    count, frames, _ = struct.unpack_from(">III", content, at)
    struct.pack_into(">III", content, at, count, frames, 10 * seconds // frames)
    return bytes(content)


def late_packet() -> bytes:
    """Return a fast Matroska film with a packet ten years later: constant rates would fill the gap with frames."""
    content = film("-an", "-c:v", "mpeg4", "-r", "100", "-t", "0.4", suffix="mkv")
    at = content.index(b"\x1f\x43\xb6\x75")
    later = element(0xE7, (TEN_YEARS * 1000).to_bytes(6, "big"))
    block = content[content.index(b"\xa3", at) :]
    size = int.from_bytes(block[1:3], "big") & 0x3FFF
    return content + element(0x1F43B675, later, element(0xA3, block[3 : 3 + size]))


def claiming_wav(rate: int) -> bytes:
    """Return a WAV of 4,000 bytes that claims four gigabytes, at one byte per sample."""
    head = struct.pack("<HHIIHH", 1, 1, rate, rate, 1, 8)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + head + b"data" + b"\xff\xff\xff\xff" + b"\x80" * 4000


def silent_flac(seconds: int) -> bytes:
    """Return silence, which FLAC holds in 14 bytes a tenth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.flac")
        graph = f"anullsrc=r=8000:cl=mono:d={seconds}"
        subprocess.run([*FFMPEG, "-f", "lavfi", "-i", graph, "-frame_size", "32768", str(path)], check=True)
        return path.read_bytes()


def sample_table(count: int) -> bytes:
    """Return an MP4 whose tables of samples claim so many entries in a few bytes: all of one size and length."""
    content = film("-an", "-c:v", "mpeg4")
    out = bytearray(content)
    for kind, offset in ((b"stts", 12), (b"stsz", 16)):
        struct.pack_into(">I", out, out.index(kind) + offset - (4 if kind == b"stts" else 0), count)
    struct.pack_into(">I", out, out.index(b"stsz") + 8, 1)
    at = out.index(b"stsc") + 8
    struct.pack_into(">III", out, at + 4, 1, count, 1)
    return bytes(out)


def fragment_run(count: int) -> bytes:
    """Return a fragmented MP4 one of whose runs claims so many samples that take no bytes to describe."""
    out = bytearray(film("-an", "-c:v", "mpeg4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"))
    at = out.index(b"trun")
    out[at + 4 : at + 12] = struct.pack(">II", 0, count)
    return bytes(out)


def nested_boxes(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = box(b"udta", content)
    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", content)


def nested_elements(depth: int) -> bytes:
    content = element(0x67C8, element(0x45A3, b"x"))
    for _ in range(depth):
        content = element(0x67C8, element(0x45A3, b"x"), content)
    head = element(0x1A45DFA3, element(0x4282, b"matroska"))
    return head + element(0x18538067, element(0x1254C367, element(0x7373, content)))


def inflating_docx(*, types: bool) -> bytes:
    """Return a document with a part that unpacks to 512 MiB: one that nobody opens, or the list of the types."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.docx")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("[Content_Types].xml", "w") as file:
                file.write(f"<Types>{main_part('wordprocessingml.document')}".encode())
                _fill(file.write, 512 * MIB if types else 0)
            with archive.open("word/document.xml", "w", force_zip64=False) as file:
                _fill(file.write, 0 if types else 512 * MIB)
        return path.read_bytes()


def _fill(write: Callable[[bytes], object], size: int) -> None:
    for _ in range(size // MIB):
        write(b" " * MIB)


def huge_frames(width: int, height: int) -> bytes:
    """Return a short film of large frames of one colour."""
    return film("-an", "-vf", f"scale={width}:{height}", "-c:v", "mjpeg", "-t", "0.2", "-q:v", "31", suffix="mkv")
