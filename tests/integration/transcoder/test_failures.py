import dataclasses
import io
import json
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bench import Bench
from mediaasset.media import Kind
from mediaasset.reasons import TABLE, Reason
from mediaasset.task import Limits, Source, Task


def noise(width: int, height: int, form: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def expect(bench: Bench, task: Task, reason: Reason, **variables: str) -> None:
    ended = bench.run(task, **variables)
    assert ended.reason is reason, ended.log
    assert ended.code == TABLE[reason].exit_code
    assert bench.objects("media/", "private/") == []
    assert bench.is_clean()
    assert bench.failure().reason is reason
    hint = json.loads((bench.store.parent / "termination").read_text())
    assert hint["reason"] == reason
    assert hint["message"]


PHOTO = noise(200, 100)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"just a text", "a.jpg", Reason.UNSUPPORTED_TYPE),
        (b"just a text", "", Reason.UNSUPPORTED_TYPE),
        (b"%PDF-1.7", "a.jpg", Reason.TYPE_MISMATCH),
        (PHOTO, "a.pdf", Reason.TYPE_MISMATCH),
        (PHOTO[: len(PHOTO) // 2], "a.jpg", Reason.UNDECODABLE),
        (PHOTO[:30], "a.jpg", Reason.UNDECODABLE),
        (noise(50, 50, "PNG")[:-3000], "a.png", Reason.UNDECODABLE),
        (b"", "a.jpg", Reason.EMPTY_SOURCE),
        (b"\0" * 5000, "a.bin", Reason.UNSUPPORTED_TYPE),
        (b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml" + b"x" * 99, "a.docx", Reason.UNDECODABLE),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "a.doc", Reason.UNDECODABLE),
        (b"\0\0\0\x18ftypisom" + b"\0" * 500, "a.mp4", Reason.UNDECODABLE),
        (b"ID3" + b"\0" * 500, "a.mp3", Reason.UNDECODABLE),
    ],
)
def test_a_bad_source_has_its_reason(bench: Bench, content: bytes, name: str, reason: Reason) -> None:
    expect(bench, replace(bench.put(content), file_name=name or None), reason)


def test_a_declared_type_is_held_to_the_content(bench: Bench) -> None:
    expect(bench, replace(bench.put(PHOTO), type=Kind.VIDEO), Reason.TYPE_MISMATCH)


def test_within_one_kind_the_content_wins(bench: Bench) -> None:
    assert bench.run(replace(bench.put(PHOTO), file_name="a.png", type=Kind.IMAGE)).code == 0
    assert bench.result().source_info.mime_type == "image/jpeg"


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_bytes_is_exact(bench: Bench, over: int) -> None:
    task = bench.put(PHOTO)
    task = bench.with_limits(task, Kind.IMAGE, Limits(max_bytes=len(PHOTO) - over))
    if over:
        expect(bench, task, Reason.SOURCE_TOO_LARGE)
        (bench.store / "work/uid/1/failure-pod.json").unlink()
        # The same when the type is declared, and the size is known before the first byte.
        expect(bench, replace(task, type=Kind.IMAGE), Reason.SOURCE_TOO_LARGE)
    else:
        assert bench.run(task).code == 0


def test_a_pixel_bomb_is_refused(bench: Bench) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    expect(bench, bench.put(buffer.getvalue()), Reason.LIMIT_EXCEEDED)
    assert "more than 50000000 pixels" in bench.failure().message


def test_what_was_announced_must_be_there(bench: Bench) -> None:
    key = bench.put(PHOTO).source.key
    for source in (Source(key=key, sha256="0" * 64), Source(key=key, size_bytes=len(PHOTO) + 1)):
        expect(bench, bench.task(source), Reason.SOURCE_MISMATCH)
        (bench.store / "work/uid/1/failure-pod.json").unlink()


@pytest.mark.parametrize(
    "key", ["uploads/other/asset/source", "media/ns/x", "uploads/ns/../other/asset/source", "work/uid/1/result.json"]
)
def test_another_namespaces_key_is_refused(bench: Bench, key: str) -> None:
    (bench.store / "uploads/other/asset").mkdir(parents=True)
    (bench.store / "uploads/other/asset/source").write_bytes(PHOTO)
    expect(bench, bench.task(Source(key=key)), Reason.SOURCE_FORBIDDEN)


def test_a_foreign_prefix_opens_what_it_names(bench: Bench) -> None:
    (bench.store / "legacy").mkdir()
    (bench.store / "legacy/photo.jpg").write_bytes(PHOTO)
    task = bench.task(Source(key="legacy/photo.jpg"))
    expect(bench, task, Reason.SOURCE_FORBIDDEN)
    allowed = dataclasses.replace(task, attempt=2, foreign_prefixes=("legacy/",))
    assert bench.run(allowed).code == 0


def test_a_missing_source_is_not_found(bench: Bench) -> None:
    expect(bench, bench.task(Source(key="uploads/ns/asset/none")), Reason.SOURCE_NOT_FOUND)


def test_a_long_clip_is_refused(bench: Bench, tmp_path: Path) -> None:
    sound = tmp_path / "in.wav"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=3", str(sound)], check=True)
    task = bench.with_limits(bench.put(sound), Kind.AUDIO, Limits(max_duration_seconds=2))
    expect(bench, task, Reason.LIMIT_EXCEEDED)
    info = bench.failure().source_info
    assert info is not None
    assert info.duration_milliseconds == 3000


def test_a_clip_that_is_cut_short_is_damaged(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=640x360:d=8 -pix_fmt yuv420p -movflags +faststart"
    subprocess.run([*command.split(), str(path)], check=True)
    content = path.read_bytes()
    expect(bench, bench.put(content[: len(content) // 2]), Reason.UNDECODABLE)
    message = bench.failure().message
    assert "ends after" in message
    assert str(tmp_path) not in message


def test_slides_that_are_cut_short_are_damaged(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=640x360:d=60:r=1/10 -g 1 -pix_fmt yuv420p -movflags +faststart"
    subprocess.run([*command.split(), str(path)], check=True)
    content = path.read_bytes()
    expect(bench, bench.put(content[: len(content) // 2]), Reason.UNDECODABLE)
    assert "of 60.0 seconds" in bench.failure().message


def zip_of(names: int, *, locator: bool) -> bytes:
    """Return a zip that names so many files; with a ZIP64 locator, its end record says that the directory is empty."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(names):
            archive.writestr(f"word/{number:05}{'x' * 200}", "")
    content = buffer.getvalue()
    if not locator:
        return content
    end = len(content) - 22
    entries, size, start = struct.unpack("<10xHII", content[end : end + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, start)
    return (
        content[:end]
        + record
        + struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
        + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    )


@pytest.mark.parametrize("names", [1, 36_000])
def test_zip64_does_not_hide_the_size_of_a_directory(bench: Bench, names: int) -> None:
    content = zip_of(names, locator=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == names
    expect(bench, replace(bench.put(content), file_name="a.docx"), Reason.LIMIT_EXCEEDED)


def test_a_signature_inside_the_end_record_hides_nothing(bench: Bench) -> None:
    content = zip_of(36_000, locator=False)
    # As the start of the directory, which zipfile reckons from where the record lies.
    content = content[:-6] + b"PK\x05\x06" + content[-2:]
    expect(bench, replace(bench.put(content), file_name="a.docx"), Reason.LIMIT_EXCEEDED)


@pytest.mark.parametrize("name", ["playlist", "concat", "playlist behind a head"])
def test_no_second_file_is_ever_read(bench: Bench, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.ts"
    command = "ffmpeg -v error -f lavfi -i color=red:s=320x240:d=2 -f mpegts"
    subprocess.run([*command.split(), str(secret)], check=True)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()
    content = {
        "playlist": playlist,
        "concat": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "playlist behind a head": b"\0\0\0\x14ftypisom\0\0\0\0isom" + playlist,
    }[name]
    ended = bench.run(replace(bench.put(content), file_name="a.mp4"))
    assert ended.reason in (Reason.UNSUPPORTED_TYPE, Reason.UNDECODABLE)
    assert bench.objects("media/") == []


@pytest.mark.parametrize("task", ["", "{}", "no json", '{"version": 99}'])
def test_a_task_that_cannot_be_read(bench: Bench, task: str) -> None:
    assert bench.run(task).reason is Reason.INVALID_TASK


def test_without_a_store_the_reason_is_still_told(bench: Bench, tmp_path: Path) -> None:
    ended = bench.run(bench.put(PHOTO), MEDIA_STORE_URL=(tmp_path / "none").as_uri())
    assert ended.reason is Reason.STORE_UNAVAILABLE
    assert str(tmp_path) not in (tmp_path / "termination").read_text()


def test_the_deadline_ends_the_work(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:d=20 -preset ultrafast -pix_fmt yuv444p"
    subprocess.run([*command.split(), str(path)], check=True)
    task = bench.put(path)
    slow = tuple(replace(rendition, preset="slow") for rendition in task.renditions if rendition.name == "mp4")
    expect(bench, replace(task, renditions=slow, deadline_seconds=2), Reason.DEADLINE_EXCEEDED)


_SAMPLES = [noise(40, 30), noise(40, 30, "PNG"), noise(40, 30, "GIF"), noise(40, 30, "WEBP"), noise(40, 30, "BMP")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.tuples(
            st.sampled_from(_SAMPLES),
            st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=20),
            st.integers(0, 3000),
        ),
    )
)
def test_whatever_comes_ends_in_a_reason(
    bench: Bench, content: bytes | tuple[bytes, list[tuple[int, int]], int]
) -> None:
    if isinstance(content, tuple):
        sample, changes, cut = content
        changed = bytearray(sample)
        for at, value in changes:
            changed[at % len(changed)] = value
        content = bytes(changed[: max(1, len(changed) - cut)])
    for leftover in (*bench.store.glob("work/uid/1/*"), *bench.store.glob("media/ns/assets/uid/*")):
        leftover.unlink()
    ended = bench.run(bench.put(content))
    assert ended.code == 0 or ended.reason in {
        Reason.EMPTY_SOURCE,
        Reason.UNSUPPORTED_TYPE,
        Reason.UNDECODABLE,
        Reason.LIMIT_EXCEEDED,
    }, ended.log
    assert bench.is_clean()
