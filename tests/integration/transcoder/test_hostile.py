"""No file makes the transcoder read a second one or open a connection, whatever it is and says that it is."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ffmpeg
import pytest

import hostile
from bench import Bench
from containers import FFMPEG, film
from hostile import MARK, RELATIVE, Trap
from media_transcoder import command
from media_transcoder.command import DEMUXERS
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason

#: How a source that is no use may end: all of them are about the source, and none is tried again.
REFUSED = {Reason.UNSUPPORTED_TYPE, Reason.TYPE_MISMATCH, Reason.UNDECODABLE, Reason.LIMIT_EXCEEDED}

#: Dozens of files in one test.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def trap(bench: Bench) -> Iterator[Trap]:
    made = Trap(bench.store.parent)
    made.sprung()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "options", "sprung"),
    [
        ("playlist", ["-f", "hls"], "secret.ts"),
        ("playlist, relative", ["-f", "hls"], "secret.ts"),
        ("playlist of a server", ["-protocol_whitelist", "file,http,tcp", "-f", "hls"], "a connection"),
        ("ffconcat", ["-f", "concat", "-safe", "0"], "secret.ts"),
        ("ffconcat, absolute", ["-f", "concat", "-safe", "0"], "secret.ts"),
        ("MOV with an alias", ["-enable_drefs", "1", "-use_absolute_path", "1"], "secret.mov"),
        ("MOV with a relative alias", ["-enable_drefs", "1"], "secret.mov"),
    ],
)
def test_the_trap_springs_without_our_options(
    bench: Bench, trap: Trap, name: str, options: list[str], sprung: str
) -> None:
    # In a directory of its own inside scratch, as an attempt has it: so the relative paths are the same.
    source = bench.scratch / "transcode" / "source"
    source.parent.mkdir()
    source.write_bytes(hostile.attacks(trap)[name][1])
    trap.sprung()
    command = [*FFMPEG, "-rw_timeout", "1000000", *options, "-i", str(source), "-frames:v", "1", "-f", "null", "-"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(20)
        finally:
            process.kill()
    assert sprung in trap.sprung()
    assert (source.parent / f"{RELATIVE}/secret.ts").exists()


def test_nobody_reads_a_second_file(bench: Bench, trap: Trap) -> None:
    found = {}
    for attempt, (name, (file_name, content)) in enumerate(hostile.attacks(trap).items(), 1):
        task = replace(bench.put(content), uid=str(attempt), file_name=file_name)
        trap.sprung()
        ended = bench.run(task)
        assert trap.sprung() == [], name
        assert MARK not in ended.log + str(ended.progress), name
        assert bench.is_clean(), name
        found[name] = ended.reason
    assert {name: reason for name, reason in found.items() if reason not in {None, *REFUSED}} == {}
    # What is sound apart from its references is taken: so the others did not all fail for a reason beside the point.
    taken = {name for name, reason in found.items() if reason is None}
    assert taken >= {"MKV with links", "MP3 with a linked cover", "WAV with a linked cover", "DOCX with references"}
    assert not leaks(bench)


def test_the_options_alone_keep_ffmpeg_from_it(bench: Bench, trap: Trap) -> None:
    # The kernel would refuse the child other files; here nothing but the list of demuxers and protocols stands between.
    demuxers = ",".join(set(DEMUXERS.values()))
    source = bench.scratch / "transcode" / "source"
    source.parent.mkdir()
    opened = 0
    for name, (_, content) in hostile.attacks(trap).items():
        source.write_bytes(content)
        trap.sprung()
        with contextlib.suppress(MediaError):
            opened += bool(command.ffprobe(source, demuxers)["streams"])
        decode = ffmpeg.input(str(source), **command.input_options(demuxers)).output("-", f="null").compile()
        with contextlib.suppress(MediaError):
            command.ffmpeg(decode, lambda *_: None)
        assert trap.sprung() == [], name
    assert opened


@pytest.mark.parametrize("kind", list(Kind))
def test_a_declared_type_opens_nothing_more(bench: Bench, trap: Trap, kind: Kind) -> None:
    attacks = hostile.attacks(trap)
    trap.sprung()
    for attempt, name in enumerate(("playlist, relative", "ffconcat", "DASH", "SVG", "MOV with an alias"), 1):
        task = replace(bench.put(attacks[name][1]), uid=str(attempt), type=kind)
        ended = bench.run(task)
        # Whoever declares a text may store one: it is kept as it is.
        assert ended.reason in ({None, *REFUSED} if kind is Kind.DOCUMENT else REFUSED), name
    assert trap.sprung() == []
    assert not leaks(bench)


def test_a_name_is_never_a_path(bench: Bench, trap: Trap) -> None:
    content = film()
    for attempt, name in enumerate(hostile.names(trap), 1):
        ended = bench.run(replace(bench.put(content), uid=str(attempt), file_name=name))
        assert ended.reason is None, (name, ended.log)
    assert trap.sprung() == []


def test_of_a_polyglot_only_the_pixels_are_published(bench: Bench) -> None:
    for attempt, (name, (file_name, content)) in enumerate(hostile.polyglots().items(), 1):
        assert hostile.PAYLOAD in content or b"PK\x03\x04" in content
        ended = bench.run(replace(bench.put(content), uid=str(attempt), file_name=file_name))
        assert ended.reason in {None, Reason.UNDECODABLE}, (name, ended.log)
    published = [(bench.store / key).read_bytes() for key in bench.objects("media/")]
    assert len(published) >= 8
    assert not [content for content in published if b"payload" in content or b"PK\x03\x04" in content]


def leaks(bench: Bench) -> list[str]:
    """Name the objects that hold something of a planted file."""
    return [key for key in bench.objects() if MARK.encode() in Path(bench.store, key).read_bytes()]
