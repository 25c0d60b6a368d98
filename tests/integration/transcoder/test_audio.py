"""Sounds of every kind through the whole transcoder, and what comes out of it by ffprobe and by ear."""

import json
import random
import subprocess
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import Bench, profile
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Channel, Format, Limits, Rendition


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


def ffprobe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def heard(path: Path, channels: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Decode a sound at 8 kHz, one column per channel."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-ar", "8000", "-ac", str(channels), "-f", "f32le", "pipe:1"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "f4").reshape(-1, channels)


def strength(samples: "np.ndarray[Any, Any]", hertz: float) -> float:
    """Return the amplitude of one frequency; 1 is the loudest."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) * 4 / len(samples)
    at = round(hertz * len(samples) / 8000)
    return float(spectrum[max(0, at - 5) : at + 6].max())


@pytest.mark.parametrize(
    ("name", "options", "channels", "mime"),
    [
        ("in.wav", ("-ac", "1", "-ar", "8000"), 1, "audio/wav"),
        ("in.ogg", ("-c:a", "libopus", "-ac", "2"), 2, "audio/ogg"),
        ("in.ogg", ("-c:a", "libvorbis"), 1, "audio/ogg"),
        ("in.m4a", ("-c:a", "aac", "-ac", "6"), 2, "audio/mp4"),
        ("in.aac", ("-c:a", "aac"), 1, "audio/aac"),
        ("in.flac", ("-c:a", "flac"), 1, "audio/flac"),
        ("in.mp3", ("-c:a", "libmp3lame", "-metadata", "title=secret"), 1, "audio/mpeg"),
        ("in.mp3", ("-c:a", "libmp3lame", "-q:a", "5", "-write_xing", "0"), 1, "audio/mpeg"),
        ("in.mp4", ("-c:a", "aac"), 1, "audio/mp4"),
        ("in.webm", ("-c:a", "libopus"), 1, "audio/webm"),
        ("in.3gp", ("-c:a", "aac"), 1, "audio/3gpp"),
    ],
)
def test_a_sound_becomes_an_mp3(
    bench: Bench, tmp_path: Path, *, name: str, options: tuple[str, ...], channels: int, mime: str
) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=3", *options, tmp_path / name)
    ended = bench.run(replace(bench.put(tmp_path / name), file_name=name))
    assert ended.code == 0, ended.log
    info = bench.result().source_info
    assert (info.type, info.mime_type) == (Kind.AUDIO, mime)
    assert info.duration_milliseconds == pytest.approx(3000, abs=80)
    found = ffprobe(bench.published("mp3"))
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["sample_rate"], stream["channels"]) == ("mp3", "44100", channels)
    assert stream["bit_rate"] == "128000"
    assert float(found["format"]["duration"]) == pytest.approx(3, abs=0.15)
    assert "tags" not in found["format"]
    assert b"secret" not in bench.published("mp3").read_bytes()


@pytest.mark.parametrize(("head", "mode", "size"), [(b"#!AMR\n", b"\x3c", 31), (b"#!AMR-WB\n", b"\x44", 60)])
def test_amr_becomes_an_mp3(bench: Bench, head: bytes, mode: bytes, size: int) -> None:
    chance = random.Random(1)  # noqa: S311 - the same sound each time
    content = head + b"".join(mode + chance.randbytes(size) for _ in range(100))
    assert bench.run(replace(bench.put(content), file_name="a.amr")).code == 0
    info = bench.result().source_info
    assert (info.mime_type, info.duration_milliseconds) == ("audio/amr", 2000)
    found = ffprobe(bench.published("mp3"))
    assert found["streams"][0]["channels"] == 1
    assert float(found["format"]["duration"]) == pytest.approx(2, abs=0.15)


def test_a_cover_and_tags_are_dropped(bench: Bench, tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), "red").save(tmp_path / "cover.jpg")
    tags = ("-metadata", "title=secret", "-metadata", "comment=secret", "-metadata", "geo=secret")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-i", tmp_path / "cover.jpg", "-map", "0", "-map", "1", *tags,
           "-disposition:v", "attached_pic", "-c:v", "mjpeg", tmp_path / "in.mp3")  # fmt: skip
    task = bench.put(tmp_path / "in.mp3")
    voice = Rendition(name="voice", kind=Kind.AUDIO, format=Format.OPUS)
    assert bench.run(replace(task, renditions=(*task.renditions, voice))).code == 0
    assert bench.result().source_info.type is Kind.AUDIO
    for name in ("mp3", "voice"):
        assert len(ffprobe(bench.published(name))["streams"]) == 1
        assert b"secret" not in bench.published(name).read_bytes()


def test_a_voice_message_is_what_whatsapp_plays(bench: Bench, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=300:d=3", "-ac", "2", tmp_path / "in.m4a")
    renditions, limits = profile("whatsapp")
    ended = bench.run(replace(bench.put(tmp_path / "in.m4a"), renditions=renditions, limits=limits))
    assert ended.code == 0, ended.log
    path = bench.published("voice")
    assert path.suffix == ".ogg"
    found = ffprobe(path)
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["sample_rate"], stream["channels"]) == ("opus", "48000", 1)
    assert float(found["format"]["duration"]) == pytest.approx(3, abs=0.1)
    assert path.stat().st_size < 3 * 48_000 / 8
    assert strength(heard(path, 1)[:, 0], 300) > 0.1
    assert {rendition.name for rendition in bench.result().renditions} == {"mp3", "voice"}


def tones(path: Path, channels: int) -> None:
    """Write a WAV whose channels each have a tone of their own, at 200 Hz, 300 Hz and so on."""
    times = np.arange(2 * 8000) / 8000
    samples = np.stack([np.sin(2 * np.pi * 100 * (at + 2) * times) for at in range(channels)], axis=1)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, 8000, 0, "NONE", ""))
        file.writeframes((samples * 20_000).astype("<i2").tobytes())


@pytest.mark.parametrize("channels", [3, 6, 8, 9, 12])
def test_many_channels_are_all_heard_in_two_and_none_is_cut_off(bench: Bench, tmp_path: Path, channels: int) -> None:
    tones(tmp_path / "in.wav", channels)
    ended = bench.run(bench.put(tmp_path / "in.wav"))
    assert ended.code == 0, ended.log
    assert ffprobe(bench.published("mp3"))["streams"][0]["channels"] == 2
    made = heard(bench.published("mp3"), 2)
    assert np.abs(made).max() <= 1.01
    # One of them is for the deepest tones only, which players leave out of two as well.
    for at in set(range(channels)) - {{3: 2, 6: 3, 8: 3}.get(channels)}:
        assert max(strength(made[:, side], 100 * (at + 2)) for side in (0, 1)) > 0.05
    assert strength(made[:, 0], 200) > 3 * strength(made[:, 1], 200)
    assert strength(made[:, 1], 300) > 3 * strength(made[:, 0], 300)


def test_a_gap_becomes_silence(bench: Bench, tmp_path: Path) -> None:
    # As browsers record when the microphone is muted for a while: two seconds of sound in five.
    gap = "aselect='lt(t,1)+gte(t,4)'"
    ffmpeg("-f", "lavfi", "-i", "sine=d=5", "-af", gap, "-c:a", "libopus", tmp_path / "in.webm")
    ended = bench.run(bench.put(tmp_path / "in.webm"))
    assert ended.code == 0, ended.log
    assert bench.result().source_info.duration_milliseconds == pytest.approx(5000, abs=80)
    made = heard(bench.published("mp3"), 1)[:, 0]
    assert len(made) / 8000 == pytest.approx(5, abs=0.15)
    assert np.abs(made[2 * 8000 : 3 * 8000]).max() < 0.01 < np.abs(made[:4000]).max()


def test_an_optional_channel_rule_fails_alone_and_another_the_asset(bench: Bench, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "in.wav")
    good = Rendition(name="mp3", kind=Kind.AUDIO, format=Format.MP3)
    bad = Rendition(name="sound", kind=Kind.AUDIO, format=Format.MP3, channel=Channel.META_CATALOG, optional=True)
    task = bench.put(tmp_path / "in.wav")
    assert bench.run(replace(task, renditions=(good, bad))).code == 0
    assert [(each.name, each.reason) for each in bench.result().renditions] == [
        ("mp3", None),
        ("sound", Reason.CHANNEL_RULE),
    ]
    ended = bench.run(replace(task, attempt=2, renditions=(good, replace(bad, optional=False))))
    assert ended.reason is Reason.CHANNEL_RULE


def test_a_sound_that_is_too_long_for_its_size_is_refused_before_it_is_encoded(bench: Bench, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=600", tmp_path / "in.wav")
    wanted = Rendition(name="voice", kind=Kind.AUDIO, format=Format.OPUS, max_bytes=500_000)
    assert bench.run(replace(bench.put(tmp_path / "in.wav"), renditions=(wanted,))).reason is Reason.LIMIT_EXCEEDED
    assert "900000 bytes, and 500000 are allowed" in bench.failure().message


def test_a_headerless_sound_is_held_to_the_limit_by_what_is_in_it(bench: Bench, tmp_path: Path) -> None:
    # Two seconds of noise before ten of silence: by the rate of its beginning it would be much shorter.
    noise = "anoisesrc=d=12:r=44100,volume='lt(t,2)':eval=frame"
    ffmpeg("-f", "lavfi", "-i", noise, "-q:a", "2", "-write_xing", "0", "-id3v2_version", "0", tmp_path / "in.mp3")
    task = bench.put(tmp_path / "in.mp3")
    ended = bench.run(bench.with_limits(task, Kind.AUDIO, Limits(max_duration_seconds=11)))
    assert ended.reason is Reason.LIMIT_EXCEEDED
    assert bench.run(bench.with_limits(replace(task, attempt=2), Kind.AUDIO, Limits(max_duration_seconds=13))).code == 0
