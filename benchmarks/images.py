"""The image renditions of the profile `web`: ours against the naive way, with the same Pillow, in one run.

    python benchmarks/images.py [--rounds 5] [PICTURE ...]

PICTURE is a name of inputs.PICTURES or a file; all names by default. Each side runs in processes of its own, in turns;
every figure is the median of the rounds, and every ratio is made within a round before. Time is that of the CPU: all
sides run in one thread, so on an idle machine it is the time on the clock.

Memory is the high-water mark of a process less that of a bare interpreter. Quality is the SSIM of the luma of each
encoded output against LANCZOS from full size, with the window of Wang et al. 2004.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

import inputs
import naive
from mediaasset.media import Kind
from mediaasset.task import Fit, Format, Rendition

REPEATS = 3

_SIDES = {"small": 320, "medium": 640, "large": 1080}
RENDITIONS = (
    Rendition(name="thumbnail", kind=Kind.IMAGE, format=Format.JPEG, fit=Fit.COVER, width=150, height=150, quality=85),
    *(
        Rendition(name=name, kind=Kind.IMAGE, format=Format.JPEG, width=side, height=side, quality=85)
        for name, side in _SIDES.items()
    ),
    Rendition(name="webp", kind=Kind.IMAGE, format=Format.WEBP, width=640, height=640, quality=80),
)
ORIGINAL = Rendition(name="original", kind=Kind.IMAGE, format=Format.ORIGINAL)

#: The share of the naive way's time, by the format of the source; no aim for those smaller than 12 MP.
_TIME_AIMS = {".jpg": 0.17, ".png": 0.25}
_MEMORY_AIM_MIB = 50
_ORIGINAL_AIM = 1.1
_SSIM_AIM = -0.003
_IMPORT_AIM_MILLISECONDS = 60
_PROGRAMS = {
    "bare": "pass",
    "parent": "import media_transcoder.__main__",
    "child": "import media_transcoder.child",
}


def _ours(source: Path, directory: Path, renditions: tuple[Rendition, ...] = RENDITIONS) -> None:
    """Do all that the transcoder's child does: recognise, probe and check the source, render, verify the outputs."""
    # Imported here, so that the other sides' memory does not hold it.
    from media_transcoder import child  # noqa: PLC0415

    work = child.Decoding(request=inputs.request(source, directory, renditions))
    for step in child.STEPS:
        step(work)


SIDES: dict[str, Callable[[Path, Path], None]] = {
    "naive": lambda source, directory: naive.render(source, RENDITIONS, directory),
    "ours": _ours,
    "with original": lambda source, directory: _ours(source, directory, (*RENDITIONS, ORIGINAL)),
    "copy": lambda source, directory: naive.copy(source, directory / ORIGINAL.name),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one process measured: the median of its warm repeats in seconds, and its peak memory."""

    seconds: float
    kib: int


def measure(side: str, source: Path, directory: Path) -> None:
    """Run one side in this process and print what was found as JSON; its outputs stay in `directory`."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        SIDES[side](source, directory)
        seconds.append(time.process_time() - start)
    # Behind the lines of progress.
    print("\n" + json.dumps({"seconds": statistics.median(seconds[1:]), "kib": _peak_kib()}))


def _peak_kib() -> int:
    # Not getrusage(): after fork and exec its maximum begins with the memory of the process that forked.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _child(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def _start_milliseconds(code: str) -> float:
    start = _cpu_seconds()
    _child("-I", "-c", code)
    return (_cpu_seconds() - start) * 1000


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def pictures(sources: list[Path], rounds: int) -> None:
    """Measure all sides in turns, one picture after the other."""
    bare = int(_child("-c", "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"))
    for source in sources:
        found: dict[str, list[Found]] = {side: [] for side in SIDES}
        with tempfile.TemporaryDirectory() as directory:
            for _ in range(rounds):
                for side, runs in found.items():
                    outputs = Path(directory, side)
                    outputs.mkdir(exist_ok=True)
                    said = _child(__file__, "--side", side, str(outputs), str(source))
                    runs.append(Found(**json.loads(said.splitlines()[-1])))
            _print_picture(source, found, bare)
            _print_quality(source, Path(directory))


def _print_picture(source: Path, found: dict[str, list[Found]], bare: int) -> None:
    slow, fast, more, once = ([run.seconds for run in found[side]] for side in SIDES)
    is_large = source.stem != "smaller"
    aim = _TIME_AIMS.get(source.suffix) if is_large else None
    took = f"{_ms(fast)} of {_ms(slow)} ms"
    _row(f"{source.stem}: five renditions, of naive", _median(fast, slow), aim, took)
    if source.suffix == ".jpg":
        mib = {side: (max(run.kib for run in runs) - bare) / 1024 for side, runs in found.items()}
        beside = f"naive {mib['naive']:.0f}, with original {mib['with original']:.0f}"
        _row(f"{source.stem}: peak memory, MiB", mib["ours"], _MEMORY_AIM_MIB, beside)
    added = [with_ - without for with_, without in zip(more, fast, strict=True)]
    aim = _ORIGINAL_AIM if source.suffix == ".jpg" and is_large else None
    beside = f"{_ms(added)} of {_ms(once)} ms"
    _row(f"{source.stem}: original, of one decode and encode", _median(added, once), aim, beside)


def _print_quality(source: Path, directory: Path) -> None:
    import numpy as np  # noqa: PLC0415 - what measures must not weigh on what is measured
    from skimage.metrics import structural_similarity  # noqa: PLC0415

    def luma(image: Image.Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        return np.asarray(image.convert("L"))

    with Image.open(source) as full:
        best = {rendition.name: luma(naive.resized(full.convert("RGB"), rendition)) for rendition in RENDITIONS}
    found = {
        side: {
            name: structural_similarity(
                luma(Image.open(directory / side / name)),
                pixels,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=255,
            )
            for name, pixels in best.items()
        }
        for side in ("naive", "ours")
    }
    differences = {name: found["ours"][name] - found["naive"][name] for name in best}
    worst = min(differences, key=lambda name: differences[name])
    beside = ", ".join(f"{name} {value:.4f}" for name, value in found["ours"].items())
    _row(f"{source.stem}: SSIM less naive's, worst ({worst})", differences[worst], _SSIM_AIM, beside, digits=4)


def starts(rounds: int) -> None:
    """Measure what importing the transcoder costs over a bare interpreter: processes from start to end."""
    found: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    for _ in range(rounds):
        for name, code in _PROGRAMS.items():
            found[name].append(_start_milliseconds(code))
    base = statistics.median(found.pop("bare"))
    for name, milliseconds in found.items():
        over = statistics.median(milliseconds) - base
        _row(f"imports of the {name}, ms", over, _IMPORT_AIM_MILLISECONDS, f"bare Python {base:.0f}", digits=0)


def _median(above: list[float], below: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f}"


def _row(what: str, figure: float, aim: float | None, beside: str, digits: int = 3) -> None:
    wanted = "" if aim is None else f"{'>=' if aim < 0 else '<='} {aim}"
    print(f"{what:<52} {figure:>8.{digits}f}  {wanted:<9}  {beside}", flush=True)


def main() -> None:
    """Measure and print a table: what, figure, aim, and what the figure is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("pictures", nargs="*", default=list(inputs.PICTURES), metavar="PICTURE")
    given = parser.parse_args()
    starts(given.rounds * 3)
    pictures([inputs.picture(each) if each in inputs.PICTURES else Path(each) for each in given.pictures], given.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:  # one of our own children
        measure(sys.argv[2], Path(sys.argv[4]), Path(sys.argv[3]))
    else:
        main()
