"""The pages that install: followed after all other tests, in a cluster from which the release is gone."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import pages
from cluster import ASSETS, Json
from elsewhere import BUILDERS
from installed import COMPONENTS, SYSTEM, WORK, Installed
from pages import ROOT, Reader

PHOTO = ROOT / "tests/data/photo.jpg"
#: The version of the chart, whose images an install takes unless told otherwise.
VERSION = "0.1.0"
HOST = "media.test"


@pytest.fixture
def emptied(media: Installed) -> Iterator[Installed]:
    """Give the cluster without the release, its assets and its namespaces."""
    for namespace in ("shop", "museum", "default"):
        media.cluster.kubectl("delete", ASSETS, "--all", "-n", namespace, "--timeout=120s")
    media.uninstall()
    namespaces = ["namespace", SYSTEM, WORK, "--ignore-not-found", "--timeout=120s"]
    media.cluster.kubectl("delete", *namespaces)
    yield media
    media.cluster.kubectl("delete", *namespaces)


@pytest.fixture
def reader(emptied: Installed, facts: Json, tmp_path: Path) -> Reader:
    media = emptied
    folder = pages.checkout(tmp_path / "checkout")
    shutil.copy(PHOTO, folder)
    (folder / "facts.json").write_text(json.dumps(facts))
    certificate = "openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.crt -days 2"
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run([*certificate.split(), *names], cwd=folder, check=True, capture_output=True)
    bucket = "media"
    if bucket not in {each["Name"] for each in media.s3.client().list_buckets()["Buckets"]}:
        media.s3.create_bucket(bucket)
    address = urlsplit(media.base_url).hostname
    https = urlsplit(str(facts.get("ingress_https", f"https://{address}"))).port or 443
    replaced = {
        "https://s3.example.org     # leave it out at AWS": media.s3.endpoint,
        "https://media.example.org": f"https://{HOST}:{https}" if https != 443 else f"https://{HOST}",
        "media.example.org": HOST,
        "registry.example.org": "docker.io",
        "className: contour": f"className: {facts['ingress_class']}",
        "AWS_ACCESS_KEY_ID=…": f"AWS_ACCESS_KEY_ID={media.s3.access_key}",
        "AWS_SECRET_ACCESS_KEY=…": f"AWS_SECRET_ACCESS_KEY={media.s3.secret_key}",
    }
    variables = {"KUBECONFIG": str(media.cluster.kubeconfig), **media.s3.environment(bucket)}
    del variables["MEDIA_STORE_URL"]
    # The Ingress controller needs a moment for what is new.
    curl = "retry = 8\nretry-delay = 1\nretry-all-errors\n"
    curl += f'resolve = "{HOST}:{https}:{address}"\ncacert = "{folder}/tls.crt"\n'
    return Reader(folder, variables, replaced, [media.cluster.kubectl_path.parent, media.helm.parent], curl)


def test_first_install(reader: Reader) -> None:
    reader.follow(pages.here(ROOT / "docs/guides/first-install.md", "cluster"))


def test_install(reader: Reader, media: Installed) -> None:
    builder = next(program for program in BUILDERS if shutil.which(program))
    for component in COMPONENTS:
        name = f"media-operator/{component}"
        subprocess.run([builder, "tag", f"{name}:dev", f"{name}:{VERSION}"], check=True, capture_output=True)
        media.cluster.load(f"{name}:{VERSION}")
    reader.follow(pages.here(ROOT / "docs/install.md", "cluster"))
