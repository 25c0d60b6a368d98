"""URLs that stay, from the resource to the Ingress, also while operator and ingest are away."""

from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from cluster import ASSETS, Json
from installed import SYSTEM, Installed, labels
from service import wait_for

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
SMALL = [{"name": "small", "for": "Image", "format": "JPEG", "width": 64, "height": 64}]


def answers(media: Installed, url: str, status: int) -> bool:
    return httpx2.get(media.base_url + urlsplit(url).path).status_code == status


def test_names_answer_as_long_as_the_asset_is_public(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL, stablePath="old/Größe 1.jpg")
    status = media.ready(name)["status"]
    assert urlsplit(status["stableURL"]).path == f"/media/by-name/shop/assets/{name}"
    urls = [f"{status['stableURL']}/small", status["stablePathURL"]]
    own = httpx2.get(status["renditions"][0]["url"])
    for url in urls:
        wait_for(partial(answers, media, url, 200), what=url)
        answer = httpx2.get(media.base_url + urlsplit(url).path)
        assert answer.content == own.content
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.headers["ETag"] == own.headers["ETag"]
        assert answer.headers["Cache-Control"] == "public, max-age=300"
    media.patch(name, {"visibility": "Private"})
    assert "stableURL" not in media.ready(name)["status"]
    wait_for(lambda: all(answers(media, url, 404) for url in urls), what="their end")
    media.patch(name, {"visibility": "Public"})
    assert media.ready(name)["status"]["stableURL"] == status["stableURL"]
    wait_for(lambda: all(answers(media, url, 200) for url in urls), what="them to be back")
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop")
    wait_for(lambda: all(answers(media, url, 404) for url in urls), what="their end")


def test_of_two_the_first_has_a_path(media: Installed) -> None:
    path = "old/taken.jpg"
    first = media.apply(PHOTO, renditions=SMALL, stablePath=path)
    url = media.ready(first)["status"]["stablePathURL"]
    second = media.apply(PHOTO, renditions=SMALL, stablePath=path)
    status = media.ready(second)["status"]
    assert "stablePathURL" not in status
    (condition,) = [each for each in status["conditions"] if each["type"] == "NameTaken"]
    assert condition["message"].startswith(f"/media/shop/{path} is that of the asset shop/{first}.")
    events = media.cluster.kubectl("events", "-n", "shop", "--for", f"{ASSETS}/{second}")
    assert "NameTaken" in events
    media.cluster.kubectl("delete", ASSETS, first, "-n", "shop")
    # Found at the next resync, five minutes later, unless it is woken before.
    media.cluster.kubectl("annotate", ASSETS, second, "-n", "shop", "woken=1")
    wait_for(lambda: media.asset(second)["status"].get("stablePathURL") == url, what="the path to be handed on")
    assert "NameTaken" not in {each["type"] for each in media.asset(second)["status"]["conditions"]}


def test_names_need_neither_operator_nor_ingest(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    url = f"{media.ready(name)['status']['stableURL']}/small"
    wait_for(lambda: answers(media, url, 200), what=url)
    away = [one for each in ("operator", "ingest") for one in media.cluster.find("deployments", SYSTEM, labels(each))]
    try:
        for deployment in away:
            scale(media, deployment, 0)
        for _ in range(15):
            assert answers(media, url, 200)
    finally:
        for deployment in away:
            scale(media, deployment, deployment["spec"]["replicas"])


def scale(media: Installed, deployment: Json, replicas: int) -> None:
    name = f"deployment/{deployment['metadata']['name']}"
    media.cluster.kubectl("scale", name, "-n", SYSTEM, f"--replicas={replicas}")
    media.cluster.kubectl("rollout", "status", name, "-n", SYSTEM, "--timeout=180s")
