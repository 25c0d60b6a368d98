"""What is made beside an MP4: the ladder of HLS, the storyboard, and the way without encoding."""

import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from films import HLS, MP4, POSTER, STORYBOARD, Made, clip, ffmpeg, ffprobe, frames, keys, make, probed, times
from media_transcoder.films import conform, playlist
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Codec, Fit, Rendition

PLAIN = ("-c:v", "libx264", "-preset", "superfast", "-profile:v", "high", "-pix_fmt", "yuv420p", "-c:a", "aac")
FILM = "testsrc2=s=1280x720:r=25:d=9"


def attributes(master: str) -> list[dict[str, str]]:
    lines = re.findall(r"#EXT-X-STREAM-INF:(.*)\n(.*)", master)
    found = re.compile(r'([A-Z-]+)=("[^"]*"|[^,]*)')
    return [{key: value.strip('"') for key, value in found.findall(line)} | {"URI": uri} for line, uri in lines]


def clock(path: Path) -> float:
    """Return when the first sample of a fragmented MP4 is shown, in seconds, by its own boxes (ISO 14496-12, 8.8)."""
    content = path.read_bytes()
    timescale = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]
    decoded = struct.unpack_from(">Q", content, content.index(b"tfdt") + 8)[0]
    at = content.index(b"trun")
    flags = int.from_bytes(content[at + 5 : at + 8], "big")
    at += (
        12 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4) + 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400))
    )
    offset = struct.unpack_from(">i", content, at)[0] if flags & 0x800 else 0
    return float((decoded + offset) / timescale)


def check_ladder(made: Made, sides: list[str], *, sound: bool = True) -> list[dict[str, str]]:
    """Hold a ladder to its playlists: ranges, times, codecs, and key frames at the same moments."""
    directory = made["hls"]
    rungs = attributes((directory / "index.m3u8").read_text())
    assert [rung["URI"] for rung in rungs] == [f"{side}.m3u8" for side in sides]
    lists = {rung["URI"]: playlist.read(directory / rung["URI"]) for rung in rungs}
    starts = [found.starts for found in lists.values()]
    assert all(np.abs(np.array(each) - starts[0]).max() < 0.005 for each in starts)
    heard = playlist.read(directory / "audio.m3u8") if sound else None
    for rung, found in zip(rungs, lists.values(), strict=True):
        text = (directory / rung["URI"]).read_text()
        for tag in ("PLAYLIST-TYPE:VOD", "INDEPENDENT-SEGMENTS", "VERSION:7"):
            assert f"#EXT-X-{tag}\n" in text
        longest = int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
        assert all(round(segment.seconds) <= longest for segment in found.segments)
        content = found.file.read_bytes()
        for segment in found.segments:
            part = content[segment.offset : segment.offset + segment.length]
            assert part[4:8] in (b"styp", b"sidx", b"moof")
            # Each part can be played from the header on alone, and begins with a key frame.
            alone = directory.parent.parent / "alone.mp4"
            alone.write_bytes(content[: found.header_bytes] + part)
            assert keys(alone)[0] == times(alone)[0]
        # Containers round to milliseconds.
        assert clock(found.file) == pytest.approx(1, abs=0.005)
        (stream,) = ffprobe(found.file)["streams"]
        assert rung["RESOLUTION"] == f"{stream['width']}x{stream['height']}"
        assert rung["CODECS"].startswith(f"avc1.{ {'High': '64', 'Main': '4d'}[stream['profile']] }")
        assert int(rung["CODECS"][9:11], 16) == stream["level"]
        assert rung["CODECS"].endswith(",mp4a.40.2") is sound
        peak = max(8 * part.length / part.seconds for part in found.segments)
        peak += max(8 * part.length / part.seconds for part in heard.segments) if heard else 0
        assert int(rung["BANDWIDTH"]) == pytest.approx(peak, abs=2)
        assert int(rung["AVERAGE-BANDWIDTH"]) <= int(rung["BANDWIDTH"])
        assert float(rung["FRAME-RATE"]) == pytest.approx(25, abs=0.01)
    if heard:
        # The encoder's delay lies before the first picture.
        assert clock(heard.file) == pytest.approx(1 - 1024 / 44_100, abs=0.005)
    assert heard is not None or not (directory / "audio.m3u8").exists()
    return rungs


def test_a_ladder_with_the_mp4_as_its_top(tmp_path: Path) -> None:
    made = make(clip(tmp_path / "in.mkv", "-c:v", "mpeg4", picture=FILM, sound="sine=d=9"), MP4, HLS)
    check_ladder(made, ["720", "480"])
    top = playlist.read(made["hls"] / "720.m3u8")
    assert [round(segment.seconds, 2) for segment in top.segments] == [4, 4, 1]
    assert keys(made["mp4"]) == pytest.approx([0, 4, 8], abs=0.005)
    # Copied: the very same pictures.
    assert (frames(top.file)[100] == frames(made["mp4"])[100]).all()
    small = playlist.read(made["hls"] / "480.m3u8")
    assert frames(small.file).shape[1:3] == (480, 854)
    # No file that only led here is left among the outputs.
    assert sorted(path.name for path in made.directory.iterdir()) == ["hls", "mp4"]


def test_a_ladder_alone_and_upright(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", picture="testsrc2=s=720x1280:r=25:d=1", sound="")
    rungs = check_ladder(make(source, replace(HLS, height=None)), ["720", "480"], sound=False)
    assert [rung["RESOLUTION"] for rung in rungs] == ["720x1280", "480x854"]


def test_a_small_source_has_one_size(tmp_path: Path) -> None:
    made = make(clip(tmp_path / "in.mkv", "-c:v", "mpeg4"), HLS)
    assert check_ladder(made, ["180"])[0]["RESOLUTION"] == "320x180"


def test_the_top_is_copied_from_a_source_that_conforms(tmp_path: Path) -> None:
    # Key frames where nobody would put them: the other sizes have to follow.
    options = ("-force_key_frames", "0,1.2,4.4,5,8.2", "-sc_threshold", "0")
    made = make(clip(tmp_path / "in.mp4", *PLAIN, *options, picture=FILM, sound="sine=d=9"), MP4, HLS)
    check_ladder(made, ["720", "480"])
    assert [round(each, 1) for each in playlist.read(made["hls"] / "480.m3u8").starts] == [0, 4.4, 8.2]
    assert not (made.directory.parent / "hls-720.mp4").exists()


def test_the_top_is_encoded_where_key_frames_are_rare(tmp_path: Path) -> None:
    made = make(clip(tmp_path / "in.mp4", *PLAIN, "-sc_threshold", "0", picture=FILM, sound="sine=d=9"), MP4, HLS)
    assert keys(made["mp4"]) == [0], "the MP4 itself is still copied"
    check_ladder(made, ["720", "480"])
    assert [round(each, 1) for each in playlist.read(made["hls"] / "720.m3u8").starts] == [0, 4, 8]


@pytest.mark.parametrize(("name", "options"), [("in.mp4", PLAIN), ("in.ts", PLAIN), ("in.mkv", ("-c:v", "mpeg4"))])
def test_pictures_that_begin_after_the_sound(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    late = ("-g", "50", "-filter:v", "setpts=PTS+1.5/TB")
    made = make(clip(tmp_path / name, *options, *late, picture=FILM, sound="sine=d=10.5"), MP4, HLS)
    for side in ("720", "480"):
        found = playlist.read(made["hls"] / f"{side}.m3u8")
        assert [round(segment.seconds, 1) for segment in found.segments] == [4, 4, 1]
        # A frame of the sound's encoder more or less.
        assert clock(found.file) - clock(made["hls"] / "audio.mp4") == pytest.approx(1.5, abs=0.05)


def is_copy(made: Made, source: Path) -> bool:
    """Tell whether the compressed pictures are those of the source."""
    first, second = (frames(path)[0] for path in (made["mp4"], source))
    count = len(times(made["mp4"])) == len(times(source))
    return bool(count and (first == second).all())


@pytest.mark.parametrize("name", ["in.mp4", "in.mov", "in.mkv", "in.ts"])
def test_what_conforms_is_not_encoded(tmp_path: Path, name: str) -> None:
    tags = ("-metadata", "title=secret", "-metadata", "location=+52.5+013.4/", "-metadata:s:v", "handler_name=secret")
    source = clip(tmp_path / name, *PLAIN, *tags, picture="testsrc2=s=640x360:r=30000/1001:d=1")
    made = make(source, MP4)
    assert is_copy(made, source)
    content = made["mp4"].read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert all(word not in content for word in (b"secret", b"+52.5", b"x264"))
    picture, sound = ffprobe(made["mp4"])["streams"]
    assert (picture["codec_name"], sound["codec_name"]) == ("h264", "aac")


@pytest.mark.parametrize(
    ("options", "rendition"),
    [
        ("-pix_fmt yuv422p -profile:v high422", MP4),
        ("-pix_fmt yuv420p -vf setsar=4/3", MP4),
        ("-pix_fmt yuv420p -flags +ildct+ilme -x264opts tff=1", MP4),
        ("-pix_fmt yuv420p -x264opts open-gop=1 -g 5 -bf 3", MP4),
        ("-pix_fmt yuvj420p", MP4),
        ("-pix_fmt yuv420p -b:v 20M -minrate 20M -maxrate 20M -bufsize 5M -x264opts nal-hrd=cbr", MP4),
        ("-pix_fmt yuv420p -c:a aac -ac 6", MP4),
        ("-pix_fmt yuv420p -c:a libmp3lame", MP4),
        ("-pix_fmt yuv420p", replace(MP4, width=300, height=300)),
        ("-pix_fmt yuv420p", replace(MP4, fit=Fit.COVER, width=180, height=180)),
        ("-pix_fmt yuv420p", replace(MP4, codec=Codec.AV1, crf=None)),
        ("-pix_fmt yuv420p", replace(MP4, max_bytes=20_000)),
    ],
)  # fmt: skip
def test_what_does_not_conform_is_encoded(tmp_path: Path, options: str, rendition: Rendition) -> None:
    given = (*PLAIN, *options.split())
    source = clip(tmp_path / "in.mp4", *given, picture="testsrc2=s=320x180:r=25:d=1")
    made = make(source, rendition)
    stream = ffprobe(made["mp4"])["streams"][0]
    assert stream["time_base"] == "1/120000", "as only our encoder writes it"
    assert stream["nb_frames"] == "25"


def test_an_edit_list_is_no_reason_to_show_what_it_hides(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", *PLAIN, "-g", "100", picture="testsrc2=s=320x180:r=25:d=2", sound="sine=d=2")
    # A cut without encoding: the file holds all from the key frame on, and shows what comes after.
    ffmpeg("-ss", "0.8", "-i", whole, "-c", "copy", tmp_path / "in.mp4")
    made = make(tmp_path / "in.mp4", MP4)
    shown = times(made["mp4"])
    assert len(shown) == 30
    found = frames(made["mp4"])[0].astype(int)
    assert np.abs(frames(whole)[[0, 20]] - found).mean((1, 2, 3)).argmin() == 1


def test_a_transport_stream_that_begins_in_the_middle(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.ts", *PLAIN, "-g", "10", picture="testsrc2=s=320x180:r=25:d=2", sound="sine=d=2")
    content = whole.read_bytes()
    (tmp_path / "in.ts").write_bytes(content[188 * 40 :])
    made = make(tmp_path / "in.ts", MP4, POSTER)
    stream = ffprobe(made["mp4"])["streams"][0]
    assert stream["codec_name"] == "h264"
    assert 20 < int(stream["nb_frames"]) < 50


def test_a_source_that_lies_about_itself_is_encoded_after_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = clip(tmp_path / "in.mp4", *PLAIN, "-vf", "setsar=4/3", picture="testsrc2=s=320x180:r=25:d=1")
    monkeypatch.setattr(conform, "could_be_copied", lambda *_: True)
    stream = ffprobe(make(source, MP4)["mp4"])["streams"][0]
    assert (stream["width"], stream["time_base"]) == (426, "1/120000")


def cues(path: Path) -> list[tuple[float, float, tuple[int, ...]]]:
    lines = re.findall(r"(\S+) --> (\S+)\nsprite.jpg#xywh=(\S+)\n", (path / "index.vtt").read_text())

    def seconds(time: str) -> float:
        hours, minutes, rest = time.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    return [(seconds(start), seconds(end), tuple(map(int, box.split(",")))) for start, end, box in lines]


def test_a_storyboard(tmp_path: Path) -> None:
    # Twelve seconds, each of its own grey, with a key frame in each second and one that comes too soon.
    grey = "color=black:s=320x180:r=25:d=12,format=yuv420p,geq=lum='20*floor(T)+10':cb=128:cr=128"
    moments = ",".join(map(str, sorted([1.2, *range(12)])))
    source = clip(tmp_path / "in.mp4", "-c:v", "libx264", "-force_key_frames", moments,
                  picture=grey, sound="")  # fmt: skip
    made = make(source, STORYBOARD)
    found = cues(made["storyboard"])
    assert [(start, end) for start, end, _ in found] == [(second, second + 1) for second in range(12)]
    with Image.open(made["storyboard"] / "sprite.jpg") as sheet:
        assert sheet.size == (1600, 180)
        for second, (_, _, (x, y, width, height)) in enumerate(found):
            assert (width, height) == (160, 90)
            tile = np.asarray(sheet.convert("L").crop((x, y, x + width, y + height)))
            assert abs(float(tile.mean()) - (20 * second + 10 - 16) * 255 / 219) < 12


def test_a_storyboard_of_one_key_frame(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mp4", *PLAIN, "-sc_threshold", "0", picture="testsrc2=s=90x160:r=25:d=3", sound="")
    made = make(source, STORYBOARD)
    assert cues(made["storyboard"]) == [(0, 3, (0, 0, 90, 160))]


def test_a_still_picture_is_no_film(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mp4", "-c:v", "libx264", "-frames:v", "1", "-pix_fmt", "yuv420p", sound="")
    made = make(source, MP4, HLS, STORYBOARD, POSTER)
    for name in ("hls", "storyboard"):
        error = made.rendered[name]
        assert isinstance(error, MediaError)
        assert error.reason is Reason.NOT_APPLICABLE
    assert made["poster"].stat().st_size
    assert ffprobe(made["mp4"])["streams"][0]["nb_frames"] == "1"


@pytest.mark.parametrize(("seconds", "wanted"), [(3, 1.0), (0.17, 0.08)])
def test_the_moment_of_the_poster(tmp_path: Path, seconds: float, wanted: float) -> None:
    grey = f"color=black:s=64x64:r=25:d={seconds},format=yuv420p,geq=lum='40+N*2':cb=128:cr=128"
    source = clip(tmp_path / "in.mp4", "-c:v", "libx264", "-qp", "1", picture=grey, sound="")
    made = make(source, POSTER)
    seen = frames(made["poster"])[0].mean()
    number = ((seen * 219 / 255 + 16) - 40) / 2
    assert number / 25 == pytest.approx(wanted, abs=0.05)
    poster = made.rendered["poster"]
    assert isinstance(poster, Rendered)
    assert (poster.width, poster.height) == (64, 64)


def test_what_moves_and_is_known_only_by_a_second_look(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.ts", *PLAIN, picture="testsrc2=s=320x180:r=25:d=1")
    media = probed(source)
    assert not media.has_exact_duration
    assert media.duration_seconds == pytest.approx(1, abs=0.1)
    assert conform.Packets(source, media).count == 25
