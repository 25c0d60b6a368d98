"""Profiles as a server has them: one list answers several questions, but none after a profile changed."""

import asyncio
from pathlib import Path

import pytest

from kubeclient import Json
from mediaasset.kube import connect
from mediaasset.kubeprofiles import KubernetesProfiles
from mediaasset.names import API_VERSION, PROFILE_KIND
from scene import Scene

PROFILES = f"/apis/{API_VERSION}/mediaprofiles"
NAME = "read"


def profile(width: int) -> Json:
    spec = {"renditions": [{"name": "x", "for": "Image", "format": "JPEG", "width": width}]}
    return {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": {"name": NAME}, "spec": spec}


async def test_whoever_asks_after_a_change_was_told_gets_what_it_is(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(scene.api.kubeconfig(tmp_path / "profiles.kubeconfig")))
    api = await connect()
    profiles = KubernetesProfiles(api)

    async def width() -> int | None:
        found = await profiles.find(NAME)
        return found["spec"]["renditions"][0]["width"] if found else None

    def reads() -> int:
        return sum("mediaprofiles" in path for path in scene.api.reads)

    try:
        assert await width() is None
        # What is missing is looked for anew each time.
        scene.kube.call("POST", PROFILES, profile(10))
        assert await width() == 10
        before = reads()
        assert [await width() for _ in range(5)] == [10] * 5
        assert reads() == before
        scene.kube.call("PATCH", f"{PROFILES}/{NAME}", {"spec": profile(20)["spec"]})
        profiles.forget()
        # A list that is on its way back when another change is told of is no answer either.
        held = scene.api.hold("GET", "mediaprofiles", after=True)
        asked = asyncio.create_task(width())
        await asyncio.to_thread(held.reached)
        scene.kube.call("PATCH", f"{PROFILES}/{NAME}", {"spec": profile(30)["spec"]})
        profiles.forget()
        held.release()
        assert await asked == 30
    finally:
        scene.kube.call("DELETE", f"{PROFILES}/{NAME}")
        await api.close()
