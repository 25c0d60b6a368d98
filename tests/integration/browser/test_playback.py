"""What the transcoder makes, loaded from another origin and played to its end by a browser."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import gateway
import s3server
from bench import Bench
from media_standalone.datadir import DataDir
from mediaasset.media import Kind
from mediaasset.signing import UrlSigner
from mediaasset.task import Format, Rendition, decode
from standalone import started

ROOT = Path(__file__).parents[3]
PLAYER = Path(__file__).with_name("player.js")
SHOP = "https://shop.test/"
PROFILES = ROOT / "charts/media-operator/files/profiles"


# Not for the session: while it is there its event loop counts as running, and tests with loops of their own follow.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not in PATH: hack/setup.sh test installs it"
    with sync_playwright() as playwright:
        arguments = [
            # In a container there is no user namespace for its sandbox; all that it loads is ours.
            "--no-sandbox",
            "--autoplay-policy=no-user-gesture-required",
            # The shop's page stands for one on the internet, and our server for another; only here is it on loopback.
            "--disable-features=LocalNetworkAccessChecks",
        ]
        yield playwright.chromium.launch(executable_path=chromium, args=arguments)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    # A secure origin of its own, without a server: what is loaded from standalone is another's.
    page.route(
        "https://shop.test/", lambda route: route.fulfill(body="<!doctype html><body>", content_type="text/html")
    )
    page.goto("https://shop.test/")
    (hls,) = (ROOT / ".tools").glob("hls.js@*/package/dist/hls.min.js")
    for script in (hls, PLAYER):
        page.add_script_tag(content=script.read_text())
    yield page
    context.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, str]]:
    """Run a standalone; yield a bench over its store, and the address under which it serves that."""
    path = tmp_path_factory.mktemp("browser")
    (path / "scratch").mkdir()
    data = DataDir(path / "data")
    with started(data.path) as server:
        yield Bench(data.store, path / "scratch"), server.base_url


def made(
    served: tuple[Bench, str], source: Path, renditions: tuple[Rendition, ...], uid: str, top: str = "media"
) -> dict[str, str]:
    """Transcode a file; return the URLs of its renditions by their names."""
    bench, address = served
    task = replace(bench.put(source, uid), uid=uid, prefix=f"{top}/ns/assets/{uid}/", renditions=renditions)
    ended = bench.run(task)
    assert ended.code == 0, ended.log
    return {each.name: f"{address}/{each.key}" for each in bench.result(uid).renditions}


def profile(name: str) -> tuple[Rendition, ...]:
    """Return the renditions of a built-in profile."""
    body = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    return tuple(
        decode(Rendition, {key: value for key, value in entry.items() if key != "for"} | {"kind": entry["for"]})
        for entry in body["spec"]["renditions"]
    )


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True, timeout=100)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six seconds of a teal film with sound that no browser plays."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    # Of this size, a film that does not say so is taken for BT.709.
    drawn = "color=teal:s=1280x720:r=25:d=6,format=rgb24,drawbox=w=64:h=64:color=white:t=fill"
    picture = ["-f", "lavfi", "-i", f"{drawn},scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=6"]
    ffmpeg(*picture, *sound, "-c:v", "mpeg4", "-q:v", "2", "-c:a", "flac", path)
    return path


@pytest.fixture(scope="session")
def streamed(served: tuple[Bench, str], film: Path) -> dict[str, str]:
    return made(served, film, profile("streaming"), "film")


#: Teal in sRGB, and how far a coded picture may be off.
TEAL = pytest.approx([0, 128, 128], abs=8)


def test_mp4_plays_to_its_end_in_its_colours(page: Page, streamed: dict[str, str]) -> None:
    played: dict[str, Any] = page.evaluate("url => playVideo(url)", streamed["mp4"])
    assert (played["width"], played["height"]) == (1280, 720)
    assert played["duration"] == pytest.approx(6, abs=0.1)
    assert played["middle"] == TEAL
    # A slow machine drops some of the 150, and counts those as well.
    assert played["frames"] == pytest.approx(150, abs=3)


def test_mp4_can_be_entered_anywhere(page: Page, streamed: dict[str, str]) -> None:
    assert page.evaluate("url => seek(url, 4.5)", streamed["mp4"]) < 0.05


def test_every_size_of_a_ladder_plays_to_its_end(page: Page, streamed: dict[str, str]) -> None:
    levels: list[dict[str, Any]] = page.evaluate("url => playLadder(url)", streamed["hls"])
    assert sorted((level["width"], level["height"]) for level in levels) == [(854, 480), (1280, 720)]
    for level in levels:
        assert level["sounds"] == 1
        assert level["videoCodec"].startswith("avc1.64")
        played = level["played"]
        assert played["duration"] == pytest.approx(6, abs=0.1)
        assert played["height"] == level["height"]


@pytest.fixture(scope="session")
def unpublished(served: tuple[Bench, str], film: Path) -> dict[str, str]:
    """Return the keys of the renditions of a private film."""
    names = [each for each in profile("streaming") if each.name in ("hls", "storyboard")]
    urls = made(served, film, tuple(names), "unpublished", "private")
    return {name: url.removeprefix(f"{served[1]}/") for name, url in urls.items()}


@contextmanager
def _standalone_signer(served: tuple[Bench, str], path: Path) -> Iterator[UrlSigner]:
    bench, address = served
    yield UrlSigner(address, DataDir(bench.store.parent).url_secret())


@contextmanager
def _gateway_signer(served: tuple[Bench, str], path: Path) -> Iterator[UrlSigner]:
    secret = "a secret of this test, and of no other"
    with s3server.start(path / "s3") as server:
        account = server.create_account("gateway")
        bucket = gateway.bucket(server, account=account, signed_urls=True)
        for file in (served[0].store / "private").rglob("*.*"):
            obstore.put(bucket.store, str(file.relative_to(served[0].store)), file.read_bytes())
        environment = server.environment("media", account=account) | {"GATEWAY_SIGNING_KEY": secret}
        with gateway.start(path / "gateway", server.endpoint, **environment) as running:
            yield UrlSigner(running.base_url, secret.encode())


@pytest.mark.parametrize("signing", [_standalone_signer, _gateway_signer])
def test_private_film_plays_by_one_signed_url(
    page: Page,
    served: tuple[Bench, str],
    unpublished: dict[str, str],
    tmp_path: Path,
    signing: Callable[..., Any],
) -> None:
    with signing(served, tmp_path) as signer:
        url = signer.url(unpublished["hls"], timedelta(hours=1))
        levels: list[dict[str, Any]] = page.evaluate("url => playLadder(url)", url)
        assert sorted(level["height"] for level in levels) == [480, 720]
        assert all(level["played"]["duration"] == pytest.approx(6, abs=0.1) for level in levels)
        # A player without a browser's rules goes the same way.
        ffmpeg("-i", url, "-f", "null", "-")
        cues = page.evaluate("url => readCues(url)", signer.url(unpublished["storyboard"], timedelta(hours=1)))
        assert all(cue["within"] for cue in cues)


def test_storyboard_covers_the_film(page: Page, streamed: dict[str, str]) -> None:
    cues: list[dict[str, Any]] = page.evaluate("url => readCues(url)", streamed["storyboard"])
    assert all(cue["within"] for cue in cues)
    assert cues[0]["start"] == 0
    assert cues[-1]["end"] == pytest.approx(6, abs=0.1)
    assert [cue["start"] for cue in cues[1:]] == [cue["end"] for cue in cues[:-1]]


def test_poster_shows_the_film(page: Page, streamed: dict[str, str]) -> None:
    assert page.evaluate("url => showImage(url)", streamed["thumbnail"])["middle"] == TEAL


@pytest.mark.parametrize("codec", ["libmp3lame", "pcm_s16le", "libopus", "flac"])
def test_sound_plays_to_its_end(page: Page, served: tuple[Bench, str], tmp_path: Path, codec: str) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=1.5", "-c:a", codec, tmp_path / "sound.mkv")
    renditions = (
        Rendition(name="mp3", kind=Kind.AUDIO, format=Format.MP3),
        Rendition(name="voice", kind=Kind.AUDIO, format=Format.OPUS),
    )
    for url in made(served, tmp_path / "sound.mkv", renditions, f"sound-{codec}").values():
        assert page.evaluate("url => playAudio(url)", url)["duration"] == pytest.approx(1.5, abs=0.1)


FORMATS = (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.ORIGINAL)


def test_every_image_format_is_shown_in_its_colours(page: Page, served: tuple[Bench, str], tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "picture.png")
    renditions = tuple(Rendition(name=each.lower(), kind=Kind.IMAGE, format=each, width=150) for each in FORMATS)
    urls = made(served, tmp_path / "picture.png", renditions, "picture")
    assert len(urls) == len(FORMATS)
    for name, url in urls.items():
        shown: dict[str, Any] = page.evaluate("url => showImage(url)", url)
        assert (shown["width"], shown["height"]) == (150, 100), name
        assert shown["middle"] == TEAL, name


def test_an_animation_keeps_its_frames(page: Page, served: tuple[Bench, str], tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "animation.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    webp = Rendition(name="animation", kind=Kind.IMAGE, format=Format.WEBP, animated=True)
    (url,) = made(served, tmp_path / "animation.gif", (webp,), "animation").values()
    assert page.evaluate("url => countFrames(url, 'image/webp')", url) == 3
