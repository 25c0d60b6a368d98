"""The main job on the real cluster: what people send becomes files behind URLs that anybody can load."""

import hashlib
import secrets
import subprocess
from pathlib import Path

import httpx2
import pytest

from installed import Installed

PHOTO = Path(__file__).parents[1] / "data/photo.jpg"


@pytest.fixture(scope="module")
def files(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a photograph, a clip and a sound."""
    sound = tmp_path_factory.mktemp("media") / "chord.wav"
    audio = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *audio, str(sound)], check=True, timeout=60)
    return {"photo": PHOTO, "clip": clip, "sound": sound}


@pytest.mark.parametrize(
    ("kind", "renditions"),
    [
        ("photo", {"thumbnail", "small", "medium", "large", "webp", "original"}),
        ("clip", {"mp4", "thumbnail"}),
        ("sound", {"mp3"}),
    ],
)
def test_upload_becomes_ready_and_every_url_gives_the_bytes_of_the_status(
    media: Installed, files: dict[str, Path], kind: str, renditions: set[str]
) -> None:
    body = media.finished(media.upload(files[kind])["id"])
    assert (body["status"], body["error"]) == ("ready", None)
    assert {name for name, url in body["urls"].items() if url} >= renditions
    status = media.asset(body["id"])["status"]
    assert {each["name"] for each in status["renditions"]} == renditions
    for rendition in status["renditions"]:
        answer = httpx2.get(rendition["url"], timeout=30)
        assert answer.status_code == 200, rendition
        assert answer.headers["Content-Type"] == rendition["mimeType"]
        assert hashlib.sha256(answer.content).hexdigest() == rendition["sha256"]
        assert len(answer.content) == rendition["sizeBytes"]
    inside = fetched_by_a_pod(media, [each["url"] for each in status["renditions"]])
    assert inside == {each["url"]: f"200 {each['sha256']}" for each in status["renditions"]}


FETCH = """
import hashlib, sys, urllib.request
for url in sys.argv[1:]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        print(url, answer.status, hashlib.sha256(answer.read()).hexdigest())
"""


def fetched_by_a_pod(media: Installed, urls: list[str]) -> dict[str, str]:
    """Fetch URLs from inside the cluster, in a namespace that enforces the restricted standard."""
    name = f"fetch-{secrets.token_hex(4)}"
    container = {
        "name": "fetch",
        "image": "media-operator/ingest:dev",
        "command": ["python3", "-c", FETCH, *urls],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    media.cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}
    )
    media.cluster.kubectl(
        "wait", "-n", "shop", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
    )
    lines = media.cluster.kubectl("logs", "-n", "shop", name).splitlines()
    media.cluster.kubectl("delete", "pod", name, "-n", "shop", "--wait=false")
    return dict(line.split(" ", 1) for line in lines)
