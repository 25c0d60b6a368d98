"""The adapters of the cluster under the same contract suites as those of standalone: the modules here are theirs.

The assets live on an API server of their own: in the cluster the operator would take part in what is tested. The Jobs
run in the cluster, in the work namespace of the release; the assets that they name do not exist.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

import apiserver
from installed import WORK, Installed
from media_operator.kubejobs import KubernetesJobs
from mediaasset.assets import Assets
from mediaasset.jobs import Jobs
from mediaasset.kube import Api, connect, resource
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.names import API_VERSION, ASSET_PLURAL


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with apiserver.start(tmp_path_factory.mktemp("apiserver")) as path:
        apiserver.kubectl(path, "create", "namespace", "other")
        yield path


@pytest.fixture
async def api(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    opened = await connect()
    yield opened
    await remove_all(opened)
    await opened.close()


@pytest.fixture(params=["watching", "reading"])
async def assets(request: pytest.FixtureRequest, api: Api) -> AsyncIterator[Assets]:
    adapter = KubernetesAssets(api)
    if request.param == "reading":
        yield adapter
        return
    async with adapter:
        yield adapter


async def remove_all(api: Api) -> None:
    """Delete all assets, whoever holds them."""
    items = [item async for page in api.pages(resource(API_VERSION, ASSET_PLURAL)) for item in page["items"]]
    for item in items:
        metadata = item["metadata"]
        path = resource(API_VERSION, ASSET_PLURAL, namespace=metadata["namespace"], name=metadata["name"])
        if "finalizers" in metadata:
            await api.call("PATCH", path, {"metadata": {"finalizers": None}})
        if "deletionTimestamp" not in metadata:
            await api.call("DELETE", path)


Reopen = Callable[[], AbstractAsyncContextManager[Jobs]]


@pytest.fixture
def reopen(media: Installed, monkeypatch: pytest.MonkeyPatch) -> Reopen:
    monkeypatch.setenv("KUBECONFIG", str(media.cluster.kubeconfig))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Jobs]:
        connected = await connect()
        yield KubernetesJobs(connected, WORK, media.pod_template())
        await connected.close()

    return opened


@pytest.fixture
async def jobs(reopen: Reopen) -> AsyncIterator[Jobs]:
    async with reopen() as adapter:
        yield adapter
        for uid in ("uid-1", "uid-2"):
            for job in await adapter.of_asset(uid):
                await adapter.stop(uid, job.name)
