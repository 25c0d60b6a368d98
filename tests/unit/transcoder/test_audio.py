"""How long sounds are, counted: held to what they were made from, whatever their headers say."""

import random
import struct
import subprocess
from pathlib import Path

import pytest

from media_transcoder import audio, probe
from media_transcoder.media import Media, Workplace
from mediaasset.media import Kind, sniff
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Limits, Rendition

SECONDS = 5
#: Half of it silence, which encoders of a varying rate make little of.
SOUND = ["-f", "lavfi", "-i", f"anoisesrc=d={SECONDS}:r=44100,volume='lt(t,2)':eval=frame"]
#: A frame of the longest codecs here, before and after.
FRAMES = 0.06


def ffmpeg(path: Path, *options: str) -> Path:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *SOUND, *options, str(path)], check=True)
    return path


def look(path: Path, **limits: int) -> Media:
    with path.open("rb") as file:
        recognised = sniff(file.read(4096))
    assert recognised is not None
    return probe.probe(path, recognised, Limits(**limits))


MP3 = ["-c:a", "libmp3lame", "-id3v2_version", "0"]
BARE = [*MP3, "-write_xing", "0"]


@pytest.mark.parametrize(
    ("name", "options", "mime"),
    [
        ("cbr.mp3", [*MP3, "-b:a", "128k"], "audio/mpeg"),
        ("cbr.mp3", [*BARE, "-b:a", "64k"], "audio/mpeg"),
        ("vbr.mp3", [*MP3, "-q:a", "4"], "audio/mpeg"),
        ("vbr.mp3", [*BARE, "-q:a", "4"], "audio/mpeg"),
        ("low.mp3", [*BARE, "-q:a", "4", "-ar", "16000"], "audio/mpeg"),
        ("a.aac", ["-c:a", "aac"], "audio/aac"),
        ("a.flac", ["-c:a", "flac"], "audio/flac"),
        ("a.m4a", ["-c:a", "aac"], "audio/mp4"),
        ("a.ogg", ["-c:a", "libvorbis"], "audio/ogg"),
        ("a.ogg", ["-c:a", "libopus"], "audio/ogg"),
        ("a.wav", ["-c:a", "pcm_u8"], "audio/wav"),
        ("a.wav", ["-c:a", "pcm_s24le"], "audio/wav"),
        ("a.wav", ["-c:a", "pcm_f32le", "-ac", "6"], "audio/wav"),
        ("a.webm", ["-c:a", "libopus"], "audio/webm"),
        ("live.webm", ["-c:a", "libopus", "-live", "1"], "audio/webm"),
    ],
)
def test_the_duration_is_that_of_the_sound(tmp_path: Path, name: str, options: list[str], mime: str) -> None:
    media = look(ffmpeg(tmp_path / name, *options))
    assert (media.kind, media.mime_type, media.has_exact_duration) == (Kind.AUDIO, mime, True)
    assert media.duration_seconds == pytest.approx(SECONDS, abs=2 * FRAMES)


def test_the_rate_is_that_of_the_stream_without_tags_and_pictures(tmp_path: Path) -> None:
    path = ffmpeg(tmp_path / "a.mp3", *MP3, "-b:a", "128k")
    path.write_bytes(id3(500_000) + path.read_bytes() + b"TAG" + bytes(125))
    assert look(path).bits_per_second == pytest.approx(128_000, rel=0.005)


def id3(size: int) -> bytes:
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


@pytest.mark.parametrize(
    ("name", "options", "mime"),
    [
        ("a.mp3", [*BARE, "-q:a", "4"], "audio/mpeg"),
        ("a.aac", ["-c:a", "aac", "-f", "adts"], "audio/aac"),
        ("a.flac", ["-c:a", "flac"], "audio/flac"),
    ],
)
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_behind_id3_is_what_follows_it(tmp_path: Path, name: str, options: list[str], mime: str, size: int) -> None:
    path = ffmpeg(tmp_path / name, *options)
    path.write_bytes(id3(size) + path.read_bytes())
    media = look(path)
    assert media.mime_type == mime
    assert media.duration_seconds == pytest.approx(SECONDS, abs=2 * FRAMES)


def test_an_ape_tag_at_the_end_is_no_sound(tmp_path: Path) -> None:
    path = ffmpeg(tmp_path / "a.mp3", *BARE, "-b:a", "128k")
    items = struct.pack("<II", 5, 0) + b"Title\0" + b"quiet"
    head = b"APETAGEX" + struct.pack("<IIII", 2000, len(items) + 32, 1, 0) + bytes(8)
    path.write_bytes(path.read_bytes() + items + head)
    assert look(path).duration_seconds == pytest.approx(SECONDS, abs=2 * FRAMES)


def with_xing(content: bytes, factor: float) -> bytes:
    at = content.index(b"Info") if b"Info" in content[:200] else content.index(b"Xing")
    (frames,) = struct.unpack_from(">I", content, at + 8)
    return content[: at + 8] + struct.pack(">I", int(frames * factor)) + content[at + 12 :]


@pytest.mark.parametrize("factor", [0.1, 20])
def test_a_xing_header_that_lies_about_the_frames_changes_nothing(tmp_path: Path, factor: float) -> None:
    path = ffmpeg(tmp_path / "a.mp3", *MP3, "-q:a", "4")
    path.write_bytes(with_xing(path.read_bytes(), factor))
    assert look(path).duration_seconds == pytest.approx(SECONDS, abs=2 * FRAMES)


@pytest.mark.parametrize("codec", [[*MP3, "-q:a", "4"], ["-c:a", "libopus"], ["-c:a", "libvorbis"]])
def test_what_is_chained_counts_in_all_its_parts(tmp_path: Path, codec: list[str]) -> None:
    path = ffmpeg(tmp_path / ("a.mp3" if codec[1] == "libmp3lame" else "a.ogg"), *codec)
    path.write_bytes(path.read_bytes() * 3)
    assert look(path).duration_seconds == pytest.approx(3 * SECONDS, abs=4 * FRAMES)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0xFFFF_FFFF - 36])
def test_a_wav_whose_size_stands_in_for_the_true_one(tmp_path: Path, size: int) -> None:
    path = ffmpeg(tmp_path / "a.wav", "-c:a", "pcm_s16le")
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(
        content[:4] + struct.pack("<I", size) + content[8:at] + struct.pack("<I", size) + content[at + 4 :]
    )
    assert look(path).duration_seconds == pytest.approx(SECONDS)


#: Frames of AMR by their lengths (RFC 4867, 5.3); what is in them is sound of some kind, whatever it is.
AMR = {"narrow": (b"#!AMR\n", b"\x3c", 31), "wide": (b"#!AMR-WB\n", b"\x44", 60)}


def amr(kind: str, frames: int) -> bytes:
    head, mode, size = AMR[kind]
    chance = random.Random(1)  # noqa: S311 - the same sound each time
    return head + b"".join(mode + chance.randbytes(size) for _ in range(frames))


@pytest.mark.parametrize("kind", AMR)
def test_amr_is_twenty_milliseconds_a_frame(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.amr"
    path.write_bytes(amr(kind, 250))
    media = look(path)
    assert media.mime_type == "audio/amr"
    assert media.duration_seconds == pytest.approx(5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp3", [*MP3, "-b:a", "128k"]),
        ("a.mp3", [*MP3, "-q:a", "4"]),
        ("a.wav", ["-c:a", "pcm_s16le"]),
        ("a.flac", ["-c:a", "flac"]),
        ("a.m4a", ["-c:a", "aac", "-movflags", "+faststart"]),
        ("a.webm", ["-c:a", "libopus"]),
    ],
)
def test_a_sound_that_is_cut_short_is_found(tmp_path: Path, name: str, options: list[str]) -> None:
    path = ffmpeg(tmp_path / name, *options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(MediaError, match=r"ends after|are missing") as caught:
        look(path)
    assert caught.value.reason is Reason.UNDECODABLE


def test_counting_ends_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    # Frames without data: four hundred hours in 72 MB would be as cheap.
    path.write_bytes(b"#!AMR\n" + b"\x7c" * 1_000_000)
    with pytest.raises(MediaError, match="longer than 60 seconds") as caught:
        look(path, max_duration_seconds=60)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def place(source: Path, tmp_path: Path) -> Workplace:
    (tmp_path / "out").mkdir(exist_ok=True)
    return Workplace(source=source, directory=tmp_path / "out", limits=Limits(), report=lambda *_: None)


def make(source: Path, rendition: Rendition, tmp_path: Path) -> Path:
    where = place(source, tmp_path)
    [(_, work)] = audio.render(look(source), [rendition], where)
    return where.directory / (work().file or "")


@pytest.mark.parametrize(
    ("format_", "most", "rate"),
    [(Format.MP3, 45_000, 64_000), (Format.MP3, 22_000, 32_000), (Format.OPUS, 12_000, 16_000)],
)
def test_a_bit_rate_gives_way_to_a_size(tmp_path: Path, format_: Format, most: int, rate: int) -> None:
    source = ffmpeg(tmp_path / "a.wav")
    made = make(source, Rendition(name="x", kind=Kind.AUDIO, format=format_, max_bytes=most), tmp_path)
    # Opus spends little on silence.
    assert rate * SECONDS / 8 * 0.5 < made.stat().st_size <= most


def test_a_size_that_no_bit_rate_keeps_is_named(tmp_path: Path) -> None:
    source = ffmpeg(tmp_path / "a.wav", "-ac", "2")
    wanted = Rendition(name="mp3", kind=Kind.AUDIO, format=Format.MP3, max_bytes=20_000)
    # Two channels at 32 kbit/s each.
    with pytest.raises(
        MediaError, match="mp3: at the lowest bit rate the sound has 40000 bytes, and 20000 are"
    ) as caught:
        make(source, wanted, tmp_path)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    ("format_", "bitrate"), [(Format.MP3, 16_000), (Format.MP3, 321_000), (Format.OPUS, 300_000), (Format.JPEG, None)]
)
def test_what_no_sound_can_be_is_refused(tmp_path: Path, format_: Format, bitrate: int | None) -> None:
    wanted = Rendition(name="x", kind=Kind.AUDIO, format=format_, bitrate=bitrate)
    with pytest.raises(MediaError) as caught:
        list(audio.render(Media(kind=Kind.AUDIO, mime_type="audio/wav"), [wanted], place(tmp_path / "a", tmp_path)))
    assert caught.value.reason is Reason.INVALID_RENDITION


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.wav", "a.flac", "a.amr"])
def test_any_damage_ends_in_a_reason_or_a_length(tmp_path: Path, name: str, seed: int) -> None:
    path = tmp_path / name
    if name == "a.amr":
        path.write_bytes(amr("narrow", 100))
    else:
        ffmpeg(path, *([*MP3, "-q:a", "4"] if name == "a.mp3" else []))
    chance = random.Random(seed)  # noqa: S311 - the same damage each time
    content = bytearray(path.read_bytes())
    for _ in range(20):
        content[chance.randrange(12, min(len(content), 4000))] = chance.randrange(256)
    path.write_bytes(content)
    assert outcome(path) in (None, Reason.UNDECODABLE, Reason.LIMIT_EXCEEDED)


def outcome(path: Path) -> Reason | None:
    try:
        look(path, max_duration_seconds=3600)
    except MediaError as error:
        return error.reason
    return None
