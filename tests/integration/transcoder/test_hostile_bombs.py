"""Files that claim, or would become, more than anybody has: refused, and cheap to refuse."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import bombs
from bench import Bench, Ended
from mediaasset.reasons import Reason
from mediaasset.task import Task

#: What all processes of an attempt may hold at most: a quarter of what the smallest class of transcoders is given.
_MAX_MIB = 256

# The kernel counts into the maximum of a process what it held between fork and exec, and pytest is large: so the
# process is started, and waited for, by a small one.
_LAUNCH = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_BYTES"]),) * 2)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
os.write(int(os.environ["REPORT"]), str(usage.ru_maxrss).encode())
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_measured(bench: Bench, task: Task, file_bytes: int = bombs.GIB) -> tuple[Ended, float]:
    """Run one attempt; return how it ended, and the largest resident memory of any of its processes in MiB."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _LAUNCH, sys.executable, "-P", "-m", "media_transcoder"],
        env=bench.environment(task) | {"REPORT": str(write), "FILE_BYTES": str(file_bytes)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[write],
    )
    bench.started.append(process)
    os.close(write)
    ended = bench.end(process)
    with os.fdopen(read) as report:
        return ended, int(report.read()) / 1024


DATA = Path(__file__).parents[2] / "data"

LIMIT, DAMAGED = Reason.LIMIT_EXCEEDED, Reason.UNDECODABLE

REFUSED: dict[str, tuple[str, Callable[[], bytes], set[Reason]]] = {
    # Pixels: the header is enough to refuse them.
    "PNG of 900 MP": ("a.png", partial(bombs.png, 30_000, 30_000), {LIMIT}),
    "PNG of a long line": ("a.png", partial(bombs.png, 500_000_000, 1), {LIMIT}),
    # What cannot be had is asked for in vain each time: no attempt after the first would be of use.
    "PNG with a chunk of 2 GiB": ("a.png", bombs.png_claiming, {LIMIT}),
    "JPEG of 4 GP": ("a.jpg", partial(bombs.jpeg, 65_500), {LIMIT}),
    "GIF of 4 GP": ("a.gif", partial(bombs.gif, 65_535), {LIMIT}),
    "WebP of 268 MP": ("a.webp", bombs.webp, {LIMIT}),
    "BMP of 4 GP": ("a.bmp", partial(bombs.bmp, 65_535), {LIMIT}),
    "AVIF of 4 GP": ("a.avif", bombs.heif, {LIMIT, DAMAGED}),
    "HEIC of 4 GP": ("a.heic", partial(bombs.heif, DATA / "turned.heic"), {LIMIT, DAMAGED}),
    "frames of 67 MP": ("a.mkv", partial(bombs.huge_frames, 8200, 8200), {LIMIT}),
    # Frames.
    "GIF of 100,000 frames": ("a.gif", partial(bombs.gif_frames, 100_000), {LIMIT}),
    "APNG of 100,000 frames": ("a.png", partial(bombs.png_frames, 100_000), {LIMIT}),
    "WebP of 100,000 frames": ("a.webp", partial(bombs.webp_frames, 100_000), {LIMIT}),
    # Streams.
    "MP4 of 1,000 streams": ("a.mp4", partial(bombs.tracks, 1000), {LIMIT}),
    "MKV of 1,000 streams": ("a.mkv", partial(bombs.matroska_tracks, 1000), {LIMIT}),
    # Durations, claimed and true.
    "MP4 of ten years": ("a.mp4", partial(bombs.long_film, bombs.TEN_YEARS), {LIMIT}),
    "MP4 of two hours, by its frames alone": ("a.mp4", partial(bombs.long_film, 7200, header=False), {LIMIT, DAMAGED}),
    "FLAC of five hours": ("a.flac", partial(bombs.silent_flac, 5 * 3600), {LIMIT}),
    # Rates that make a resampler take a gigabyte for a packet, or for its filter.
    "WAV of 4 GB at 1 Hz": ("a.wav", partial(bombs.claiming_wav, 1), {LIMIT}),
    "WAV of 4 GB at 4 GHz": ("a.wav", partial(bombs.claiming_wav, 0x7FFF_FFFF), {LIMIT, DAMAGED}),
    # Archives.
    "DOCX with a list of 512 MiB": ("a.docx", partial(bombs.inflating_docx, types=True), {LIMIT}),
}

#: These need not be refused, but may not cost much either.
BOUNDED: dict[str, tuple[str, Callable[[], bytes], set[Reason | None]]] = {
    "GIF with a frame of 4 GP": ("a.gif", bombs.gif_frame_outside, {None, LIMIT, DAMAGED}),
    "PNG with texts of 512 MiB": ("a.png", bombs.png_text, {None, LIMIT, DAMAGED}),
    "PNG with 5,000 texts": ("a.png", bombs.png_texts, {None, LIMIT, DAMAGED}),
    "JPEG with 8 MB of metadata": ("a.jpg", bombs.jpeg_segments, {None, LIMIT, DAMAGED}),
    "TS of 1,000 streams": ("a.ts", partial(bombs.programs, 1000), {LIMIT, DAMAGED}),
    "WAV of 4 GB at 8 kHz": ("a.wav", partial(bombs.claiming_wav, 8000), {None, LIMIT, DAMAGED}),
    "MKV with a packet in ten years": ("a.mkv", bombs.late_packet, {None, LIMIT, DAMAGED}),
    "MP4 of 2^30 samples": ("a.mp4", partial(bombs.sample_table, 1 << 30), {LIMIT, DAMAGED}),
    "MP4 of a run of 2^30 samples": ("a.mp4", partial(bombs.fragment_run, 1 << 30), {None, LIMIT, DAMAGED}),
    "MP4 of 20,000 boxes in each other": ("a.mp4", partial(bombs.nested_boxes, 20_000), {DAMAGED}),
    "MKV of 20,000 elements in each other": ("a.mkv", partial(bombs.nested_elements, 2_000), {DAMAGED}),
    "DOCX with a part of 512 MiB": ("a.docx", partial(bombs.inflating_docx, types=False), {None}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bomb_exceeds_a_limit_before_it_costs_anything(bench: Bench, name: str) -> None:
    file_name, make, reasons = REFUSED[name]
    ended, mib = run_measured(bench, replace(bench.put(make()), file_name=file_name))
    assert ended.reason in reasons, ended.log
    assert mib < _MAX_MIB
    assert bench.objects("media/") == []
    assert bench.is_clean()


@pytest.mark.parametrize("name", BOUNDED)
def test_what_swells_inside_stays_bounded(bench: Bench, name: str) -> None:
    file_name, make, reasons = BOUNDED[name]
    ended, mib = run_measured(bench, replace(bench.put(make()), file_name=file_name))
    assert ended.reason in reasons, ended.log
    assert mib < _MAX_MIB
    assert bench.is_clean()


def test_an_output_that_grows_beyond_all_measure_is_ended(bench: Bench) -> None:
    # Ten minutes of silence are small, and large as MP3. The transcoder's own limit of a file is 4 GiB, which takes
    # hours; it keeps a lower one that it was started with.
    task = bench.put(bombs.silent_flac(600))
    ended, mib = run_measured(bench, task, file_bytes=2 * bombs.MIB)
    assert ended.reason is Reason.LIMIT_EXCEEDED, ended.log
    assert mib < _MAX_MIB
    assert bench.objects("media/") == []
    assert bench.is_clean()
