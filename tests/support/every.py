"""One small file of every format that is taken, made here or, where nothing here can write it, kept in tests/data."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from seeds import ole

_DATA = Path(__file__).parents[1] / "data"
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%%EOF\n"
_MAIN = "application/vnd.openxmlformats-officedocument"

#: The images that Pillow writes.
_IMAGES = ("jpeg", "png", "gif", "webp", "bmp", "avif")
#: Of each film and sound: the extension, the MIME type, and ffmpeg's options.
_FILMS = {
    "mp4": ("mp4", "video/mp4", "-c:v mpeg4 -c:a aac"),
    "mov": ("mov", "video/quicktime", "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le"),
    "avi": ("avi", "video/x-msvideo", "-c:v mpeg4 -c:a libmp3lame"),
    "mkv": ("mkv", "video/x-matroska", "-c:v libx264 -pix_fmt yuv444p -c:a flac"),
    "webm": ("webm", "video/webm", "-c:v libvpx -c:a libopus"),
    "3gp": ("3gp", "video/3gpp", "-c:v mpeg4 -c:a aac -ar 16000"),
    "ts": ("ts", "video/mp2t", "-c:v libx264 -pix_fmt yuv420p -c:a aac"),
}
_SOUNDS = {
    "mp3": ("mp3", "audio/mpeg", "-c:a libmp3lame"),
    "wav": ("wav", "audio/wav", "-c:a pcm_s16le"),
    "vorbis": ("ogg", "audio/ogg", "-c:a libvorbis"),
    "opus": ("opus", "audio/ogg", "-c:a libopus"),
    "aac": ("aac", "audio/aac", "-c:a aac"),
    "m4a": ("m4a", "audio/mp4", "-c:a aac"),
    "flac": ("flac", "audio/flac", "-c:a flac"),
}
#: Of each Office document: its main part, and the type of that.
_OFFICE = {
    "docx": ("word/document.xml", "wordprocessingml.document"),
    "xlsx": ("xl/workbook.xml", "spreadsheetml.sheet"),
    "pptx": ("ppt/presentation.xml", "presentationml.presentation"),
}
#: The same of those before: the stream that holds the text, and the MIME type.
_OLD_OFFICE = {
    "doc": ("WordDocument", "application/msword"),
    "xls": ("Workbook", "application/vnd.ms-excel"),
    "ppt": ("PowerPoint Document", "application/vnd.ms-powerpoint"),
}


class Sample(NamedTuple):
    """A file, and the MIME type that it must be recognised as."""

    path: Path
    mime: str


def samples(directory: Path, *, width: int = 320, seconds: float = 1) -> dict[str, Sample]:
    """Make all of them, pictures 240 pixels high; return them by the name of the format."""
    picture = ("-f", "lavfi", "-i", f"testsrc2=size={width}x240:rate=15:duration={seconds}")
    sound = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}")
    made = {name: _image(directory, name, width) for name in _IMAGES}
    made["animation"] = _animation(directory)
    made["heic"] = Sample(next(_DATA.glob("*.heic")), "image/heic")
    for name, (extension, mime, options) in {**_FILMS, **_SOUNDS}.items():
        path = directory / f"{name}.{extension}"
        inputs = (*picture, *sound) if name in _FILMS else sound
        _ffmpeg(*inputs, *options.split(), str(path))
        made[name] = Sample(path, mime)
    made["amr"] = Sample(_amr(directory), "audio/amr")
    made["pdf"] = _written(
        directory, "paper.pdf", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%%EOF\n", "application/pdf"
    )
    made["txt"] = _written(directory, "note.txt", "Grüße\n".encode(), "text/plain")
    for name, (stream, mime) in _OLD_OFFICE.items():
        made[name] = _written(directory, f"paper.{name}", ole(stream), mime)
    for name, (part, kind) in _OFFICE.items():
        made[name] = _written(directory, f"paper.{name}", _office(part, kind), f"{_MAIN}.{kind}")
    return made


def _image(directory: Path, name: str, width: int) -> Sample:
    path = directory / f"picture.{name}"
    Image.linear_gradient("L").resize((width, 240)).convert("RGB").save(path)
    return Sample(path, f"image/{name}")


def _animation(directory: Path) -> Sample:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    path = directory / "animation.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
    return Sample(path, "image/gif")


def _amr(directory: Path) -> Path:
    """Write a second of silence as RFC 4867 has it: 50 frames of the lowest rate, each 12 bytes after its header."""
    path = directory / "silence.amr"
    path.write_bytes(b"#!AMR\n" + (b"\x04" + b"\0" * 12) * 50)
    return path


def _office(part: str, kind: str) -> bytes:
    target = io.BytesIO()
    types = (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        f'<Override PartName="/{part}" ContentType="{_MAIN}.{kind}.main+xml"/></Types>'
    )
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr(part, "<x/>")
    return target.getvalue()


def _written(directory: Path, name: str, body: bytes, mime: str) -> Sample:
    path = directory / name
    path.write_bytes(body)
    return Sample(path, mime)


def _ffmpeg(*arguments: str) -> None:
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg, "ffmpeg is not in PATH"
    subprocess.run([ffmpeg, "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)
