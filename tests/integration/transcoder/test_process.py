import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image

from bench import Bench
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Format, Rendition, Task


def until(found: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def long_task(bench: Bench, tmp_path: Path) -> Task:
    """A Task that keeps ffmpeg busy far longer than a test takes."""
    path = tmp_path / "in.mp4"
    # What browsers play would be remuxed, which is over at once.
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:d=40 -preset ultrafast -pix_fmt yuv444p"
    subprocess.run([*command.split(), str(path)], check=True)
    task = bench.put(path)
    slow = [replace(rendition, preset="slow") for rendition in task.renditions if rendition.name == "mp4"]
    return replace(task, renditions=tuple(slow), deadline_seconds=300)


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def encoding(process: "subprocess.Popen[str]") -> bool:
    """Tell whether ffmpeg has been running long enough to have written something."""
    return any(one.name() == "ffmpeg" and sum(one.cpu_times()[:2]) > 0.3 for one in family(process))


def gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_a_stop_in_the_middle_leaves_nothing(bench: Bench, long_task: Task) -> None:
    process = bench.start(long_task)
    until(lambda: encoding(process))
    children = family(process)
    process.send_signal(signal.SIGTERM)
    ended = bench.end(process)
    assert ended.reason is Reason.INTERRUPTED
    assert bench.objects() == []
    assert bench.is_clean()
    until(lambda: gone(children))


def test_a_stop_while_it_clears_up_leaves_nothing(bench: Bench) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "PNG")
    task = bench.put(buffer.getvalue())
    many = tuple(Rendition(name=f"a{number}", kind=Kind.IMAGE, format=Format.JPEG) for number in range(32))
    # The moment is short, so that not each of these stops meets it.
    for attempt in range(1, 9):
        process = bench.start(replace(task, attempt=attempt, renditions=many))
        most = 0
        while process.poll() is None:
            try:
                count = sum(1 for _ in bench.scratch.glob("transcode-*/outputs/*"))
            except FileNotFoundError:
                # It went while it was looked into.
                break
            if count < most:
                break
            most = count
        process.send_signal(signal.SIGTERM)
        ended = bench.end(process)
        assert list(bench.scratch.rglob("*")) == [], ended


def test_a_killed_parent_takes_child_and_ffmpeg_along(bench: Bench, long_task: Task) -> None:
    process = bench.start(long_task)
    until(lambda: encoding(process))
    children = family(process)
    assert len(children) == 2
    process.kill()
    bench.end(process)
    until(lambda: gone(children))
    assert bench.objects() == []


def test_a_killed_child_means_too_little_memory(bench: Bench, long_task: Task) -> None:
    process = bench.start(long_task)
    until(lambda: encoding(process))
    children = family(process)
    psutil.Process(process.pid).children()[0].kill()
    assert bench.end(process).reason is Reason.OUT_OF_MEMORY
    assert bench.failure().reason is Reason.OUT_OF_MEMORY
    assert bench.objects("media/") == []
    assert bench.is_clean()
    until(lambda: gone(children))


def test_the_child_knows_no_secret_and_the_parent_shows_none(bench: Bench, long_task: Task) -> None:
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "hidden-value-1",
        "OTHER_TOKEN": "hidden-value-2",
        "MEDIA_REDIS_PASSWORD": "hidden-value-3",
        "MEDIA_CPUS": "2",
        "MEDIA_MEMORY_BYTES": "4294967296",
    }
    process = bench.start(long_task, **secrets)
    until(lambda: encoding(process))
    children = family(process)
    assert len(children) == 2
    for child in children:
        content = Path(f"/proc/{child.pid}/environ").read_bytes()
        names = {entry.partition(b"=")[0] for entry in content.split(b"\0") if entry}
        told = {b"MEDIA_CPUS", b"MEDIA_MEMORY_BYTES"}
        assert names - {b"LC_CTYPE"} == {b"PATH", b"LANG", b"TMPDIR"} | told
        assert b"hidden-value" not in content + Path(f"/proc/{child.pid}/cmdline").read_bytes()
    decoder = children[0]
    limits = Path(f"/proc/{decoder.pid}/limits").read_text()
    for name in ("Max cpu time", "Max file size", "Max address space"):
        (line,) = [line for line in limits.splitlines() if line.startswith(name)]
        assert "unlimited" not in line
    assert os.getpgid(decoder.pid) == decoder.pid
    # A process that may not be dumped belongs to root in /proc, whoever runs it.
    assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            Path(f"/proc/{process.pid}/environ").read_bytes()
    process.terminate()
    bench.end(process)


def test_two_at_once_leave_one_result(bench: Bench) -> None:
    task = bench.put(_photo())
    processes = [bench.start(task, MEDIA_POD_NAME=f"pod-{number}") for number in range(2)]
    assert [bench.end(process).code for process in processes] == [0, 0]
    assert bench.objects("work/") == ["work/uid/1/result.json"]
    named = sorted(rendition.key or "" for rendition in bench.result().renditions)
    assert bench.objects("media/") == named


def test_a_second_run_changes_nothing(bench: Bench) -> None:
    task = bench.put(_photo())
    assert bench.run(task).code == 0
    before = {key: (bench.store / key).stat().st_mtime_ns for key in bench.objects()}
    # Not even the source is needed any more.
    (bench.store / "uploads/ns/asset/source").unlink()
    ended = bench.run(task)
    assert (ended.code, ended.progress) == (0, [])
    assert {key: (bench.store / key).stat().st_mtime_ns for key in bench.objects()} == before


def test_it_ends_with_its_parent_when_asked_to(bench: Bench, long_task: Task, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "import pathlib, subprocess, sys\n"
        "process = subprocess.Popen([sys.executable, '-m', 'media_transcoder'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(process.pid))\n"
        "process.wait()"
    )
    environment = bench.environment(long_task) | {"MEDIA_DIE_WITH_PARENT": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(note)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as parent:
        until(lambda: note.exists() and note.read_text())
        transcoder = psutil.Process(int(note.read_text()))
        until(lambda: any(one.name() == "ffmpeg" for one in transcoder.children(recursive=True)))
        family = [transcoder, *transcoder.children(recursive=True)]
        parent.kill()
    until(lambda: gone(family))
    until(bench.is_clean)
    assert bench.objects() == []


def _photo() -> bytes:
    buffer = io.BytesIO()
    Image.effect_mandelbrot((600, 400), (-2, -1, 1, 1), 50).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_parent_imports_no_decoder() -> None:
    script = "import json, sys, media_transcoder.__main__; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout
    heavy = {"PIL", "ffmpeg", "pydantic", "asyncio", "ssl", "http.client", "boto3", "structlog", "zipfile", "redis"}
    assert heavy & set(json.loads(output)) == set()
