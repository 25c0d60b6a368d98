"""Upgrade, uninstall and install again, with work under way. Last of all, for it takes the release away from others."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

import installed
from cluster import ASSETS, Json
from elsewhere import BUILDERS
from installed import COMPONENTS, RELEASE, SYSTEM, WORK, Installed
from mediaasset import policies
from mediaasset.signing import UrlSigner
from mediacommand import answer
from mediacommand import media as media_command
from service import wait_for

DATA = Path(__file__).parents[1] / "data"
PHOTO = (DATA / "photo.jpg").read_bytes()
ORIGIN = "https://shop.example.org"


@pytest.fixture(scope="module")
def other_tag() -> str:
    """Return a tag of images that no node has yet."""
    return f"e2e-{secrets.token_hex(4)}"


@pytest.fixture
def restored(media: Installed) -> Iterator[Installed]:
    yield media
    media.install()


def tag(component: str, new: str) -> str:
    """Give a local image another tag; return its name."""
    name = f"media-operator/{component}"
    tool = next(program for program in BUILDERS if shutil.which(program))
    subprocess.run([tool, "tag", f"{name}:dev", f"{name}:{new}"], check=True, capture_output=True)
    return f"{name}:{new}"


def waiting_for_an_image(media: Installed, uid: str) -> bool:
    pods = media.cluster.find("pods", WORK, f"media-operator.io/asset-uid={uid}")
    states = [each["state"].get("waiting", {}) for pod in pods for each in pod["status"].get("containerStatuses", [])]
    return any(state.get("reason") in {"ErrImagePull", "ImagePullBackOff"} for state in states)


def test_helm_test_passes_and_says_what_it_asked(media: Installed) -> None:
    said = media.test()
    assert "/readyz 200" in said
    assert "/healthz 200" in said


@pytest.fixture
def bare(restored: Installed) -> Installed:
    """Give the release another bucket, of which nothing is set, and accounts that have no rights yet.

    All names are short: versitygw keeps the settings of a bucket in an extended attribute each, 4 KB in all.
    """
    word = secrets.token_hex(2)
    s3, bucket = restored.s3, f"b{word}"
    s3.create_bucket(bucket)
    accounts = {name: s3.create_account(f"{name[0]}{word}") for name in restored.accounts}
    for name, account in {"owner": s3.root, **accounts}.items():
        restored.cluster.secret(f"bare-{name}", SYSTEM, **installed.credentials(account))
    used = {name: {"existingSecret": f"bare-{name}"} for name in accounts} | {
        "transcoder": {"existingSecret": "s3-transcoder"}
    }
    principals = {name: account.access_key for name, account in accounts.items()}
    apply = {"enabled": True, "existingSecret": "bare-owner", "principals": principals, "corsOrigins": [ORIGIN]}
    values = {
        **restored.values,
        "s3": {**restored.values["s3"], "bucket": bucket, "prefix": "", "credentials": used},
        "bucket": {"apply": apply},
    }
    return replace(restored, bucket=bucket, prefix="", accounts=accounts, values=values)


def settings(media: Installed) -> tuple[Json, list[Json]]:
    """Return the policy and the CORS rules of the bucket."""
    s3 = media.s3.client()
    policy: Json = json.loads(s3.get_bucket_policy(Bucket=media.bucket)["Policy"])
    return policy, s3.get_bucket_cors(Bucket=media.bucket)["CORSRules"]


def test_bucket_that_the_chart_makes_ready_is_served_by_the_account_of_the_gateway(bare: Installed) -> None:
    media = bare
    media.install()
    policy, cors = settings(media)
    # Nobody may read it without an account.
    assert all(each["Principal"] not in ("*", {"AWS": "*"}) for each in policy["Statement"])
    assert {origin for rule in cors for origin in rule["AllowedOrigins"]} == {ORIGIN}

    status = media.ready(media.apply(PHOTO))["status"]
    [url] = [each["url"] for each in status["renditions"] if each["name"] == "medium"]
    answer = httpx2.get(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    missing = httpx2.get(url.replace("medium", "absent"))
    assert missing.status_code == 404
    [key] = [each["key"] for each in status["renditions"] if each["name"] == "medium"]
    assert httpx2.get(f"{media.s3.endpoint}/{media.bucket}/{media.key(key)}").status_code == 403

    media.install()
    assert settings(media) == (policy, cors)
    assert media.cluster.find("jobs", SYSTEM, installed.labels("bucket")) == []

    # Who may not change the bucket ends the upgrade, in words that say what is missing; what runs goes on.
    media.cluster.secret("bare-owner", SYSTEM, **installed.credentials(media.accounts["operator"]))
    with pytest.raises(AssertionError) as refused:
        media.install()
    # What Helm itself printed, before the pods and logs that the test adds.
    printed, _, _ = str(refused.value).partition("\nNAME")
    assert "policy: forbidden" in printed
    assert "s3:GetBucketPolicy" in printed
    assert settings(media) == (policy, cors)
    assert httpx2.get(url.replace("medium", "missing")).status_code == 404


def test_private_media_are_shown_by_a_gateway_that_has_a_secret(restored: Installed) -> None:
    media = restored
    secret = secrets.token_urlsafe(36)
    media.cluster.secret("s3-gateway", SYSTEM, **installed.credentials(media.accounts["gateway"]))
    media.cluster.secret("media-signing", SYSTEM, current=secret)
    named = {name: account.access_key for name, account in media.accounts.items()}
    media.s3.put_policy(media.bucket, policies.bucket_policy(media.bucket, media.prefix, named, signed_urls=True))
    s3 = media.values["s3"]
    credentials = {**s3["credentials"], "gateway": {"existingSecret": "s3-gateway"}}
    gateway = {**media.values["gateway"], "signing": {"existingSecret": "media-signing"}}
    try:
        media.install({"s3": {**s3, "credentials": credentials}, "gateway": gateway})
        body = media.finished(media.upload(DATA / "photo.jpg", is_public="false")["id"])
        assert body["status"] == "ready", body
        for url in (each["url"] for each in body["renditions"] if each["url"]):
            assert url.startswith(f"{media.base_url}/private/~")
            assert httpx2.get(url).status_code == 200
            refused = httpx2.get(url.replace("/~", "/~1"))
            assert (refused.status_code, refused.json()["type"]) == (
                403,
                "urn:media-operator:problem:signature-invalid",
            )
        with media.client() as client:
            moved = client.get(f"/api/media/{body['id']}/download/?rendition=large", follow_redirects=False)
        saved = httpx2.get(moved.headers["Location"])
        assert moved.headers["Location"].startswith(f"{media.base_url}/private/~")
        assert saved.headers["Content-Disposition"].endswith("-large.jpg")
        # The segments of a playlist come by its token.
        tree = f"private/shop/assets/{secrets.token_hex(4)}/hls-0123456789abcdef/"
        media.put(f"{tree}index.m3u8", b"#EXTM3U")
        media.put(f"{tree}720.mp4", PHOTO)
        playlist = UrlSigner(media.base_url, secret.encode()).url(f"{tree}index.m3u8", timedelta(hours=1))
        assert httpx2.get(playlist).headers["Content-Type"] == "application/vnd.apple.mpegurl"
        assert httpx2.get(playlist.replace("index.m3u8", "720.mp4")).content == PHOTO
    finally:
        media.s3.put_policy(media.bucket, policies.bucket_policy(media.bucket, media.prefix, named))


def test_upgrade_with_work_under_way_loses_nothing_also_when_an_image_comes_late(
    restored: Installed, other_tag: str
) -> None:
    media = restored
    for component in COMPONENTS:
        name = tag(component, other_tag)
        if component != "transcoder":
            media.cluster.load(name)
    before = [media.apply(PHOTO) for _ in range(4)]
    media.install({name: {**media.values[name], "image": {"tag": other_tag}} for name in COMPONENTS})
    during = media.apply(PHOTO)
    uid = media.asset(during)["metadata"]["uid"]
    wait_for(lambda: waiting_for_an_image(media, uid), what="the pod that lacks its image")
    media.cluster.load(f"media-operator/transcoder:{other_tag}")
    for name in (*before, during):
        asset = media.ready(name)
        assert asset["status"]["attempt"] == 1
        assert len(media.jobs(asset["metadata"]["uid"])) == 1
        assert httpx2.get(asset["status"]["url"]).status_code == 200


def test_uninstalled_release_leaves_assets_and_media_and_a_later_one_adopts_them(restored: Installed) -> None:
    media = restored
    name = media.apply(PHOTO)
    before = media.ready(name)
    uid = before["metadata"]["uid"]
    media.uninstall()
    left = media.asset(name)
    assert "finalizers" not in left["metadata"]
    assert left["status"] == before["status"]
    assert media.objects(f"media/shop/assets/{uid}/") == sorted(each["key"] for each in before["status"]["renditions"])
    media.install()
    wait_for(lambda: media.asset(name)["metadata"].get("finalizers"), what="the asset to be held again")
    assert media.asset(name)["status"] == before["status"]
    wait_for(lambda: httpx2.get(before["status"]["url"]).status_code == 200, what="the URL")
    assert len(media.jobs(uid)) <= 1
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--timeout=60s")
    assert media.objects(f"media/shop/assets/{uid}/") == []


def test_route_of_the_gateway_api_leads_to_the_same_places(restored: Installed, facts: Json, tmp_path: Path) -> None:
    media = restored
    gateway = facts.get("gateway")
    assert gateway, "the cluster has no Gateway"
    name = media.apply(PHOTO)
    url = media.ready(name)["status"]["url"]
    media.install({"ingress": {"enabled": False}, "httpRoute": {"enabled": True, "parentRefs": [gateway]}})
    assert media.cluster.find("ingresses", SYSTEM, f"app.kubernetes.io/instance={RELEASE}") == []
    wait_for(lambda: httpx2.get(url).status_code == 200, what="the route")
    wait_for(lambda: installed.serves(media.base_url), what="the route to the API")
    assert media.finished(media.upload(DATA / "photo.jpg")["id"])["status"] == "ready"

    doctor, variables = ("doctor", "-n", SYSTEM), {"KUBECONFIG": str(media.cluster.kubeconfig)}
    found = answer(*doctor, home=tmp_path, code=1, MEDIA_TOKEN=media.token, **variables)
    assert {each["fault"] for each in found if each["fault"]} == {"http-only"}
    assert "ingress" in {each["check"] for each in found if each["severity"] == "ok"}
    nobody = [{"op": "add", "path": "/spec/parentRefs/0/sectionName", "value": "nobody"}]
    release = f"{RELEASE}-media-operator"
    media.cluster.kubectl("patch", "httproute", release, "-n", SYSTEM, "--type=json", "-p", json.dumps(nobody))

    def is_refused() -> bool:
        looked = media_command(*doctor, "--output", "json", home=tmp_path, **variables)
        return "route-refused" in {each["fault"] for each in json.loads(looked.stdout)}

    wait_for(is_refused, what="the Gateway to refuse the route, and the doctor to say so")


def test_release_for_some_namespaces_works_with_rights_in_those_only(restored: Installed) -> None:
    media = restored
    media.install({"watchNamespaces": ["museum", "shop"]})
    (found,) = media.cluster.find("deployments", SYSTEM, installed.labels("operator"))
    account = f"system:serviceaccount:{SYSTEM}:{found['spec']['template']['spec']['serviceAccountName']}"
    for namespace, expected in (("shop", "yes"), ("default", "no")):
        answer = media.cluster.run("auth", "can-i", "list", "mediaassets", "-n", namespace, "--as", account)
        assert answer.stdout.strip() == expected
    elsewhere = media.apply(PHOTO, namespace="default")
    assert media.finished(media.upload(DATA / "photo.jpg")["id"])["status"] == "ready"
    name = media.apply(PHOTO)
    media.ready(name)
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--timeout=60s")
    assert "status" not in media.asset(elsewhere, "default")
    media.install()
    media.ready(elsewhere, "default")
