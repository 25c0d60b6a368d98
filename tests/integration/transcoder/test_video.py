"""MP4: what comes in and what comes out, by ffprobe and by the pixels."""

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from films import HLS, MP4, POSTER, STORYBOARD, clip, ffmpeg, ffprobe, frames, make, probed, times
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Codec, Fit, Limits

#: Seven patches side by side whose colours every step must keep: R, G, B, and four greys.
PATCHES = ((200, 40, 40), (40, 180, 60), (50, 60, 200), (16, 16, 16), (96, 96, 96), (180, 180, 180), (235, 235, 235))
BARS = "nullsrc=s=448x64:r=10:d=0.5,format=gbrp,geq={}".format(
    ":".join(
        f"{name}='{'+'.join(f'{patch[channel]}*eq(floor(X/64),{number})' for number, patch in enumerate(PATCHES))}'"
        for channel, name in enumerate("rgb")
    )
)


def patches(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the colour in the middle of each patch."""
    last = frames(path)[-1].astype(float)
    width, height = last.shape[1] / len(PATCHES), last.shape[0]
    middles = [int(width * (number + 0.5)) for number in range(len(PATCHES))]
    return np.array([last[height // 3 : height * 2 // 3, x - 4 : x + 4].mean((0, 1)) for x in middles])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.mp4", "-c:v mpeg4 -c:a aac"),
        ("in.mov", "-c:v prores -c:a pcm_s16le"),
        ("in.avi", "-c:v mjpeg -pix_fmt yuvj420p -c:a mp3"),
        ("in.mkv", "-c:v libx264 -pix_fmt yuv444p -c:a flac"),
        ("in.webm", "-c:v libvpx-vp9 -deadline realtime -pix_fmt yuv420p -c:a libopus"),
        ("in.3gp", "-c:v h263 -s 352x288 -c:a aac -ar 8000 -ac 1"),
        ("in.ts", "-c:v mpeg2video -c:a mp2"),
        ("in.m2ts", "-c:v libx264 -pix_fmt yuv420p10 -c:a ac3 -f mpegts -mpegts_m2ts_mode 1"),
    ],
)
def test_each_container_becomes_an_mp4(tmp_path: Path, name: str, options: str) -> None:
    made = make(clip(tmp_path / name, *options.split()), MP4, POSTER)
    picture, sound = ffprobe(made["mp4"])["streams"]
    assert (picture["codec_name"], picture["profile"], picture["pix_fmt"]) == ("h264", "High", "yuv420p")
    assert [picture[f"color_{part}"] for part in ("range", "space", "transfer", "primaries")] == ["tv", *["bt709"] * 3]
    assert (sound["codec_name"], sound["profile"], sound["channels"]) == ("aac", "LC", 1)
    assert picture["nb_frames"] == "25"
    assert made.media.duration_seconds == pytest.approx(1, abs=0.1)
    assert made["poster"].stat().st_size


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ("-c:v ffv1 -pix_fmt yuv420p -vf scale=out_color_matrix=bt601,setparams=colorspace=smpte170m", 4),
        ("-c:v ffv1 -pix_fmt yuv420p -vf scale=out_color_matrix=bt601", 4),
        ("-c:v libx264 -qp 1 -pix_fmt yuv444p -vf scale=out_color_matrix=bt709,setparams=colorspace=bt709", 4),
        (("-c:v libx264 -qp 1 -pix_fmt yuvj420p -vf scale=out_color_matrix=bt709:out_range=pc,"
         "setparams=colorspace=bt709:range=pc"), 4),
        (("-c:v libx265 -x265-params lossless=1:log-level=none -pix_fmt yuv420p10 -vf scale=out_color_matrix=bt709,"
         "setparams=colorspace=bt709"), 4),
        ("-c:v ffv1 -pix_fmt gbrp", 4),
    ],
    ids=["601", "unsaid", "444", "full range", "10 bit", "RGB"],
)  # fmt: skip
def test_colours_stay_what_they_are(tmp_path: Path, options: str, tolerance: int) -> None:
    made = make(clip(tmp_path / "in.mkv", *options.split(), picture=BARS, sound=""), replace(MP4, crf=5), POSTER)
    assert np.abs(patches(made["mp4"]) - PATCHES).max() <= tolerance
    assert np.abs(patches(made["poster"]) - PATCHES).max() <= tolerance + 2


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_becomes_sdr(tmp_path: Path, transfer: str) -> None:
    # White is what graphics are in HDR (203 nits); without mapping it would be grey, and the colours pale.
    sdr = "scale=out_color_matrix=bt709,format=yuv420p10,setparams=range=tv"
    sdr += ":color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    hdr = f"zscale=t=linear:npl=203,format=gbrpf32le,zscale=t={transfer}:p=2020:m=2020_ncl:r=limited:npl=203"
    source = clip(tmp_path / "in.mp4", "-vf", f"{sdr},{hdr},format=yuv420p10", "-c:v", "libx265", "-x265-params",
                  f"lossless=1:log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited:"
                  "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400",
                  picture=BARS, sound="")  # fmt: skip
    made = make(source, replace(MP4, crf=5), POSTER)
    assert made.media.picture is not None
    assert made.media.picture.transfer == transfer
    stream = ffprobe(made["mp4"])["streams"][0]
    assert [stream[f"color_{part}"] for part in ("space", "transfer", "primaries")] == ["bt709"] * 3
    assert "side_data_list" not in stream, "from ffmpeg 7.1 on, x264 writes what the mastering display was like"
    for name in ("mp4", "poster"):
        found = patches(made[name])
        assert np.abs(found[3:5] - PATCHES[3:5]).max() <= 8, "dark and middle tones stay"
        assert 185 <= found[6].mean() <= 225, "white stays bright, and leaves room for what is brighter"
        assert (found[:3].argmax(1) == (0, 1, 2)).all()
        assert (np.ptp(found[:3], 1) >= 95).all(), "colours stay strong"


@pytest.mark.parametrize(("order", "flag"), [("4", "tff"), ("5", "bff")])
def test_fields_become_whole_frames(tmp_path: Path, order: str, flag: str) -> None:
    # A bar that moves 8 pixels with each field: woven together, its edges would be combs.
    moving = "color=black:s=320x240:r=50:d=1[a];color=white:s=40x240:r=50:d=1[b];[a][b]overlay=x='8*n':y=0"
    source = clip(
        tmp_path / "in.mp4", "-vf", f"tinterlace=mode={order}", "-flags", "+ildct+ilme", "-x264opts", f"{flag}=1",
        "-c:v", "libx264", "-pix_fmt", "yuv420p", picture=moving, sound="",
    )  # fmt: skip
    media = probed(source)
    assert media.picture is not None
    assert media.picture.field_order == ("tt" if flag == "tff" else "bb")
    made = make(source, MP4)
    stream = ffprobe(made["mp4"])["streams"][0]
    assert (stream["field_order"], stream["nb_frames"]) == ("progressive", "25")
    grey = frames(made["mp4"]).mean(3)
    assert _combs(frames(source).mean(3)[5]) > 15
    assert _combs(grey[5]) < 5
    # The bar goes on in one direction: with the fields in the wrong order it would jump to and fro.
    edges = [int(np.argmax(frame[120] > 128)) for frame in grey[1:18]]
    assert edges == sorted(edges)


def _combs(frame: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Return how much neighbouring rows differ, on average over the columns where they differ most."""
    rows = np.abs(np.diff(frame[8:-8], axis=0)).mean(0)
    return float(np.sort(rows)[-16:].mean())


def test_a_varying_rate_keeps_its_frames_and_times(tmp_path: Path) -> None:
    varying = "testsrc2=s=320x180:r=50:d=1,setpts='if(lt(N,20),N*0.02,0.4+(N-20)*0.0413)/TB'"
    source = clip(tmp_path / "in.mkv", "-fps_mode", "vfr", "-enc_time_base", "1:1000", "-c:v", "mpeg4", picture=varying)
    made = make(source, MP4)
    wanted, found = times(source), times(made["mp4"])
    assert len(found) == len(wanted) == 50
    assert np.abs(np.array(found) - wanted).max() < 0.002
    assert ffprobe(made["mp4"])["streams"][0]["time_base"] == "1/120000"


@pytest.mark.parametrize("name", ["in.mp4", "in.ts", "in.mkv"])
def test_a_late_start_adds_no_frame(tmp_path: Path, name: str) -> None:
    late = "testsrc2=s=320x180:r=24000/1001:d=1"
    source = clip(tmp_path / name, "-output_ts_offset", "0.7", "-c:v", "mpeg2video", "-c:a", "mp2", picture=late)
    made = make(source, MP4)
    stream = ffprobe(made["mp4"])["streams"][0]
    assert stream["nb_frames"] == str(len(times(source)))
    # Some containers round times to milliseconds.
    assert float(Fraction(stream["avg_frame_rate"])) == pytest.approx(24000 / 1001, rel=0.002)


def test_pictures_stay_with_their_sound(tmp_path: Path) -> None:
    # A flash and a beep at half a second, in a file whose clock starts late.
    flash = "color=black:s=64x64:r=50:d=1,drawbox=t=fill:color=white:enable='between(t,0.5,0.6)'"
    beep = "aevalsrc='if(between(t,0.5,0.6),sin(6283*t),0)':s=48000:d=1"
    source = clip(tmp_path / "in.ts", "-output_ts_offset", "3", "-c:v", "mpeg2video", "-b:v", "2M", "-c:a", "mp2",
                  picture=flash, sound=beep)  # fmt: skip
    made = make(source, MP4)
    bright = frames(made["mp4"]).mean((1, 2, 3)) > 128
    seen = times(made["mp4"])[int(np.argmax(bright))]
    pcm = subprocess.run(["ffmpeg", "-v", "error", "-i", made["mp4"], "-f", "s16le", "-ar", "48000", "-"],
                         check=True, capture_output=True).stdout  # fmt: skip
    heard = np.argmax(np.abs(np.frombuffer(pcm, np.int16).astype(int)) > 3000) / 48_000
    assert seen == pytest.approx(0.5, abs=0.03)
    assert heard == pytest.approx(seen, abs=0.03)


def test_more_than_sixty_frames_a_second_are_thinned(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", picture="testsrc2=s=160x90:r=120:d=1", sound="")
    assert len(times(make(source, MP4)["mp4"])) == 60


@pytest.mark.parametrize(
    ("picture", "fit", "box", "expected"),
    [
        ("testsrc2=s=321x181:d=0.2", Fit.INSIDE, (1920, 1080), (320, 180)),
        ("testsrc2=s=400x300:d=0.2", Fit.INSIDE, (200, 200), (200, 150)),
        ("testsrc2=s=400x300:d=0.2", Fit.COVER, (200, 200), (200, 200)),
        ("testsrc2=s=100x300:d=0.2", Fit.COVER, (200, 200), (100, 200)),
        ("testsrc2=s=400x300:d=0.2", Fit.EXACT, (200, 200), (200, 200)),
        ("testsrc2=s=100x60:d=0.2", Fit.EXACT, (201, 121), (200, 120)),
        ("testsrc2=s=180x144:d=0.2,setsar=16/11", Fit.INSIDE, (1920, 1080), (262, 144)),
    ],
)
def test_sizes(tmp_path: Path, picture: str, fit: Fit, box: tuple[int, int], expected: tuple[int, int]) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", picture=picture, sound="")
    rendition = replace(MP4, fit=fit, width=box[0], height=box[1])
    stream = ffprobe(make(source, rendition)["mp4"])["streams"][0]
    assert (stream["width"], stream["height"]) == expected
    assert stream["sample_aspect_ratio"] == "1:1"


def test_exact_stands_on_black(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", picture="color=white:s=200x100:d=0.2", sound="")
    frame = frames(make(source, replace(MP4, fit=Fit.EXACT, width=200, height=200))["mp4"])[0].mean(2)
    assert frame[:46].max() < 20
    assert frame[54:146].min() > 230
    assert frame[154:].max() < 20


@pytest.mark.parametrize(("picture", "sound", "seconds"), [(0.4, 1.5, 1.5), (1.5, 0.4, 1.5)])
def test_pictures_and_sound_of_other_lengths(tmp_path: Path, picture: float, sound: float, seconds: float) -> None:
    source = clip(tmp_path / "in.mkv", "-c:v", "mpeg4", "-c:a", "aac",
                  picture=f"testsrc2=s=160x90:d={picture}", sound=f"sine=d={sound}")  # fmt: skip
    made = make(source, MP4, POSTER)
    assert float(ffprobe(made["mp4"])["format"]["duration"]) == pytest.approx(seconds, abs=0.1)
    assert made["poster"].stat().st_size


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_a_last_frame_that_stays_is_kept(tmp_path: Path, name: str) -> None:
    clip(tmp_path / "short.mp4", "-c:v", "mpeg4", sound="")
    stay = "setts=pts=PTS:dts=DTS:duration='if(eq(NEXT_PTS,NOPTS),5/TB-PTS,DURATION)'"
    ffmpeg("-i", tmp_path / "short.mp4", "-c", "copy", "-bsf:v", stay, tmp_path / "held.mp4")
    ffmpeg("-i", tmp_path / "held.mp4", "-c", "copy", tmp_path / name)
    assert probed(tmp_path / name).duration_seconds == pytest.approx(5, abs=0.05)
    made = make(tmp_path / name, MP4)
    found = ffprobe(made["mp4"])
    assert float(found["format"]["duration"]) == pytest.approx(5, abs=0.05)
    assert found["streams"][0]["nb_frames"] == "25"


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.avi"])
def test_what_is_cut_off_is_told(tmp_path: Path, name: str) -> None:
    long = "testsrc2=s=320x180:r=25:d=6,noise=alls=20:allf=t"
    whole = clip(tmp_path / f"whole-{name}", "-c:v", "mpeg4", "-movflags", "+faststart", picture=long, sound="")
    content = whole.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError) as caught:
        make(tmp_path / name, MP4)["mp4"]
    assert caught.value.reason is Reason.UNDECODABLE


def test_a_longer_film_than_it_says_ends_at_the_limit(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.ts", "-c:v", "mpeg2video", "-c:a", "mp2", picture="testsrc2=s=160x90:r=25:d=4",
                  sound="sine=d=4")  # fmt: skip
    with pytest.raises(MediaError) as caught:
        make(source, MP4, limits=Limits(max_duration_seconds=2))
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_a_file_of_at_most_so_many_bytes(tmp_path: Path) -> None:
    noisy = "testsrc2=s=320x180:r=25:d=2,noise=alls=40:allf=t"
    source = clip(tmp_path / "in.mkv", "-c:v", "ffv1", "-c:a", "flac", picture=noisy, sound="sine=d=2")
    free, small, tiny = MP4, replace(MP4, name="small", max_bytes=120_000), replace(MP4, name="tiny", max_bytes=3_000)
    made = make(source, free, small, tiny)
    assert made["mp4"].stat().st_size > 200_000
    assert 60_000 < made["small"].stat().st_size <= 120_000
    error = made.rendered["tiny"]
    assert isinstance(error, MediaError)
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert "3000" in str(error)


def test_a_short_film_that_may_be_large(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mp4", "-c:v", "mpeg4", picture="testsrc2=s=320x180:r=25:d=0.2", sound="")
    made = make(source, replace(MP4, max_bytes=200_000_000))
    assert ffprobe(made["mp4"])["streams"][0]["level"] <= 41, "what phones decode"


def test_what_a_browser_records_states_no_duration(tmp_path: Path) -> None:
    noisy = "testsrc2=s=320x180:r=25:d=3,noise=alls=40:allf=t"
    source = clip(tmp_path / "in.webm", "-c:v", "libvpx", "-deadline", "realtime", "-b:v", "4M", "-live", "1",
                  picture=noisy, sound="sine=d=3.5")  # fmt: skip
    assert "duration" not in ffprobe(source)["format"]
    made = make(source, replace(MP4, max_bytes=150_000), HLS, STORYBOARD)
    assert made.media.duration_seconds == pytest.approx(3.5, abs=0.1)
    assert not made.media.has_exact_duration
    assert 60_000 < made["mp4"].stat().st_size <= 150_000
    assert made["hls"].is_dir()
    assert made["storyboard"].is_dir()


@pytest.mark.parametrize("name", ["in.mp4", "in.mov", "in.mkv"])
def test_a_longer_stream_that_is_not_used(tmp_path: Path, name: str) -> None:
    film = clip(tmp_path / "film.mp4", "-c:v", "mpeg4")
    source = tmp_path / name
    ffmpeg("-i", film, "-f", "lavfi", "-i", "sine=d=9", "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "aac", source)
    made = make(source, MP4)
    assert made.media.duration_seconds == pytest.approx(1, abs=0.1)
    assert float(ffprobe(made["mp4"])["format"]["duration"]) == pytest.approx(1, abs=0.1)


def test_av1(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    made = make(source, replace(MP4, codec=Codec.AV1, crf=None), replace(MP4, name="h264"))
    picture, sound = ffprobe(made["mp4"])["streams"]
    assert (picture["codec_name"], picture["codec_tag_string"], picture["nb_frames"]) == ("av1", "av01", "25")
    assert sound["codec_name"] == "aac"
    seen, wanted = frames(made["mp4"])[12].astype(int), frames(made["h264"])[11:14]
    assert np.abs(wanted - seen).mean((1, 2, 3)).argmin() == 1


def test_the_first_film_and_not_the_cover(tmp_path: Path) -> None:
    cover = clip(tmp_path / "cover.png", "-frames:v", "1", picture="color=red:s=500x500:d=1", sound="")
    film = clip(tmp_path / "film.mp4", "-c:v", "mpeg4", "-c:a", "aac")
    ffmpeg("-i", cover, "-i", film, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic",
           tmp_path / "in.mp4")  # fmt: skip
    made = make(tmp_path / "in.mp4", MP4)
    assert made.media.kind is Kind.VIDEO
    assert ffprobe(made["mp4"])["streams"][0]["width"] == 320


def test_sound_that_is_only_announced_or_of_no_known_codec_gives_way(tmp_path: Path) -> None:
    two = ("-f", "lavfi", "-i", "sine=f=900", "-map", "0", "-map", "1", "-map", "2", "-t", "1", "-c:v", "mpeg2video")
    content = clip(tmp_path / "all.ts", *two, "-c:a", "ac3", "-streamid", "1:300").read_bytes()
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    heard = (packet for packet in packets if int.from_bytes(packet[1:3], "big") & 0x1FFF != 300)
    (tmp_path / "in.ts").write_bytes(b"".join(heard))
    before, _, after = clip(tmp_path / "all.mp4", *two, "-c:a", "aac").read_bytes().partition(b"mp4a")
    (tmp_path / "in.mp4").write_bytes(before + b"zzzz" + after.replace(b"esds", b"zzzz", 1))
    for name in ("in.ts", "in.mp4"):
        made = make(tmp_path / name, MP4)
        assert made.media.audio_stream == 2
        assert [stream["codec_name"] for stream in ffprobe(made["mp4"])["streams"]] == ["h264", "aac"]


def test_more_channels_than_have_places_become_two(tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(np.random.default_rng(1).bytes(10 * 2 * 48_000))
    clip(tmp_path / "in.mov", "-f", "s16le", "-ar", "48000", "-ac", "10", "-i", str(tmp_path / "sound.raw"),
         "-map", "0", "-map", "1", "-c:v", "mpeg4", "-c:a", "pcm_s16le", sound="")  # fmt: skip
    made = make(tmp_path / "in.mov", MP4)
    assert made.media.channels == 10
    assert ffprobe(made["mp4"])["streams"][1]["channels"] == 2


def test_a_still_of_what_cannot_be_found_by_time(tmp_path: Path) -> None:
    clip(tmp_path / "film.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    ffmpeg("-i", tmp_path / "film.mp4", "-c", "copy", "-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled",
           tmp_path / "in.mkv")  # fmt: skip
    assert make(tmp_path / "in.mkv", MP4, POSTER)["poster"].stat().st_size


def test_a_trimmed_film_whose_key_frame_is_hidden_has_a_storyboard(tmp_path: Path) -> None:
    clip(tmp_path / "film.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    ffmpeg("-ss", "0.5", "-i", tmp_path / "film.mp4", "-c", "copy", tmp_path / "in.mp4")
    assert ".jpg#xywh=0,0," in (make(tmp_path / "in.mp4", STORYBOARD)["storyboard"] / "index.vtt").read_text()
