"""One small valid file of each format and of its variants: what is mutated."""

import io
import struct
import zipfile
from pathlib import Path

from PIL import Image, ImageCms

from containers import film, id3, sound
from hostile import main_part
from mediaasset.media import Kind

_DATA = Path(__file__).parents[1] / "data"
_OOXML = {"wordprocessingml.document": "docx", "spreadsheetml.sheet": "xlsx", "presentationml.presentation": "pptx"}
_OLE = {"doc": "WordDocument", "xls": "Workbook", "ppt": "PowerPoint Document"}


def seeds(kind: Kind) -> dict[str, bytes]:
    """Return the files of a kind by name; the name ends in the file's extension."""
    return {Kind.IMAGE: _images, Kind.VIDEO: _videos, Kind.AUDIO: _sounds, Kind.DOCUMENT: _documents}[kind]()


def _images() -> dict[str, bytes]:
    plain = Image.linear_gradient("L").resize((48, 40))
    colour = Image.merge("RGB", (plain, plain.rotate(180), Image.new("L", plain.size, 90)))
    clear = colour.convert("RGBA")
    clear.putalpha(plain)
    frames = {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)], "duration": 100}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    found = {
        "baseline.jpg": _saved(colour, "JPEG"),
        "progressive.jpg": _saved(colour, "JPEG", progressive=True, subsampling=0),
        "restarts.jpg": _saved(colour, "JPEG", restart_marker_rows=1),
        "grey.jpg": _saved(plain, "JPEG"),
        "cmyk.jpg": _saved(colour.convert("CMYK"), "JPEG"),
        "tagged.jpg": _saved(colour, "JPEG", exif=exif.tobytes(), icc_profile=profile, comment=b"x" * 50),
        "several.jpg": _saved(colour, "MPO", save_all=True, append_images=[colour.rotate(90)]),
        "colour.png": _saved(colour, "PNG"),
        "clear.png": _saved(clear, "PNG", exif=exif.tobytes(), icc_profile=profile),
        "palette.png": _saved(colour.convert("P"), "PNG", transparency=3, bits=4),
        "bits.png": _saved(plain.convert("1"), "PNG"),
        "deep.png": _saved(plain.convert("I;16"), "PNG"),
        "moving.png": _saved(colour, "PNG", **frames),
        "still.gif": _saved(colour, "GIF"),
        "moving.gif": _saved(colour, "GIF", disposal=2, transparency=0, **frames),
        "lossy.webp": _saved(colour, "WEBP"),
        "lossless.webp": _saved(clear, "WEBP", lossless=True, exif=exif.tobytes()),
        "moving.webp": _saved(clear, "WEBP", **frames),
        "colour.bmp": _saved(colour, "BMP"),
        "palette.bmp": _saved(colour.convert("P"), "BMP"),
        "bits.bmp": _saved(plain.convert("1"), "BMP"),
        "still.avif": _saved(colour, "AVIF", speed=10),
        "clear.avif": _saved(clear, "AVIF", speed=10, exif=exif.tobytes()),
        "moving.avif": _saved(colour, "AVIF", speed=10, **frames),
    }
    return found | {path.name: path.read_bytes() for path in _DATA.glob("*.hei[cf]")}


def _videos() -> dict[str, bytes]:
    fast = ("-c:v", "libx264", "-preset", "ultrafast")
    return {
        "plain.mp4": film(*fast),
        "fast.mp4": film(*fast, "-movflags", "+faststart", "-bf", "2"),
        "fragments.mp4": film(*fast, "-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
        "turned.mp4": film("-c:v", "mpeg4", "-metadata:s:v", "rotate=90", "-timecode", "01:00:00:00"),
        "silent.mp4": film("-an", "-c:v", "mjpeg"),
        "intra.mov": film("-c:v", "mjpeg", "-c:a", "pcm_s16le", suffix="mov"),
        "plain.mov": film(*fast, suffix="mov"),
        "plain.avi": film("-c:v", "mpeg4", "-c:a", "libmp3lame", suffix="avi"),
        "raw.avi": film("-s", "16x16", "-c:v", "rawvideo", "-c:a", "pcm_s16le", "-t", "0.1", suffix="avi"),
        "plain.mkv": film(*fast, "-c:a", "libvorbis", suffix="mkv"),
        "subtitled.mkv": film("-c:v", "mpeg2video", "-r", "25", "-c:a", "flac", suffix="mkv"),
        "eight.webm": film("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis", suffix="webm"),
        "nine.webm": film("-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus", suffix="webm"),
        "plain.3gp": film("-s", "128x96", "-c:v", "h263", "-an", suffix="3gp"),
        "spoken.3gp": film(*fast, "-c:a", "aac", suffix="3gp"),
        "plain.ts": film(*fast, suffix="ts"),
        "old.ts": film("-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2", suffix="ts"),
    }


def _sounds() -> dict[str, bytes]:
    cover = b"\0image/png\0\x03\0" + _saved(Image.new("RGB", (8, 8), "red"), "PNG")
    mp3 = sound(suffix="mp3")
    # A frame of 12.2 kbit/s (RFC 4867, 5.3): its type, and 244 bits.
    amr = b"#!AMR\n" + b"".join(b"\x3c" + bytes((at * 7 + bit) % 256 for bit in range(31)) for at in range(15))
    return {
        "constant.mp3": mp3,
        "variable.mp3": sound("-q:a", "5", "-ac", "2", suffix="mp3"),
        "headless.mp3": sound("-write_xing", "0", "-id3v2_version", "0", suffix="mp3"),
        "tagged.mp3": id3((b"TIT2", b"\0title"), (b"APIC", cover), (b"PRIV", b"x\0" + b"y" * 40)) + mp3,
        "plain.wav": sound("-ar", "8000"),
        "float.wav": sound("-ar", "8000", "-c:a", "pcm_f32le", "-ac", "2"),
        "adpcm.wav": sound("-ar", "8000", "-c:a", "adpcm_ms"),
        "vorbis.ogg": sound("-c:a", "libvorbis", suffix="ogg"),
        "opus.ogg": sound("-c:a", "libopus", suffix="ogg"),
        "flac.ogg": sound("-c:a", "flac", "-ar", "8000", suffix="ogg"),
        "plain.aac": sound("-c:a", "aac", suffix="adts"),
        "plain.m4a": sound("-c:a", "aac", suffix="m4a"),
        "lossless.m4a": sound("-c:a", "alac", "-ar", "8000", suffix="m4a"),
        "plain.flac": sound("-ar", "8000", suffix="flac"),
        "plain.amr": amr,
    }


def _documents() -> dict[str, bytes]:
    found = {
        "plain.pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
        "plain.txt": "Grüße, 世界\n".encode() * 9,
        "wide.txt": "\ufeffGrüße\n".encode("utf-16-le") * 9,
    }
    for part, extension in _OOXML.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", f"<Types>{main_part(part)}</Types>")
            archive.writestr("_rels/.rels", "<Relationships/>" * 9)
        found[f"plain.{extension}"] = buffer.getvalue()
    return found | {f"plain.{extension}": ole(name) for extension, name in _OLE.items()}


def ole(stream: str) -> bytes:
    """Return a compound file (MS-CFB) of one stream: header, allocation table, directory, and its content."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH6x", 62, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0, 0) + b"\xff" * 432
    table = struct.pack("<4I", 0xFFFFFFFD, 0xFFFFFFFE, 3, 0xFFFFFFFE) + b"\xff" * 496

    def entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
        text = name.encode("utf-16-le") + b"\0\0"
        numbers = struct.pack("<HBBIII36xIQ", len(text), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child, start, size)
        return text.ljust(64, b"\0") + numbers

    directory = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + entry(stream, 2, 0xFFFFFFFF, 2, 1024) + b"\0" * 256
    return header + table + directory + b"content " * 128


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
