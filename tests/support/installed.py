"""The chart installed in a cluster the way a platform team does it, with an S3 account for each component."""

import ipaddress
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from cluster import ASSETS, Cluster, Json
from media_ingest.auth import digest
from mediaasset import policies
from mediaasset.names import API_VERSION, ASSET_KIND
from s3server import Account, S3Server, tool
from service import Service, wait_for

_ROOT = Path(__file__).parents[2]
CHART = _ROOT / "charts/media-operator"
RELEASE = "media"
SYSTEM = "media-system"
WORK = "media-system-work"
COMPONENTS = ("operator", "ingest", "transcoder", "gateway")
#: The namespaces that the tokens of tests lead to, by the user that the token is for.
TENANTS = {"alice": "shop", "bob": "shop", "mallory": "museum"}
SCOPES = ["read", "write", "delete"]


@dataclass
class Installed(Service):
    """A release of the chart; as a service it speaks for alice, whose assets lie in the namespace `shop`."""

    cluster: Cluster
    helm: Path
    s3: S3Server
    bucket: str
    prefix: str
    values: Json
    accounts: dict[str, Account] = field(default_factory=dict)

    def key(self, key: str) -> str:
        """Return the name of an object in the bucket."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def objects(self, prefix: str = "") -> list[str]:
        """Return the keys below a prefix."""
        pages = self.s3.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.key(prefix))
        found = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(key.removeprefix(f"{self.prefix}/") if self.prefix else key for key in found)

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.client().get_object(Bucket=self.bucket, Key=self.key(key))["Body"].read()
        return body

    def put(self, key: str, body: bytes) -> None:
        self.s3.client().put_object(Bucket=self.bucket, Key=self.key(key), Body=body)

    def asset(self, name: str, namespace: str = "shop") -> Json:
        return self.cluster.get("mediaasset", name, namespace)

    def jobs(self, uid: str) -> list[Json]:
        """Return the Jobs of an asset."""
        return self.cluster.find("jobs", WORK, f"media-operator.io/asset-uid={uid}")

    def pod_template(self) -> Json:
        """Return what the chart gives the operator to make pods of."""
        (config,) = self.cluster.find("configmaps", SYSTEM, labels("transcoder"))
        template: Json = yaml.safe_load(config["data"]["pod.yaml"])
        return template

    def apply(
        self, content: bytes | None = None, /, *, namespace: str = "shop", key: str = "", name: str = "", **spec: object
    ) -> str:
        """Apply an asset as a person with kubectl would, its content put into the store before; return its name.

        One that has the name given is deleted before.
        """
        if name:
            self.cluster.kubectl("delete", ASSETS, name, "-n", namespace, "--ignore-not-found")
        name = name or f"e2e-{secrets.token_hex(6)}"
        key = key or f"uploads/{namespace}/{name}/source"
        if content is not None:
            self.put(key, content)
        body = {"source": {"object": {"key": key}}, "visibility": "Public", **spec}
        metadata = {"name": name, "namespace": namespace}
        self.cluster.apply({"apiVersion": API_VERSION, "kind": ASSET_KIND, "metadata": metadata, "spec": body})
        return name

    def ready(self, name: str, namespace: str = "shop") -> Json:
        """Wait until an asset is Ready for its generation; return it."""
        self.cluster.wait(ASSETS, name, "Ready", namespace)
        return self.asset(name, namespace)

    def stalled(self, name: str, namespace: str = "shop") -> Json:
        """Wait until an asset is Stalled; return it."""
        self.cluster.wait(ASSETS, name, "Stalled", namespace)
        return self.asset(name, namespace)

    def patch(self, name: str, spec: Json, namespace: str = "shop") -> None:
        """Change fields of the spec."""
        patch = json.dumps({"spec": spec})
        self.cluster.kubectl("patch", ASSETS, name, "-n", namespace, "--type=merge", "-p", patch)

    def install(self, values: Mapping[str, Any] | None = None, chart: Path = CHART) -> None:
        """Install or upgrade the release, and wait until all of it is ready."""
        body = json.dumps({**self.values, **(values or {})})
        command = ["upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM, "--values", "-"]
        self._helm(*command, "--wait", "--timeout", "180s", stdin=body)
        self.cluster.secret("s3-transcoder", WORK, **credentials(self.accounts["transcoder"]))

    def rollback(self) -> None:
        """Go back to the revision before, and wait until all of it is ready."""
        self._helm("rollback", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "180s")

    def test(self) -> str:
        """Run what the chart brings to test a release; return what it said."""
        self._helm("test", RELEASE, "--namespace", SYSTEM, "--timeout", "120s")
        said = self.cluster.run("logs", "-n", SYSTEM, f"{RELEASE}-media-operator-test")
        return str(said.stdout)

    def uninstall(self) -> None:
        self._helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait", "--timeout", "180s")

    def _helm(self, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [str(self.helm), *arguments],
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pods = self.cluster.run("get", "pods,events", "-n", SYSTEM).stdout[-6000:]
            logs = self.cluster.run(
                "logs", "-n", SYSTEM, "-l", f"app.kubernetes.io/instance={RELEASE}", "--tail=20"
            ).stdout
            message = f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}\n{pods}\n{logs}"
            raise AssertionError(message)


def from_checkout(cluster: Cluster, facts: Json) -> Installed:
    """Install the chart and the images of this checkout where the facts say the S3 server and the Ingress are."""
    for component in COMPONENTS:
        cluster.load(f"media-operator/{component}:dev")
    s3 = S3Server(facts["s3_endpoint"], Account(facts["s3_access_key"], facts["s3_secret_key"]))
    release = prepare(cluster, tool("helm") / "helm", s3, facts["ingress_http"], facts["ingress_class"])
    release.install()
    wait_for(lambda: serves(release.base_url), what="the Ingress to serve the API")
    return release


def prepare(cluster: Cluster, helm: Path, s3: S3Server, base_url: str, ingress_class: str) -> Installed:
    """Make the bucket, the accounts and the Secrets that an install needs."""
    # A cluster may be used for several runs; a name of each keeps them apart.
    bucket, prefix = f"media-{secrets.token_hex(4)}", "root"
    accounts = {name: s3.create_account(f"{name}-{bucket}") for name in ("ingest", "operator", "transcoder", "gateway")}
    names = {name: account.access_key for name, account in accounts.items()}
    s3.create_bucket(bucket, policies.bucket_policy(bucket, prefix, names))
    for namespace in (SYSTEM, *sorted(set(TENANTS.values()))):
        cluster.namespace(namespace)
    for name in ("ingest", "operator"):
        cluster.secret(f"s3-{name}", SYSTEM, **credentials(accounts[name]))
    tokens = {user: f"token-of-{user}-for-tests" for user in TENANTS}
    entries = [
        {"sha256": digest(token), "user": user, "username": user.title(), "namespace": TENANTS[user], "scopes": SCOPES}
        for user, token in tokens.items()
    ]
    cluster.secret("media-tokens", SYSTEM, **{"tokens.yaml": json.dumps(entries)})
    values: Json = {
        "publicBaseURL": base_url,
        "s3": {
            "endpoint": s3.endpoint,
            "bucket": bucket,
            "prefix": prefix,
            # The gateway reads as anybody.
            "credentials": {name: {"existingSecret": f"s3-{name}"} for name in accounts if name != "gateway"},
        },
        "tokens": {"existingSecret": "media-tokens"},
        # All upgrades but one are of the same chart.
        "crds": {"upgrade": False},
        "ingress": {"enabled": True, "className": ingress_class},
        **{name: {"image": {"tag": "dev"}} for name in COMPONENTS},
    }
    # Nothing here waits for minutes: a failed attempt is followed by the next one soon.
    # Sources by URL come from the only network there is.
    node = ipaddress.ip_address(urlsplit(s3.endpoint).hostname or "")
    patience = {"schedulePatienceSeconds": 6, "startPatienceSeconds": 6}
    values["operator"] |= {"backoffSeconds": 2, **patience, "allowedCIDRs": [f"{node}/{node.max_prefixlen}"]}
    return Installed(base_url, tokens["alice"], cluster, helm, s3, bucket, prefix, values, accounts)


def labels(component: str) -> str:
    """Return the selector of what belongs to a component of the release."""
    return f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"


def serves(base_url: str) -> bool:
    """Tell whether the API answers as ready through the Ingress."""
    try:
        return httpx2.get(f"{base_url}/api/openapi.json", timeout=5).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def credentials(account: Account) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": account.access_key, "AWS_SECRET_ACCESS_KEY": account.secret_key}
