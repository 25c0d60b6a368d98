"""The five image renditions of the profile `web`: ours against the naive way, with the same Pillow, in one run.

    python benchmarks/images.py [PHOTO]

Each side runs in processes of its own, in turns; PHOTO defaults to tests/data/photo.jpg, or a picture is made up.
Printed are the ratio of the medians (naive / ours), the peak memory over that of a bare interpreter, and what starting
the transcoder costs over it.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import naive
from mediaasset.media import Kind
from mediaasset.task import Fit, Format, Limits, Rendition

ROUNDS = 7
REPEATS = 3

_PHOTO = Path(__file__).parents[1] / "tests/data/photo.jpg"
_SIDES = {"small": 320, "medium": 640, "large": 1080}
RENDITIONS = (
    Rendition(name="thumbnail", kind=Kind.IMAGE, format=Format.JPEG, fit=Fit.COVER, width=150, height=150, quality=85),
    *(
        Rendition(name=name, kind=Kind.IMAGE, format=Format.JPEG, width=side, height=side, quality=85)
        for name, side in _SIDES.items()
    ),
    Rendition(name="webp", kind=Kind.IMAGE, format=Format.WEBP, width=640, height=640, quality=80),
)


def ours(source: Path, directory: Path) -> None:
    """Render as the transcoder's child does, from the header on."""
    # Imported here, so that the other sides' memory does not hold it.
    from media_transcoder import image  # noqa: PLC0415
    from media_transcoder.media import Workplace  # noqa: PLC0415

    place = Workplace(source=source, directory=directory, limits=Limits(), report=lambda _: None)
    for _, make in image.render(image.probe(source, place.limits), RENDITIONS, place):
        make()


def _naively(source: Path, directory: Path) -> None:
    naive.render(source, RENDITIONS, directory)


SIDES: dict[str, Callable[[Path, Path], None]] = {"naive": _naively, "ours": ours}


def measure(side: str, source: Path) -> None:
    """Run one side in this process; print the seconds of its warm repeats and its peak memory as JSON."""
    seconds = []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            SIDES[side](source, Path(directory))
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[1:], "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def _child(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def _start_milliseconds(code: str) -> float:
    start = time.perf_counter()
    _child("-I", "-c", code)
    return (time.perf_counter() - start) * 1000


def main(source: Path) -> None:
    """Measure all sides in turns and print the figures."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    kib: dict[str, int] = dict.fromkeys(SIDES, 0)
    programs = {"bare": "pass", "parent": "import media_transcoder.__main__", "child": "import media_transcoder.child"}
    starts: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for side in SIDES:
            found = json.loads(_child(__file__, side, str(source)))
            seconds[side].append(statistics.median(found["seconds"]))
            kib[side] = max(kib[side], found["kib"])
        for name, code in programs.items():
            starts[name].append(_start_milliseconds(code))
    bare = int(_child("-c", "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"))
    slow, fast = (statistics.median(seconds[side]) for side in ("naive", "ours"))
    print(f"naive {slow * 1000:.0f} ms, ours {fast * 1000:.0f} ms: {slow / fast:.1f} times as fast")
    for side in SIDES:
        print(f"peak memory of {side} over bare Python: {(kib[side] - bare) / 1024:.0f} MiB")
    base = statistics.median(starts["bare"])
    for name in ("parent", "child"):
        print(f"start of the {name} over bare Python: {statistics.median(starts[name]) - base:.0f} ms")


def _made_up(path: Path) -> Path:
    from PIL import Image  # noqa: PLC0415

    noise = Image.effect_noise((4000, 3000), 12)
    gradient = Image.linear_gradient("L").resize((4000, 3000))
    Image.merge("RGB", (noise, gradient, Image.blend(noise, gradient, 0.5))).save(path, "JPEG", quality=92)
    return path


if __name__ == "__main__":
    if len(sys.argv) == 3:  # noqa: PLR2004 - a side and a file: one of our own children
        measure(sys.argv[1], Path(sys.argv[2]))
    elif len(sys.argv) > 1 or _PHOTO.exists():
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else _PHOTO)
    else:
        with tempfile.TemporaryDirectory() as made:
            main(_made_up(Path(made) / "photo.jpg"))
