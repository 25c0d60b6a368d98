"""The pages of the documentation that need a cluster, followed on the release that the other tests use."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import pages
from cluster import ASSETS
from installed import SYSTEM, WORK, Installed
from pages import ROOT, Reader

PHOTO = ROOT / "tests/data/photo.jpg"
#: These begin with a cluster that has nothing: tests/e2e/test_zzz_pages.py.
INSTALLING = [ROOT / "docs/install.md", ROOT / "docs/guides/first-install.md"]
#: What the samples say where their photograph is.
KEYS = ["uploads/default/photo/photo.jpg", "uploads/default/private/photo.jpg"]
#: What the pages make and others would find.
MADE = [(SYSTEM, "media-redis"), (WORK, "media-progress")]


@pytest.fixture(params=[page for page in pages.pages("cluster") if page not in INSTALLING], ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def reader(media: Installed, tmp_path: Path) -> Iterator[Reader]:
    folder = pages.checkout(tmp_path / "checkout")
    shutil.copy(PHOTO, folder)
    for key in KEYS:
        media.put(key, PHOTO.read_bytes())
    # Assets of other tests stay where they are.
    replaced = {"--all-namespaces": "-n default", "https://media.example.org": media.base_url}
    yield Reader(folder, variables(media), replaced, programs(media))
    # A page that broke off may have left them stopped.
    for name, replicas in (("media-media-operator", 1), ("media-media-operator-ingest", 2)):
        media.cluster.kubectl("scale", "deployment", name, f"--replicas={replicas}", "-n", SYSTEM)
    media.cluster.kubectl("delete", ASSETS, "--all", "-n", "default", "--timeout=120s")
    for namespace, name in MADE:
        media.cluster.kubectl("delete", "secret", name, "-n", namespace, "--ignore-not-found")


def variables(media: Installed) -> dict[str, str]:
    """Return what the shell of a reader knows of a release and its bucket."""
    store = media.s3.environment(media.bucket, prefix=media.prefix)
    return {
        "KUBECONFIG": str(media.cluster.kubeconfig),
        "MEDIA": media.base_url,
        "TOKEN": media.token,
        "AUTH": f"Authorization: Bearer {media.token}",
        "PASSWORD": "a-password-of-tests",
        "BUCKET": media.bucket,
        "PREFIX": media.prefix,
        **store,
    }


def programs(media: Installed) -> list[Path]:
    """Return where kubectl and helm are."""
    return [media.cluster.kubectl_path.parent, media.helm.parent]


def test_page_can_be_followed(reader: Reader, page: Path) -> None:
    reader.follow(pages.here(page, "cluster"))


def test_what_an_asset_costs_is_what_the_page_says(media: Installed, reader: Reader) -> None:
    """The table of sizes in docs/operations/cost.md is of the photograph of the tests."""
    asset = media.ready(media.apply(PHOTO.read_bytes(), type="Image"))
    sizes = {each["name"]: each["sizeBytes"] for each in asset["status"]["renditions"]}
    said = json.loads(next(b.text for b in pages.blocks(ROOT / "docs/operations/cost.md") if b.language == "json"))
    assert sizes == said
