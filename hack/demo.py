"""The main job on real media: a photograph, a clip and a sound go into `media standalone`, and come out for the web.

On a terminal it keeps serving until Ctrl-C. Every URL is fetched back and checked in any case; the exit code is 0 only
when all three are ready and every file is what it should be.
"""
# ruff: noqa: INP001 - a script, not a package

import io
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import httpx2
from PIL import Image
from rich.console import Console
from rich.markup import escape

from media_cli import show, upload
from media_cli.client import Client, Json
from media_cli.target import Target

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "photo.jpg"

#: Seconds that the server may take to start and to stop, and the three files to become ready.
START, STOP, READY = 30.0, 15.0, 180.0

#: A C major chord that fades away, twice in each second.
CHORD = "0.2*(sin(523.25*2*PI*t)+sin(659.26*2*PI*t)+sin(783.99*2*PI*t))*exp(-3*mod(t\\,0.5))"

#: What each file must become: type and dimensions by rendition of the profile `web` (a sound has none).
EXPECTED: dict[str, dict[str, tuple[str, str | None]]] = {
    "photo.jpg": {
        "thumbnail": ("image/jpeg", "150x150"),
        "small": ("image/jpeg", "320x240"),
        "medium": ("image/jpeg", "640x480"),
        "large": ("image/jpeg", "1080x810"),
        "webp": ("image/webp", "640x480"),
        "original": ("image/jpeg", "4032x3024"),
    },
    "clip.mp4": {"mp4": ("video/mp4", "1280x720"), "thumbnail": ("image/jpeg", "640x360")},
    "chord.wav": {"mp3": ("audio/mpeg", None)},
}

console = Console()


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class File(NamedTuple):
    """What a fetched file is: its size in bytes, the type it was sent as, and its dimensions by its own content."""

    size: int = 0
    content_type: str = ""
    dimensions: str | None = None


def main() -> int:
    """Run the demo and return its exit code."""
    began = time.monotonic()
    # Whoever ends the demo politely ends the server with it.
    signal.signal(signal.SIGTERM, _leave)
    try:
        with tempfile.TemporaryDirectory(prefix="media-demo-") as name:
            directory = Path(name)
            console.print("Making a clip and a sound ...")
            files = [PHOTO, make_clip(directory / "clip.mp4"), make_sound(directory / "chord.wav")]
            with serve(directory / "data") as (server, target), Client(target) as client:
                console.print(f"Serving at {target.url}", highlight=False)
                faults = run(client, files)
                for fault in faults:
                    console.print(f"[red]wrong:[/] {show.text(fault)}", soft_wrap=True, highlight=False)
                if faults:
                    console.print(f"The server's last words:\n{last_words(directory / 'data.log')}", soft_wrap=True)
                    return 1
                console.print(f"[green]All is as it should be[/] after {time.monotonic() - began:.1f} s.")
                if sys.stdout.isatty() and sys.stdin.isatty():
                    keep_serving(server, target, directory)
    except DemoError as error:
        console.print(f"[red]{show.text(error)}[/]", soft_wrap=True, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    return 0


def run(client: Client, files: list[Path]) -> list[str]:
    """Upload the files, wait for them, print what became of them, and return what is wrong with it."""
    uploads = [upload.Upload(file) for file in files]
    console.print(f"Uploading {', '.join(file.name for file in files)} and waiting until all are ready ...")
    with upload.bars(console, shown=console.is_terminal) as progress:
        upload.send(client, uploads, {}, progress)
        upload.wait(client, uploads, progress, READY)
    return [fault for one in uploads for fault in judge(one)]


def judge(one: upload.Upload) -> Iterator[str]:
    """Print one asset with its files, and yield what is wrong with it."""
    name = one.path.name
    if one.error or one.asset is None:
        yield f"{name}: {one.error or one.problem or 'was not sent'}"
        return
    show.asset(console, one.asset)
    if one.late:
        yield f"{name}: still {one.asset['status']} after {READY:.0f} s"
    elif one.asset["status"] != "ready":
        yield f"{name}: {one.asset['status']}: {show.failure(one.asset)}"
    listed = {item["name"]: item for item in one.asset["renditions"] if item["url"]}
    for rendition, (content_type, dimensions) in EXPECTED[name].items():
        if rendition not in listed:
            yield f"{name}: has no {rendition}"
            continue
        item = listed[rendition]
        file, faults = fetch(item["url"])
        yield from (f"{name}: {rendition}: {fault}" for fault in faults)
        if (file.content_type, file.dimensions) != (content_type, dimensions):
            yield f"{name}: {rendition} is {file}, not {content_type} {dimensions or ''}"
        told = File(item["file_size"], item["mime_type"], show.dimensions(item) if item["width"] else None)
        if told != file:
            yield f"{name}: {rendition} is {file}, the answer says {told}"


def fetch(url: str) -> tuple[File, list[str]]:
    """Fetch a file as a browser would; return what it is by its own content, and what is wrong with it."""
    try:
        # As it lies there: a compressed answer would have another length.
        answer = httpx2.get(url, timeout=30, headers={"Accept-Encoding": "identity"})
    except httpx2.HTTPError as error:
        return File(), [f"cannot be fetched: {error}"]
    body, stated = answer.content, answer.headers.get("Content-Length")
    content_type = answer.headers.get("Content-Type", "")
    if answer.status_code != httpx2.codes.OK:
        return File(len(body), content_type), [f"is answered with {answer.status_code}"]
    faults = [] if stated == str(len(body)) else [f"has {len(body)} bytes, Content-Length is {stated}"]
    try:
        dimensions = image_dimensions(body) if content_type.startswith("image/") else stream_dimensions(body)
    except DemoError as error:
        return File(len(body), content_type), [*faults, str(error)]
    return File(len(body), content_type, dimensions), faults


def image_dimensions(body: bytes) -> str:
    """Decode an image completely and return its dimensions; raises DemoError."""
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(body)) as image:
            image.load()
            return f"{image.width}x{image.height}"
    except (OSError, ValueError, SyntaxError, Warning) as error:
        message = f"does not decode: {error}"
        raise DemoError(message) from error


def stream_dimensions(body: bytes) -> str | None:
    """Decode a video or sound completely and return its dimensions, None for a sound; raises DemoError."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command("ffmpeg", "-v", "error", "-xerror", "-i", file.name, "-f", "null", "-")
        found = command("ffprobe", "-v", "error", "-show_streams", "-of", "json", file.name)
    streams: list[Json] = json.loads(found)["streams"]
    return next((f"{one['width']}x{one['height']}" for one in streams if one["codec_type"] == "video"), None)


def make_clip(path: Path) -> Path:
    """Make six seconds of a slow zoom into the photograph, with the chord."""
    # A photograph has the full range of levels, a video the limited one.
    zoom = (
        "scale=2560:-2:out_range=tv,zoompan=z=1+on/300:x=(iw-iw/zoom)*on/300:y=(ih-ih/zoom)/2:d=150:s=1280x720:fps=25"
    )
    command(
        *("ffmpeg", "-v", "error", "-y", "-i", str(PHOTO), "-f", "lavfi", "-i", f"aevalsrc={CHORD}:s=48000:d=6"),
        *("-vf", f"{zoom},format=yuv420p", "-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"),
        str(path),
    )
    return path


def make_sound(path: Path) -> Path:
    """Make five seconds of the chord as a WAV."""
    command("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"aevalsrc={CHORD}:s=44100:d=5", str(path))
    return path


def command(*argv: str) -> str:
    """Run a program and return what it printed; raises DemoError when it fails or complains."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{argv[0]}: {error}"
        raise DemoError(message) from error
    if done.returncode or done.stderr:
        message = f"{argv[0]} says: {done.stderr.strip() or done.returncode}"
        raise DemoError(message)
    return done.stdout


@contextmanager
def serve(data: Path) -> Iterator[tuple[subprocess.Popen[str], Target]]:
    """Run standalone on a free port with a data directory of its own, and stop it in the end."""
    log = data.with_suffix(".log")
    # Settings of a person's own server, such as its token, are not the demo's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "media_standalone", "--port", "0", "--data-dir", str(data)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # A Ctrl-C is for the demo, which stops the server in order.
            start_new_session=True,
        )
    try:
        url = address(server, log)
        yield server, Target(url, (data / "token").read_text().strip())
    finally:
        stop(server)


def address(server: subprocess.Popen[str], log: Path) -> str:
    """Wait for the line in which standalone says where it serves; raises DemoError when it does not."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        # The pipe is read to its end, for a full one would stop the server.
        for line in server.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + START
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            line = ""
        if line.startswith("Serving "):
            return line.split()[1]
        if not line:
            message = f"standalone did not start:\n{log.read_text()[-2000:]}"
            raise DemoError(message)


def last_words(log: Path) -> str:
    """Return the end of the server's log, without the requests that went well."""
    lines = [line for line in log.read_text().splitlines() if " request " not in line or " status=5" in line]
    return escape("\n".join(lines[-20:]))


def stop(server: subprocess.Popen[str]) -> None:
    """End the server, and what it started, whatever it does."""
    server.terminate()
    try:
        server.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def keep_serving(server: subprocess.Popen[str], target: Target, directory: Path) -> None:
    """Say how to go on, and serve until Ctrl-C."""
    console.print("\nOpen the URLs above, or upload a file of your own from another terminal:", highlight=False)
    cli = Path(sys.executable).with_name("media")
    token = directory / "data" / "token"
    console.print(
        f"  {cli} upload --wait --url {target.url} --token-file {token} FILE", soft_wrap=True, highlight=False
    )
    console.print("Ctrl-C stops the server and removes what it made.")
    try:
        server.wait()
    except KeyboardInterrupt:
        console.print("Stopped.")
        return
    message = f"standalone ended by itself with {server.returncode}"
    raise DemoError(message)


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
