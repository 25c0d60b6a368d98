"""The Job by which the chart sets up a bucket: its own command and variables, run here on a real S3 server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import s3server
from media_cli.bucket.wanted import mark
from mediacommand import environment_of
from s3server import tool

CHART = Path(__file__).parents[3] / "charts/media-operator"


def rendered(values: dict[str, Any]) -> list[Any]:
    command = [str(tool("helm") / "helm"), "template", "media", str(CHART), "--values", "-", "-n", "media-system"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [body for body in yaml.safe_load_all(done.stdout) if body]
    labels = "app.kubernetes.io/component"
    return [body for body in found if body["metadata"].get("labels", {}).get(labels) == "bucket"]


def test_the_job_does_it_with_the_rights_of_its_own_secret(tmp_path: Path) -> None:
    with s3server.start(tmp_path / "s3") as server:
        server.create_bucket("media")
        ingest = server.create_account("ingest")
        values: dict[str, Any] = {
            "publicBaseURL": "https://media.example.org",
            "s3": {"bucket": "media", "prefix": "root", "endpoint": server.endpoint},
            "tokens": {"existingSecret": "media-tokens"},
        }
        values["s3"]["credentials"] = {"ingest": {"existingSecret": "s3-ingest"}}
        assert rendered(values) == []
        apply = {"enabled": True, "existingSecret": "s3-owner", "principals": {"ingest": ingest.access_key}}
        account, job = rendered({**values, "bucket": {"apply": apply}})
        assert account["kind"] == "ServiceAccount"
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        pod = job["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == account["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False
        [container] = pod["containers"]

        secret = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        environment = {}
        for each in container["env"]:
            if "value" in each:
                environment[each["name"]] = each["value"]
            else:
                assert each["valueFrom"]["secretKeyRef"]["name"] == "s3-owner"
                environment[each["name"]] = secret[each["valueFrom"]["secretKeyRef"]["key"]]
        assert set(secret) <= set(environment)
        # -P leaves out the directory, which here is the checkout; its packages come by the path instead.
        path = {"PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, *container["command"][1:], *container["args"]]
        for _ in range(2):
            done = subprocess.run(
                command,
                env=environment_of(tmp_path, **environment, **path),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert "policy: same" in done.stdout
        policy = json.loads(server.client().get_bucket_policy(Bucket="media")["Policy"])
        assert f"{mark('root')}AnonymousMedia" in {each["Sid"] for each in policy["Statement"]}
        server.client(ingest).put_object(Bucket="media", Key="root/uploads/shop/a/b", Body=b"x")


def test_a_gateway_with_an_account_closes_the_bucket() -> None:
    values = {
        "publicBaseURL": "https://media.example.org",
        "s3": {"bucket": "media", "credentials": {"gateway": {"existingSecret": "s3-gateway"}}},
        "tokens": {"existingSecret": "media-tokens"},
        "bucket": {"apply": {"enabled": True, "unblock": False, "corsOrigins": ["https://shop.example.org"]}},
    }
    _, job = rendered(values)
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--lenient", "--private", "--origin=https://shop.example.org"]
