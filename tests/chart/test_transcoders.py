"""What the operator makes pods of is right in the chart already."""

from pathlib import Path

import pytest
import yaml

from media_operator import manifest
from media_operator.classes import larger_class
from media_operator.cluster import read_template
from media_operator.settings import ClusterSettings
from media_transcoder.live import PASSWORD_VARIABLE, USERNAME_VARIABLE
from mediaasset.task import REDIS_VARIABLE, MediaClass
from rendered import Helm, Json, Render, container_of, env_of, named, of_kind, pod_of, template_of

CHART = Path(__file__).parents[2] / "charts/media-operator"


def test_the_pods_of_jobs_are_what_the_operator_takes(rendered: list[Json], tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    [config] = [each for each in of_kind(rendered, "ConfigMap") if "pod.yaml" in each["data"]]
    file.write_text(config["data"]["pod.yaml"])
    template = read_template(file)
    [container] = template["spec"]["containers"]
    operator = env_of(container_of(named(rendered, "Deployment", "media-media-operator")))
    store = {
        name: value
        for name, value in env_of(container).items()
        if name.startswith(("MEDIA_STORE", "AWS_")) and "KEY" not in name
    }
    assert store.items() <= operator.items()
    assert "MEDIA_STORE_URL" in store
    [account] = [b for b in of_kind(rendered, "ServiceAccount") if b["metadata"]["name"].endswith("-transcoder")]
    assert account["metadata"]["namespace"] == operator["MEDIA_OPERATOR_WORK_NAMESPACE"]
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
    deployment = named(rendered, "Deployment", "media-media-operator")
    mounted = {mount["name"]: mount["mountPath"] for mount in container_of(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_of(deployment)["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    assert f"{mounted['config']}/pod.yaml" == operator["MEDIA_OPERATOR_POD_TEMPLATE"]


def test_each_component_has_the_account_that_is_meant_for_it(render: Render) -> None:
    def secrets(name: str) -> list[str]:
        rendered = render(name)
        pods = [pod_of(each)["spec"] for each in of_kind(rendered, "Deployment")] + [template_of(rendered)["spec"]]
        variables = [each for pod in pods for container in pod["containers"] for each in container["env"]]
        found = {each["valueFrom"]["secretKeyRef"]["name"] for each in variables if "secretKeyRef" in str(each)}
        return sorted(found)

    assert secrets("minimal") == ["s3-ingest", "s3-operator", "s3-transcoder"]
    assert secrets("shared") == ["s3"]


def test_everyone_who_asks_the_store_knows_its_authority(render: Render) -> None:
    for name, expected in (("everything", True), ("minimal", False)):
        rendered = render(name)
        pods = [pod_of(each) for each in of_kind(rendered, "Deployment")] + [template_of(rendered)]
        assert len(pods) == 4
        for pod in pods:
            [container] = pod["spec"]["containers"]
            assert ("SSL_CERT_FILE" in env_of(container)) is expected
            volumes = [each["configMap"] for each in pod["spec"]["volumes"] if each["name"] == "store-ca"]
            mounts = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "store-ca"]
            if expected:
                [volume], [mount] = volumes, mounts
                assert volume == {"name": "store-ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
                assert env_of(container)["SSL_CERT_FILE"] == f"{mount}/ca.crt"
            else:
                assert not volumes + mounts


def test_a_change_for_transcoders_restarts_the_operator(helm: Helm, minimal: Json) -> None:
    def checksum(*given: str) -> str:
        done = helm("template", "media", str(CHART), *given, values=minimal)
        bodies = [body for body in yaml.safe_load_all(done.stdout) if body]
        found: str = pod_of(named(bodies, "Deployment", "media-media-operator"))["metadata"]["annotations"][
            "checksum/transcoder"
        ]
        return found

    assert checksum() == checksum("--set", "ingest.replicas=5")
    assert checksum() != checksum("--set", "transcoder.classes.video.scratchSizeLimit=9Gi")


def test_graph_is_metas_own_unless_another_is_named(render: Render) -> None:
    def told(name: str) -> list[str]:
        [container] = template_of(render(name))["spec"]["containers"]
        return [each["value"] for each in container["env"] if each["name"] == "MEDIA_GRAPH_URL"]

    assert (told("minimal"), told("everything")) == ([], ["https://graph.example.org/v24.0"])


def test_progress_goes_to_redis_where_a_secret_says_so(render: Render) -> None:
    def told(name: str) -> dict[str, bool]:
        [container] = template_of(render(name))["spec"]["containers"]
        found = {each["name"]: each.get("valueFrom", {}) for each in container["env"] if "REDIS" in each["name"]}
        references = {variable: source["secretKeyRef"] for variable, source in found.items()}
        assert all(each["name"] == "media-progress" for each in references.values())
        return {variable: each.get("optional", False) for variable, each in references.items()}

    def opened(name: str) -> list[Json]:
        policy = named(render(name), "NetworkPolicy", "media-media-operator-transcoder")
        return [each for each in policy["spec"]["egress"] if {"port": 6380} in each.get("ports", [])]

    assert told("minimal") == {}
    assert opened("minimal") == []
    assert told("everything") == {REDIS_VARIABLE: False, USERNAME_VARIABLE: True, PASSWORD_VARIABLE: True}
    assert opened("everything") == [{"ports": [{"port": 6380}], "to": [{"ipBlock": {"cidr": "10.9.8.7/32"}}]}]


def test_classes_reach_the_operator_and_its_pods(helm: Helm, minimal: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = {"resources": {"limits": {"memory": "1Gi"}}, "deadlineSeconds": 3_000_000, "nodeSelector": {"disk": "fast"}}
    given = {"defaultClass": "Image", "largeVideoBytes": 5_000_000, "classes": {"audio": audio}}
    values = {**minimal, "transcoder": given, "operator": {"interactiveReservedJobs": 0}}
    done = helm("template", "media", str(CHART), values=values)
    rendered = list(yaml.safe_load_all(done.stdout))
    for variable, value in env_of(container_of(named(rendered, "Deployment", "media-media-operator"))).items():
        monkeypatch.setenv(variable, value)
    settings = ClusterSettings()
    assert (settings.default_class, settings.large_video_bytes) == (MediaClass.IMAGE, 5_000_000)
    assert settings.interactive_reserved_jobs == 0
    own = settings.classes[MediaClass.AUDIO]
    assert (own.deadline_seconds, own.node_selector, own.tolerations) == (3_000_000, {"disk": "fast"}, None)
    assert own.resources == {
        "requests": {"cpu": "250m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
        "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi"},
    }
    template = template_of(rendered)
    # Whoever has no class gets what a video does.
    assert manifest.template_of(template, settings.classes[MediaClass.VIDEO]) == template
    pods = {name: manifest.template_of(template, each)["spec"] for name, each in settings.classes.items()}
    sizes = {name: pod["volumes"][-1]["emptyDir"]["sizeLimit"] for name, pod in pods.items()}
    assert sizes == {"Image": "1Gi", "Audio": "1Gi", "Video": "4Gi", "LargeVideo": "16Gi"}
    assert pods[MediaClass.AUDIO]["nodeSelector"] == {"disk": "fast"}


def test_each_class_has_at_least_what_a_smaller_one_has(rendered: list[Json], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in env_of(container_of(named(rendered, "Deployment", "media-media-operator"))).items():
        monkeypatch.setenv(variable, value)
    settings = ClusterSettings()
    size = {"1Gi": 1, "512Mi": 0.5, "2Gi": 2, "6Gi": 6}
    for small in MediaClass:
        large = larger_class(small, settings)
        if large is not None:
            one, other = settings.classes[small], settings.classes[large]
            assert (one.deadline_seconds or 0) < (other.deadline_seconds or 0)
            limits = [size[(each.resources or {})["limits"]["memory"]] for each in (one, other)]
            assert limits[0] < limits[1]
