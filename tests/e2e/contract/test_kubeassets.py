"""What the assets of a cluster keep beyond the port: faults of the way, strange objects, what the server prunes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

import apiserver
from apiproxy import Proxy
from mediaasset.assets import AssetsError, ConflictError, Event, NotFoundError
from mediaasset.catalogue import Query
from mediaasset.kube import Api, Json, connect, resource
from mediaasset.kubeassets import KubernetesAssets, _of_user
from mediaasset.media import Kind
from mediaasset.names import API_VERSION, ASSET_PLURAL, FINALIZER
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource, Source
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import MediaClass, RenditionState
from polling import until

NOW = datetime(2025, 1, 1, 12, 30, tzinfo=UTC)
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mediaassets.media-operator.io"


def new(name: str, namespace: str = "default") -> MediaAsset:
    spec = MediaAssetSpec(source=Source(object=ObjectSource(key=f"uploads/{namespace}/{name}/00")), user_id="42")
    return MediaAsset(metadata=Metadata(namespace=namespace, name=name), spec=spec)


def path_of(name: str) -> str:
    return resource(API_VERSION, ASSET_PLURAL, namespace="default", name=name)


async def applied(api: Api, name: str, **spec: object) -> Json:
    """Create an asset as a person does: without our finalizer."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "MediaAsset",
        "metadata": {"name": name},
        "spec": {"source": {"url": "https://example.org/x.jpg"}, **spec},
    }
    return await api.call("POST", path_of(""), body)


@asynccontextmanager
async def through(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesAssets]:
    monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig(tmp_path / "kubeconfig")))
    api = await connect()
    try:
        async with KubernetesAssets(api) as assets:
            await assets.list("default", limit=1)
            yield assets
    finally:
        await api.close()


def listing(assets: KubernetesAssets, expected: set[str]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        page = await assets.list("default", limit=100)
        return {item.metadata.name for item in page.items} == expected and page.total == len(expected)

    return check


async def test_without_a_mirror_the_server_picks_out_the_assets_of_a_user(api: Api) -> None:
    # The characters of the selectors' syntax are text like any other.
    assets, users = KubernetesAssets(api), ("7042", "704", "a,b=c", "back\\slash")
    for number, user in enumerate(users):
        asset = new(f"of-{number}")
        await assets.create(asset.model_copy(update={"spec": asset.spec.model_copy(update={"user_id": user})}))
    for number, user in enumerate(users):
        page = await assets.list("default", Query(user_id=user), limit=10)
        assert [item.metadata.name for item in page.items] == [f"of-{number}"]
        pages = [item async for part in api.pages(path_of(""), _of_user(user)) for item in part["items"]]
        assert [item["metadata"]["name"] for item in pages] == [f"of-{number}"]


async def test_every_field_of_a_status_is_kept(api: Api) -> None:
    assets = KubernetesAssets(api)
    created = await assets.create(new("full"))
    numbers = {"size_bytes": 2**40, "width": 640, "height": 480}
    renditions = tuple(
        RenditionStatus(
            name=f"r{number}",
            state=state,
            reason=Reason.NOT_APPLICABLE,
            message="why",
            mime_type="image/jpeg",
            key=f"media/default/assets/uid/r{number}-00.jpg",
            url="https://media.example.org/x",
            sha256="0" * 64,
            inputs_hash="3" * 32,
            **numbers,
        )
        for number, state in enumerate(RenditionState)
    )
    conditions = tuple(
        condition(kind, status=True, reason=Reason.READY, message="x" * 1024, generation=1, now=NOW)
        for kind in ConditionType
    )
    status = Status(
        observed_generation=1,
        request_hash="0" * 32,
        inputs_hash="1" * 32,
        profile_hash="4" * 32,
        class_name=MediaClass.LARGE_VIDEO,
        last_handled_reprocess="then",
        attempt=3,
        failed_attempts=2,
        job_name="media-x",
        start_time=NOW,
        completion_time=NOW,
        retry_time=NOW,
        conditions=conditions,
        source_info=SourceInfo(
            type=Kind.VIDEO,
            mime_type="video/mp4",
            sha256="2" * 64,
            duration_milliseconds=2**33,
            bits_per_second=2**33,
            codecs=("h264", "aac"),
            **numbers,
        ),
        renditions=renditions,
        url="https://media.example.org/a",
        thumbnail_url="https://media.example.org/b",
        thumb_hash="abcd",
        names_hash="abcd",
        stable_url="https://media.example.org/c",
        stable_path_url="https://media.example.org/d",
    )
    assert None not in status.model_dump().values()
    written = await assets.write_status(created, status)
    assert written.status == status
    # And what is taken away again does not stay behind.
    assert (await assets.write_status(written, Status(attempt=4))).status == Status(attempt=4)


async def test_asset_made_by_other_means_is_held_once(api: Api) -> None:
    assets = KubernetesAssets(api)
    stale = MediaAsset.model_validate(await applied(api, "theirs"))
    assert stale.metadata.finalizers == ()
    await assets.annotate("default", "theirs", {"a": "b"})
    with pytest.raises(ConflictError):
        await assets.hold(stale)
    await api.call("PATCH", path_of("theirs"), {"metadata": {"finalizers": ["example.org/other"]}})
    held = await assets.hold(await assets.get("default", "theirs"))
    assert held.metadata.finalizers == ("example.org/other", FINALIZER)
    assert await assets.hold(held) == held
    await assets.delete("default", "theirs")
    await assets.release(await assets.get("default", "theirs"))
    left = await assets.get("default", "theirs")
    assert left.metadata.finalizers == ("example.org/other",)
    assert await assets.hold(left) == left


async def test_asset_without_a_finalizer_is_gone_when_it_is_deleted(api: Api) -> None:
    async with KubernetesAssets(api) as assets:
        theirs = MediaAsset.model_validate(await applied(api, "theirs"))
        await until(listing(assets, {"theirs"}))
        await assets.delete("default", "theirs")
        assert await assets.unfinished() == ()
        with pytest.raises(NotFoundError):
            await assets.hold(theirs)


async def test_another_asset_of_the_name_is_not_touched(api: Api) -> None:
    assets = KubernetesAssets(api)
    old = await assets.create(new("one"))
    await assets.delete("default", "one")
    await assets.release(old)
    again = await assets.create(new("one"))
    for attempt in (
        assets.write_status(old, Status(attempt=1)),
        assets.hold(
            old.model_copy(update={"metadata": Metadata.model_validate({**old.metadata.to_dict(), "finalizers": []})})
        ),
    ):
        with pytest.raises(NotFoundError):
            await attempt
    await assets.delete("default", "one")
    await assets.release(old)
    left = await assets.get("default", "one")
    assert (left.metadata.uid, left.metadata.finalizers) == (again.metadata.uid, (FINALIZER,))


async def test_asset_that_is_not_deleted_is_not_released(api: Api) -> None:
    assets = KubernetesAssets(api)
    created = await assets.create(new("kept"))
    await assets.release(created)
    assert (await assets.get("default", "kept")).metadata.finalizers == (FINALIZER,)


async def test_release_goes_on_when_others_change_the_asset_meanwhile(api: Api) -> None:
    assets = KubernetesAssets(api)
    await assets.create(new("one"))
    await assets.delete("default", "one")
    stale = await assets.get("default", "one")
    await assets.annotate("default", "one", {"a": "b"})
    await assets.release(stale)
    with pytest.raises(NotFoundError):
        await assets.get("default", "one")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a?b", "A", "", "a" * 254, "%2e%2e"])
async def test_name_that_cannot_be_is_not_found(api: Api, name: str) -> None:
    assets = KubernetesAssets(api)
    for attempt in (
        assets.get("default", name),
        assets.delete("default", name),
        assets.annotate("default", name, {}),
        assets.change("default", name, {}),
    ):
        with pytest.raises(NotFoundError):
            await attempt


async def test_object_of_a_newer_version_hides_no_other(api: Api) -> None:
    properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/novelty"
    await api.call("PATCH", CRD, [{"op": "add", "path": properties, "value": {"type": "string"}}])
    try:

        async def stored() -> bool:
            # The server takes a moment to learn the field; until then it leaves it out.
            if "novelty" in (await applied(api, "newer", novelty="x"))["spec"]:
                return True
            await api.call("DELETE", path_of("newer"))
            return False

        await until(stored)
        async with KubernetesAssets(api) as assets:
            await assets.create(new("known"))
            page = await assets.list("default", limit=9)
            assert ([item.metadata.name for item in page.items], page.total) == (["known"], 1)
            with pytest.raises(AssetsError, match="novelty"):
                await assets.get("default", "newer")
            await assets.delete("default", "newer")
    finally:
        await api.call("PATCH", CRD, [{"op": "remove", "path": properties}])


async def test_profiles_follow_a_change_within_seconds(api: Api) -> None:
    assets = KubernetesAssets(api)
    assert (await assets.profile(None)).metadata.name == "web"
    path = resource(API_VERSION, "mediaprofiles", name="later")
    body = {
        "apiVersion": API_VERSION,
        "kind": "MediaProfile",
        "metadata": {"name": "later", "annotations": {"media-operator.io/is-default-profile": "true"}},
        "spec": {"renditions": [{"name": "tiny", "for": "Image", "format": "JPEG", "width": 10, "height": 10}]},
    }
    await api.call("POST", resource(API_VERSION, "mediaprofiles"), body)
    try:

        async def is_default() -> bool:
            return (await assets.profile(None)).metadata.name == "later"

        await until(is_default)
    finally:
        await api.call("DELETE", path)


async def test_event_stands_beside_its_asset(api: Api, kubeconfig: Path) -> None:
    assets = KubernetesAssets(api, component="media-operator")
    created = await assets.create(new("told"))
    await assets.emit(created, Event(Reason.UNDECODABLE, "\N{CAMERA}" * 1000, warning=True))
    text = apiserver.kubectl(
        kubeconfig, "get", "events", "--field-selector", "involvedObject.name=told", "--output", "json"
    )
    (event,) = json.loads(text)["items"]
    assert (event["type"], event["reason"], event["source"]["component"]) == (
        "Warning",
        "Undecodable",
        "media-operator",
    )
    assert event["message"] == "\N{CAMERA}" * 256
    assert event["involvedObject"]["uid"] == created.metadata.uid


async def test_watch_that_expires_misses_no_deletion(
    api: Api, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = KubernetesAssets(api)
    for name in ("kept", "lost"):
        await direct.create(new(name))
    with Proxy(kubeconfig).running() as proxy:
        async with through(proxy, tmp_path, monkeypatch) as assets:
            await until(listing(assets, {"kept", "lost"}))
            proxy.mute("mediaassets")
            lost = await direct.get("default", "lost")
            await direct.delete("default", "lost")
            await direct.release(lost)
            await direct.create(new("made"))
            assert await asyncio.to_thread(proxy.expire, "mediaassets") == 1
            await until(listing(assets, {"kept", "made"}))
            assert set(await assets.unfinished()) == {("default", "kept"), ("default", "made")}


async def test_watch_that_breaks_off_goes_on_where_it_was(
    api: Api, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = KubernetesAssets(api)
    with Proxy(kubeconfig).running() as proxy:
        async with through(proxy, tmp_path, monkeypatch) as assets:
            await direct.create(new("before"))
            await until(listing(assets, {"before"}))
            proxy.mute("mediaassets")
            await direct.create(new("between"))
            proxy.cut("mediaassets")
            await until(listing(assets, {"before", "between"}))
            lists = [path for path in proxy.reads if "mediaassets?" in path and "watch" not in path]
            assert len(lists) == 1


async def test_namespaces_are_watched_one_by_one_when_they_are_named(api: Api) -> None:
    async with KubernetesAssets(api, ["default", "other"]) as assets:
        for namespace in ("default", "other"):
            await assets.create(new("one", namespace))
            assert (await assets.list(namespace, limit=1)).total == 1
        assert set(await assets.unfinished()) == {("default", "one"), ("other", "one")}
    async with KubernetesAssets(api, ["default"]) as assets:
        assert await assets.unfinished() == (("default", "one"),)


async def test_a_watch_that_is_left_leaves_no_connection(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    # By chance the server's goodbye may be there already.
    for _ in range(10):
        before = {each.fd for each in psutil.Process().net_connections("tcp")}
        api = await connect()
        namespaces = resource("v1", "namespaces")
        version = (await api.call("GET", namespaces))["metadata"]["resourceVersion"]
        async with api.watch(namespaces, version, seconds=60):
            pass
        await api.close()
        assert {each.fd for each in psutil.Process().net_connections("tcp")} <= before


async def test_server_that_is_away_is_an_error_of_the_port(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(kubeconfig).running() as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig(tmp_path / "kubeconfig")))
    api = await connect()
    try:
        assets = KubernetesAssets(api)
        asset = new("one").model_copy(update={"metadata": Metadata(namespace="default", name="one", uid="1")})
        attempts = (
            assets.create(asset),
            assets.get("default", "one"),
            assets.list("default", limit=1),
            assets.stats("default"),
            anext(aiter(assets.watch("default", "one"))),
            assets.change("default", "one", {"altText": "x"}),
            assets.unfinished(),
            assets.write_status(asset, Status()),
            assets.annotate("default", "one", {}),
            assets.hold(asset),
            assets.delete("default", "one"),
            assets.release(asset),
            assets.profile(None),
        )
        for attempt in attempts:
            with pytest.raises(AssetsError):
                await attempt
        await assets.emit(asset, Event(Reason.READY, ""))
    finally:
        await api.close()
