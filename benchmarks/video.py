"""Moving pictures: the transcoder's child against bare ffmpeg, and each further rendition against the MP4 alone.

    python benchmarks/video.py [--seconds 30] [--rounds 3]

Each side is the whole of a process, from its start to its end, with the child's imports, probe and verification in it;
the sides take turns. Every ratio is made within a round, of which the table has the median; CPU is that of all
processes, and tells what the machine's other work did to the wall clock.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import inputs
from media_transcoder.messages import Message, dump, load
from mediaasset.media import Kind
from mediaasset.task import Format, Rendition

MP4 = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, width=1920, height=1080, crf=23, preset="veryfast")
POSTER = Rendition(name="poster", kind=Kind.VIDEO, format=Format.JPEG, width=640, height=640, quality=85)
HLS = Rendition(name="hls", kind=Kind.VIDEO, format=Format.HLS, width=1920, height=1080, crf=23, preset="veryfast")
STORYBOARD = Rendition(name="storyboard", kind=Kind.VIDEO, format=Format.STORYBOARD)

#: As short a film as has a whole group of pictures, for what happens before the first of them is encoded.
_GLANCE_SECONDS = 2
_FIRST_BYTE_AIM_MILLISECONDS = 130

#: The child's own program, which besides writes down when it starts ffmpeg with what, and when ffmpeg first answers.
_TRACED = """
import json, os, sys, time
running = ""
def write(what, command=()):
    with open("trace", "a") as file:
        print(json.dumps([what, time.monotonic() - float(sys.argv[2]), command]), file=file)
def hear(event, arguments):
    global running
    if event == "subprocess.Popen":
        command = [os.fsdecode(each) for each in arguments[1]]
        running = command[0]
        write(running, command)
read = os.read
def watched(descriptor, count):
    chunk = read(descriptor, count)
    if chunk and running:
        write("byte of " + running)
    return chunk
sys.addaudithook(hear)
os.read = watched
from media_transcoder import child
sys.exit(child.main())
"""
_BARE = "import sys, time; print(time.monotonic() - float(sys.argv[1]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What running something took, in seconds: on the clock, and of all CPUs together."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """When something happened in the child, in seconds since its start, and what it started."""

    what: str
    seconds: float
    command: list[str]


def child(source: Path, scratch: Path, *renditions: Rendition, program: tuple[str, ...] = ()) -> None:
    """Have the transcoder's child make renditions below `scratch`, emptied before, started as its parent starts it."""
    shutil.rmtree(scratch, ignore_errors=True)
    outputs = scratch / "outputs"
    outputs.mkdir(parents=True)
    # It reads nothing of ours but its scratch.
    file = scratch / "source"
    shutil.copy(source, file)
    asked = inputs.request(file, outputs, renditions)
    arguments = program or ("-m", "media_transcoder.child")
    answer = subprocess.run(
        [sys.executable, "-I", *arguments, str(os.getpid()), str(time.monotonic())],
        input=dump(asked),
        cwd=scratch,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        check=True,
    )
    outcome = load(Message, answer.stdout.splitlines()[-1]).outcome
    if outcome is None or outcome.reason is not None:
        sys.exit(f"{', '.join(each.name for each in renditions)}: {outcome and outcome.message}")


def traced(source: Path, scratch: Path, *renditions: Rendition) -> list[Trace]:
    """Run the child as above; return what it started, and when."""
    child(source, scratch, *renditions, program=("-c", _TRACED))
    lines = (scratch / "trace").read_text(encoding="utf-8").splitlines()
    return [Trace(what=what, seconds=at, command=command) for what, at, command in map(json.loads, lines)]


def cost(run: Callable[[], object]) -> Cost:
    """Run something and return what it took, with all processes that it waited for."""
    start, used = time.monotonic(), _cpu_seconds()
    run()
    return Cost(wall=time.monotonic() - start, cpu=_cpu_seconds() - used)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def renditions(seconds: int, rounds: int) -> None:
    """Measure whole renditions of a film of this length."""
    foreign, conforming = (inputs.film(seconds, is_conforming=each) for each in (False, True))
    with tempfile.TemporaryDirectory() as folder:
        # The bare one goes on where a traced run has left its source and its arguments.
        scratch, left = Path(folder, "scratch"), Path(folder, "left")
        (command,) = (each.command for each in traced(foreign, left, MP4) if each.what == "ffmpeg")
        sides: dict[str, Callable[[], object]] = {
            "bare": partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL),
            "mp4": partial(child, foreign, scratch, MP4),
            "remux": partial(child, conforming, scratch, MP4),
            "all": partial(child, foreign, scratch, MP4, HLS, POSTER, STORYBOARD),
        }
        found: dict[str, list[Cost]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, run in sides.items():
                found[side].append(cost(run))
    _compare("MP4 alone, of bare ffmpeg", found, "mp4", "bare", "<= 1.05")
    _compare("MP4 encoded, of a conforming one remuxed", found, "mp4", "remux", ">= 20")
    _compare("MP4, HLS, poster and storyboard, of the MP4 alone", found, "all", "mp4", "<= 1.65")


def first_byte(rounds: int) -> None:
    """Measure how long the child takes until ffmpeg writes its first line of progress."""
    film = inputs.film(_GLANCE_SECONDS, is_conforming=False)
    moments = ("ffprobe", "byte of ffprobe", "ffmpeg", "byte of ffmpeg")
    found: dict[str, list[float]] = {name: [] for name in ("bare", *moments, "alone")}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder, "scratch")
        for _ in range(rounds):
            line = subprocess.run(
                [sys.executable, "-I", "-c", _BARE, str(time.monotonic())], check=True, capture_output=True, text=True
            ).stdout
            found["bare"].append(float(line))
            first: dict[str, Trace] = {}
            for each in traced(film, scratch, MP4):
                first.setdefault(each.what, each)
            for what in moments:
                found[what].append(first[what].seconds)
            found["alone"].append(_seconds_to_answer(first["ffmpeg"].command))
    milliseconds = {name: statistics.median(values) * 1000 for name, values in found.items()}
    probe, answer, start, byte = (f"{milliseconds[what] - milliseconds['bare']:.0f}" for what in moments)
    parts = f"ffprobe starts at {probe}, answers at {answer}, ffmpeg starts at {start}, alone takes "
    aim = f"<= {_FIRST_BYTE_AIM_MILLISECONDS}"
    _row("first byte of ffmpeg over bare Python, ms", byte, aim, f"{parts}{milliseconds['alone']:.0f}")


def _seconds_to_answer(command: list[str]) -> float:
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.read(1):
            sys.exit("ffmpeg says nothing")
        seconds = time.monotonic() - start
        process.kill()
    return seconds


def _compare(what: str, found: dict[str, list[Cost]], above: str, below: str, aim: str) -> None:
    pairs = list(zip(found[above], found[below], strict=True))
    wall = statistics.median(one.wall / other.wall for one, other in pairs)
    cpu = statistics.median(one.cpu / other.cpu for one, other in pairs)
    took, of = (statistics.median(run.wall for run in found[side]) for side in (above, below))
    _row(what, f"{wall:.2f}", aim, f"{took:.2f} of {of:.2f} s; CPU {cpu:.2f}")


def _row(what: str, figure: str, aim: str, beside: str) -> None:
    print(f"{what:<52} {figure:>8}  {aim:<9}  {beside}", flush=True)


def main() -> None:
    """Measure and print a table: what, figure, aim, and what the figure is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    first_byte(given.rounds * 3)
    renditions(given.seconds, given.rounds)


if __name__ == "__main__":
    main()
