"""A transcoder that is too small is followed by one of the next larger class, as Kubernetes is told of both."""

import json

from mediaasset.names import CLASS_LABEL, QUEUE_LABEL
from mediaasset.reasons import Reason
from mediaasset.task import MediaClass, Task
from scene import Scene

MEMORY = {MediaClass.IMAGE: "1Gi", MediaClass.AUDIO: "2Gi", MediaClass.VIDEO: "3Gi", MediaClass.LARGE_VIDEO: "4Gi"}
CLASSES = {
    name: {"deadlineSeconds": 100 * number, "resources": {"limits": {"memory": memory}}}
    for number, (name, memory) in enumerate(MEMORY.items(), 1)
}


def start(scene: Scene) -> None:
    scene.operator.start(MEDIA_OPERATOR_CLASSES=json.dumps(CLASSES))


def test_out_of_memory_once_is_done_in_the_larger_class(scene: Scene) -> None:
    start(scene)
    fail = scene.kubelet.fail(Reason.OUT_OF_MEMORY)

    def work(task: Task, pod: str) -> int | None:
        return (fail if task.class_name is MediaClass.IMAGE else scene.kubelet.render)(task, pod)

    scene.kubelet.work = work
    status = scene.ready(scene.create("photo", type="Image", queue="Batch"))["status"]
    assert (status["attempt"], status["className"]) == (2, "Video")
    made = scene.jobs("photo")
    assert [job["metadata"]["labels"][CLASS_LABEL] for job in made] == ["Image", "Video"]
    assert {job["metadata"]["labels"][QUEUE_LABEL] for job in made} == {"Batch"}
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in made]
    assert [each["resources"]["limits"]["memory"] for each in containers] == ["1Gi", "3Gi"]
    assert made[0]["spec"]["activeDeadlineSeconds"] < made[1]["spec"]["activeDeadlineSeconds"]


def test_out_of_memory_in_the_largest_class_is_final(scene: Scene) -> None:
    start(scene)
    scene.kubelet.work = scene.kubelet.fail(Reason.OUT_OF_MEMORY)
    assert scene.stalled(scene.create("photo", type="Image")) == "OutOfMemory"
    assert [job["metadata"]["labels"][CLASS_LABEL] for job in scene.jobs("photo")] == ["Image", "Video", "LargeVideo"]
