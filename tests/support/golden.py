"""The golden run: what an asset goes through, step by step, and how it looks after each when nothing happens."""

from collections.abc import Callable

from kubeclient import Json
from mediaasset.reasons import Reason
from scene import Scene


def create(scene: Scene) -> None:
    scene.create("photo")
    scene.ready("photo")


def make_private(scene: Scene) -> None:
    scene.change("photo", visibility="Private")
    scene.ready("photo")


def reprocess(scene: Scene) -> None:
    """Two attempts: the pod of the first fails."""
    scene.kubelet.work = scene.kubelet.once(scene.kubelet.fail(Reason.SOURCE_UNAVAILABLE))
    scene.reprocess("photo", "again")
    scene.ready("photo")


def delete(scene: Scene) -> None:
    scene.delete("photo")
    scene.gone("photo")


STEPS: tuple[Callable[[Scene], None], ...] = (create, make_private, reprocess, delete)


def _after(step: Callable[[Scene], None], scene: Scene) -> Json:
    step(scene)
    return scene.picture()


class Golden:
    """How it looks after each step of an undisturbed run, and what was written in it."""

    def __init__(self, scene: Scene) -> None:
        self._pictures = [_after(step, scene) for step in STEPS]
        self.writes = scene.writes()
        self._deletions = scene.deletions()

    def holds(self, scene: Scene) -> None:
        """Take a scene through all steps: each must end as the undisturbed one, with nothing deleted that it keeps."""
        for step, picture in zip(STEPS, self._pictures, strict=True):
            step(scene)
            assert scene.picture() == picture
        assert scene.deletions() <= self._deletions
