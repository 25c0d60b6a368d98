"""Mutated files of all formats through the decoding child: how each ends, and what no file may do.

    python benchmarks/fuzz.py --kind Image [--count 10000] [--seed 0] [--workers 2] [--keep DIRECTORY]

Each file comes from its number and the seed alone, so a run can be repeated, and one file made again (--only). The
seeds are tests/support/seeds.py. Files whose child ends in Internal or InvalidOutput, hangs, or crashes (itself or
ffmpeg), are kept with what is known of them. The exit code is 1 if there was one.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

sys.path[:0] = [str(Path(__file__).parents[1] / "tests/support")]

from forked import Server, Verdict
from mediaasset.media import Kind
from mediaasset.task import Fit, Format, Limits, Rendition, Source, Task
from seeds import seeds

_TASK = Task(
    uid="uid",
    namespace="ns",
    name="asset",
    attempt=1,
    inputs_hash="hash",
    source=Source(),
    prefix="media/ns/uid/",
    document_prefix="private/ns/uid/",
    limits={
        Kind.IMAGE: Limits(max_bytes=1 << 20, max_pixels=4_000_000, max_frames=100),
        Kind.VIDEO: Limits(max_bytes=1 << 20, max_pixels=2_000_000, max_duration_seconds=60),
        Kind.AUDIO: Limits(max_bytes=1 << 20, max_duration_seconds=60),
        Kind.DOCUMENT: Limits(max_bytes=1 << 20),
    },
    deadline_seconds=20,
)


def _rendition(kind: Kind, form: Format, **options: object) -> Rendition:
    return Rendition(name=form.lower(), kind=kind, format=form, width=48, height=48, **options)  # type: ignore[arg-type]


#: A file is rendered as one of these of its kind, by its number: each way of decoding gets its share.
RENDITIONS: dict[Kind, tuple[tuple[Rendition, ...], ...]] = {
    Kind.IMAGE: (
        (_rendition(Kind.IMAGE, Format.JPEG, fit=Fit.COVER), _rendition(Kind.IMAGE, Format.WEBP)),
        (Rendition(name="original", kind=Kind.IMAGE, format=Format.ORIGINAL),),
        (_rendition(Kind.IMAGE, Format.PNG, fit=Fit.EXACT), _rendition(Kind.IMAGE, Format.WEBP, animated=True)),
    ),
    Kind.VIDEO: (
        (_rendition(Kind.VIDEO, Format.MP4, preset="ultrafast"),),
        (_rendition(Kind.VIDEO, Format.JPEG),),
        (_rendition(Kind.VIDEO, Format.MP4, preset="ultrafast", fit=Fit.EXACT),),
    ),
    Kind.AUDIO: ((Rendition(name="mp3", kind=Kind.AUDIO, format=Format.MP3),),),
    Kind.DOCUMENT: ((Rendition(name="copy", kind=Kind.DOCUMENT, format=Format.COPY),),),
}
#: So many numbers of files are named for each reason.
_EXAMPLES = 5
#: Values at which lengths and counts overflow or run out of the file.
_EDGES = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

_ORDERS: tuple[Literal["big"], Literal["little"]] = ("big", "little")


def mutated(number: int, seed: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of a seed file and what became of it; the same for the same arguments."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311 - it shall be repeatable
    name = chance.choice(sorted(files))
    content = bytearray(files[name])
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        _mutate(content, chance, files)
    # Nobody gets as far as the decoder with an empty file.
    return name, bytes(content[: 1 << 20]) or b"\0"


def _mutate(content: bytearray, chance: random.Random, files: dict[str, bytes]) -> None:  # noqa: C901 - one flat table
    """Change one thing: a bit, a byte, a length, the end, a chunk, or its place in another file."""
    if not content:
        return
    # Heads are where the lengths are, so half of the changes are made there.
    at = chance.randrange(min(len(content), 256) if chance.random() < 0.5 else len(content))  # noqa: PLR2004
    size = chance.choice((4, 8, 16, 64, 256, len(content) // 2 or 1))
    match chance.randrange(9):
        case 0:
            content[at] ^= 1 << chance.randrange(8)
        case 1:
            content[at] = chance.randrange(256)
        case 2:
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice(_EDGES) if chance.random() < 0.7 else chance.randrange(1 << 32)  # noqa: PLR2004
            order = chance.choice(_ORDERS)
            content[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, order)
        case 3:
            del content[max(at, 1) :]
        case 4:
            content[at:at] = content[at : at + size] * chance.choice((1, 2, 50))
        case 5:
            del content[at : at + size]
        case 6:
            other = files[chance.choice(sorted(files))]
            start = chance.randrange(len(other))
            content[at : at + chance.choice((0, size))] = other[start : start + size]
        case 7:
            content[at : at + size] = chance.randbytes(min(size, 64))
        case 8:
            # A length of 16 or 32 bits that is off by a little.
            width, order = chance.choice((2, 4)), chance.choice(_ORDERS)
            value = int.from_bytes(content[at : at + width], order) + chance.choice((-8, -2, -1, 1, 2, 8))
            content[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, order)


def task_of(kind: Kind, number: int, name: str) -> Task:
    """Return the task for a file: every fourth declares its name, every fourth its kind."""
    sets = RENDITIONS[kind]
    declared = {1: {"file_name": name}, 2: {"type": kind}}.get(number % 4, {})
    if kind is Kind.DOCUMENT and name.endswith("txt"):
        declared = {"file_name": name}
    # A mutation may well make a film of what was sound.
    others = [rendition for other, first in RENDITIONS.items() if other is not kind for rendition in first[0]]
    return replace(_TASK, renditions=(*sets[number // 4 % len(sets)], *others), **declared)  # type: ignore[arg-type]


def run(kind: Kind, numbers: range, seed: int, workers: int, keep: Path) -> bool:
    """Decode the files of these numbers; print the report and tell whether all ended as they may."""
    files = seeds(kind)
    servers: SimpleQueue[Server] = SimpleQueue()
    for _ in range(workers):
        servers.put(Server())

    def one(number: int) -> tuple[int, Verdict]:
        name, content = mutated(number, seed, files)
        server = servers.get()
        try:
            verdict = server.decode(content, task_of(kind, number, name))
        finally:
            servers.put(server)
        if verdict.is_defect:
            keep.mkdir(parents=True, exist_ok=True)
            stem = f"{kind.lower()}-{seed}-{number}"
            (keep / f"{stem}-{name}").write_bytes(content)
            (keep / f"{stem}.txt").write_text(f"{replace(verdict, log='')}\n{verdict.log}\n", encoding="utf-8")
        return number, verdict

    start = time.monotonic()
    found: list[tuple[int, Verdict]] = []
    with ThreadPoolExecutor(workers) as pool:
        # In slices: a map over all of them would hold them all.
        for at in range(0, len(numbers), 100):
            try:
                found += pool.map(one, numbers[at : at + 100])
            except KeyboardInterrupt:  # what has been found until then is a report as well
                break
            print(f"{kind}: {len(found)} of {len(numbers)}, {_rate(found, start)}", file=sys.stderr, flush=True)
    while not servers.empty():
        servers.get().__exit__(None, None, None)
    _print_report(kind, found, len(files), _rate(found, start))
    return not any(verdict.is_defect for _, verdict in found)


def _print_report(kind: Kind, found: list[tuple[int, Verdict]], files: int, rate: str) -> None:
    print(f"{kind}: {len(found)} mutations of {files} files, {rate}")
    numbers: dict[str, list[int]] = {}
    for number, verdict in found:
        numbers.setdefault(verdict.reason or "rendered", []).append(number)
    for reason, those in sorted(numbers.items(), key=lambda each: -len(each[1])):
        print(f"  {reason:<20} {len(those):>7}  {' '.join(map(str, those[:_EXAMPLES]))}")
    signals = Counter(verdict.signal for _, verdict in found if verdict.signal)
    crashes = Counter(number for _, verdict in found for number in verdict.crashes)
    print(f"  children ended by signal {dict(signals)}, ffmpeg crashed by {dict(crashes)}")
    print(f"  hung {sum(verdict.hung for _, verdict in found)}, {sum(verdict.is_defect for _, verdict in found)} kept")
    slowest, largest = max(found, key=lambda each: each[1].seconds), max(found, key=lambda each: each[1].kib)
    print(f"  slowest {slowest[1].seconds:.1f} s (number {slowest[0]}, {slowest[1].reason or 'rendered'})")
    print(f"  largest {largest[1].kib / 1024:.0f} MiB (number {largest[0]}, {largest[1].reason or 'rendered'})")


def _rate(found: list[tuple[int, Verdict]], start: float) -> str:
    return f"{len(found) / (time.monotonic() - start):.1f} a second"


def main() -> None:
    """Fuzz the kinds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", type=Kind, choices=list(Kind), action="append", help="all kinds by default")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one file again")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    given = parser.parse_args()
    # In the background a shell has it ignored; whoever stops a run gets the report of what was done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    numbers = range(given.count) if given.only is None else range(given.only, given.only + 1)
    sound = [run(kind, numbers, given.seed, given.workers, given.keep) for kind in given.kind or list(Kind)]
    sys.exit(0 if all(sound) else 1)


if __name__ == "__main__":
    main()
