import io
import json
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

import frozen
import s3server
from bench import WEB_RENDITIONS, Bench
from media_transcoder.decoder import Decoder
from media_transcoder.messages import LOG_CHARACTERS, LOG_LINES, Outcome, Request
from media_transcoder.progress import Reporter
from mediaasset.media import Kind
from mediaasset.reasons import TABLE, MediaError, Reason
from mediaasset.task import Failure, Fit, Format, Limits, Rendition, Source, Task
from s3server import S3Server

ROOT = Path(__file__).parents[3]
RESOURCES = yaml.safe_load((ROOT / "charts/media-operator/values.yaml").read_text())["transcoder"]["classes"]["video"][
    "resources"
]
#: The memory that the chart gives a transcoder.
DEFAULT_BYTES = {"2Gi": 2 * 1024**3}[RESOURCES["limits"]["memory"]]


def picture(width: int, height: int, form: str, mode: str = "RGB") -> bytes:
    """Return something like a photograph: large areas, and so quickly compressed."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (8, 12, 4), dtype=np.uint8), "RGBA").convert(mode)
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BILINEAR).save(buffer, form, compress_level=1)
    return buffer.getvalue()


def film(path: Path, options: str) -> Path:
    command = f"ffmpeg -v error -f lavfi -i testsrc2={options} -preset ultrafast -pix_fmt yuv420p"
    subprocess.run([*command.split(), str(path)], check=True)
    return path


def expect(bench: Bench, task: Task, reason: Reason, **variables: str) -> Failure:
    ended = bench.run(task, **variables)
    assert ended.reason is reason, ended.log
    assert ended.code == TABLE[reason].exit_code
    assert bench.objects("media/", "private/") == []
    assert bench.is_clean()
    hint = json.loads((bench.store.parent / "termination").read_text())
    failure = bench.failure()
    assert (failure.reason, hint["reason"], failure.message) == (reason, reason, hint["message"])
    return failure


def decode(scratch: Path, content: bytes | Path, task: Task, limits: dict[int, int]) -> Outcome:
    """Have the real child decode something under limits of the kernel that nobody told it of."""
    source = scratch / "source"
    source.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (scratch / "outputs").mkdir()
    request = Request(
        task=replace(task, source=Source()),
        file=str(source),
        directory=str(scratch / "outputs"),
        size_bytes=source.stat().st_size,
        sha256="0" * 64,
    )
    with Decoder(scratch) as decoder:
        for what, value in limits.items():
            resource.prlimit(decoder._process.pid, what, (value, value))
        return decoder.decode(request, Reporter())


def test_what_the_chart_gives_is_enough_for_a_photograph(bench: Bench) -> None:
    task = bench.put(picture(4000, 3000, "JPEG"))
    ended = bench.run(task, MEDIA_MEMORY_BYTES=str(DEFAULT_BYTES), MEDIA_CPUS="2")
    assert ended.code == 0, ended.log


def test_what_cannot_fit_is_refused_before_it_is_killed(bench: Bench) -> None:
    task = bench.put(picture(6000, 4000, "PNG"))
    failure = expect(bench, task, Reason.NEEDS_LARGER_CLASS, MEDIA_MEMORY_BYTES=str(128 * 1024**2))
    assert "179 MiB" in failure.message
    assert "128 MiB" in failure.message
    assert failure.source_info is not None
    assert (failure.source_info.width, failure.source_info.height) == (6000, 4000)


def test_a_film_that_cannot_fit_is_refused(bench: Bench, tmp_path: Path) -> None:
    task = bench.put(film(tmp_path / "in.mp4", "s=3840x2160:d=0.2"))
    mp4 = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, preset="slow", crf=30, width=1920, height=1080)
    task = replace(task, renditions=(mp4,))
    failure = expect(bench, task, Reason.NEEDS_LARGER_CLASS, MEDIA_MEMORY_BYTES=str(256 * 1024**2), MEDIA_CPUS="1")
    assert failure.source_info is not None
    assert failure.source_info.codecs == ("h264",)
    # The same film, where it may be made: what was optional is no reason to refuse.
    small = replace(mp4, name="small", width=320, height=180, preset="ultrafast")
    task = replace(task, attempt=2, renditions=(small,))
    assert bench.run(task, MEDIA_MEMORY_BYTES=str(512 * 1024**2), MEDIA_CPUS="1").code == 0


def test_pillow_without_address_space_is_a_limit(bench: Bench) -> None:
    task = bench.put(b"-")
    outcome = decode(bench.scratch, picture(6000, 4000, "PNG", "RGBA"), task, {resource.RLIMIT_AS: 300 * 1024**2})
    assert outcome.reason is Reason.LIMIT_EXCEEDED
    assert outcome.source_info is not None


@pytest.mark.parametrize("megabytes", [500, 650, 800, 1000])
def test_ffmpeg_without_address_space_is_a_limit(bench: Bench, tmp_path: Path, megabytes: int) -> None:
    task = replace(
        bench.put(b"-"), renditions=(Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, preset="slow", crf=5),)
    )
    source = film(tmp_path / "in.mp4", "s=3840x2160:d=1")
    outcome = decode(bench.scratch, source, task, {resource.RLIMIT_AS: megabytes * 1024**2})
    assert outcome.reason is Reason.LIMIT_EXCEEDED, outcome


def test_a_loop_without_end_is_ended_by_its_cpu_time(bench: Bench, tmp_path: Path) -> None:
    # Nobody but the kernel looks at the clock here: the parent's alarm is not set.
    slow = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, preset="slow", crf=5)
    task = replace(bench.put(b"-"), renditions=(slow,), deadline_seconds=1)
    source = film(tmp_path / "in.mp4", "s=1280x720:d=60:r=60")
    outcome = decode(bench.scratch, source, task, {})
    assert outcome.reason is Reason.DEADLINE_EXCEEDED


def test_a_child_that_its_cpu_time_ends_is_late(bench: Bench) -> None:
    with Decoder(bench.scratch) as decoder:
        # As the kernel sends it.
        psutil.Process(decoder._process.pid).send_signal(signal.SIGXCPU)
        request = Request(task=bench.put(b"-"), file="", directory="", size_bytes=0, sha256="")
        with pytest.raises(MediaError) as caught:
            decoder.decode(request, Reporter())
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED


@pytest.mark.parametrize("what", ["source", "picture", "film"])
def test_a_full_disk(bench: Bench, tmp_path: Path, what: str) -> None:
    original = (Rendition(name="original", kind=Kind.IMAGE, format=Format.ORIGINAL),)
    if what == "source":
        task = bench.put(picture(1000, 1000, "BMP"))
    elif what == "picture":
        # Smaller than the disk, and larger than it as what is made of it.
        noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "WEBP", quality=10)
        task = replace(bench.put(buffer.getvalue()), renditions=original)
    else:
        mp4 = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, crf=1)
        path = tmp_path / "in.mp4"
        command = "ffmpeg -v error -f lavfi -i mandelbrot=s=1280x720:r=25 -t 4 -crf 45 -preset medium -pix_fmt yuv444p"
        subprocess.run([*command.split(), str(path)], check=True)
        task = replace(bench.put(path), renditions=(mp4,))
    assert (bench.store / "uploads/ns/asset/source").stat().st_size < 1024**2 or what == "source"
    # A namespace of its own may mount, whoever asks, and the disk is gone with the process.
    mounted = (
        f"mount -t tmpfs -o size=1m none {shlex.quote(str(bench.scratch))} && exec {sys.executable} -m media_transcoder"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted],
        env=bench.environment(task),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == TABLE[Reason.DISK_FULL].exit_code, done.stderr
    failure = bench.failure()
    assert failure.reason is Reason.DISK_FULL
    assert (failure.source_info is None) is (what == "source")
    if what == "film":
        assert any("No space left on device" in line for line in failure.log)
    assert bench.objects("media/") == []


def test_what_ffmpeg_says_is_kept_apart_from_what_people_read(bench: Bench, tmp_path: Path) -> None:
    content = film(tmp_path / "in.mp4", "s=640x360:d=4:r=30").read_bytes()
    # What tells where the pictures are stands at the end.
    failure = expect(bench, bench.put(content[: len(content) // 2]), Reason.UNDECODABLE)
    assert failure.message.startswith("moov atom not found. ")
    assert failure.message.endswith(TABLE[Reason.UNDECODABLE].text)
    assert "\n" not in failure.message
    assert len(failure.message) < 300
    assert failure.log
    assert len(failure.log) <= LOG_LINES
    assert all(len(line) <= LOG_CHARACTERS + 20 for line in failure.log)
    text = "\n".join(failure.log)
    assert str(tmp_path) not in text
    assert "0x" not in text
    assert all(first != second for first, second in zip(failure.log, failure.log[1:], strict=False))


def test_a_rendition_that_cannot_be_made(bench: Bench) -> None:
    wrong = Rendition(name="square", kind=Kind.IMAGE, format=Format.JPEG, fit=Fit.COVER, width=10)
    task = replace(bench.put(picture(100, 100, "JPEG")), renditions=(*WEB_RENDITIONS, wrong))
    assert "square" in expect(bench, task, Reason.INVALID_RENDITION).message


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with s3server.start(tmp_path / "s3") as started:
        started.create_bucket("media")
        started.client().put_object(Bucket="media", Key="uploads/ns/asset/source", Body=picture(800, 600, "JPEG"))
        yield started


def keys_of(server: S3Server) -> list[str]:
    listed = server.client().list_objects_v2(Bucket="media").get("Contents", [])
    return sorted(each["Key"] for each in listed)


@pytest.mark.parametrize("request_line", [b"HEAD /media/work/", b"GET /media/uploads/", b"PUT /media/media/"])
def test_a_stop_is_heard_while_the_store_does_not_answer(bench: Bench, s3: S3Server, request_line: bytes) -> None:
    task = bench.task(Source(key="uploads/ns/asset/source"))
    with frozen.start(s3.endpoint, request_line) as line:
        process = bench.start(task, **(s3.environment("media") | {"AWS_ENDPOINT": line.endpoint}))
        assert line.frozen.wait(60)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        ended = bench.end(process)
    assert ended.reason is Reason.INTERRUPTED
    assert json.loads((bench.store.parent / "termination").read_text())["reason"] == Reason.INTERRUPTED
    assert bench.is_clean()
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert keys_of(s3) == ["uploads/ns/asset/source"]


def test_the_deadline_passes_while_the_store_does_not_answer(bench: Bench, s3: S3Server) -> None:
    task = replace(bench.task(Source(key="uploads/ns/asset/source")), deadline_seconds=1)
    with frozen.start(s3.endpoint, b"HEAD /media/work/") as line:
        ended = bench.run(task, **(s3.environment("media") | {"AWS_ENDPOINT": line.endpoint}))
    assert ended.reason is Reason.DEADLINE_EXCEEDED
    assert bench.is_clean()


def test_a_store_that_refuses(bench: Bench, s3: S3Server) -> None:
    stranger = s3.create_account("stranger")
    task = bench.task(Source(key="uploads/ns/asset/source"))
    s3.put_policy(
        "media",
        {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": [stranger.access_key]},
                    "Action": ["s3:GetObject"],
                    "Resource": ["arn:aws:s3:::media/uploads/*"],
                }
            ]
        },
    )
    ended = bench.run(task, **s3.environment("media", account=stranger))
    assert ended.reason is Reason.STORE_FORBIDDEN
    assert keys_of(s3) == ["uploads/ns/asset/source"]
    s3.put_policy(
        "media",
        {
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:GetObject",
                    "Resource": "arn:aws:s3:::media/uploads/*",
                }
            ]
        },
    )
    ended = bench.run(task, **s3.environment("media", account=stranger))
    assert ended.reason is Reason.SOURCE_FORBIDDEN


def test_limits_of_a_profile_are_told_with_what_was_found(bench: Bench) -> None:
    task = bench.with_limits(bench.put(picture(300, 200, "PNG")), Kind.IMAGE, Limits(max_pixels=59_999))
    assert "59999 pixels" in expect(bench, task, Reason.LIMIT_EXCEEDED).message
