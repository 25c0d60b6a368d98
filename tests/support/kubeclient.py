"""A few requests to an API server as its administrator, one after the other: what a test does beside the operator."""

import json
from collections.abc import Container
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import yaml

from apiproxy import client_context

Json = dict[str, Any]


class KubeClient:
    """Sends JSON, gives JSON. Any thread may call."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._client = httpx2.Client(base_url=cluster["server"], verify=client_context(cluster, user), timeout=30)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Json | None = None, *, accepted: Container[int] = ()) -> Json:
        """Send a request, a PATCH as a merge patch; fails for a refusal that is not among the accepted ones."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._client.request(method, path, json=body, headers={"Content-Type": kind})
        assert answer.is_success or answer.status_code in accepted, f"{method} {path}: {answer.text}"
        # Of a kind that is not there, it says so as plain text.
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        found: Json = answer.json() if is_json else {"code": answer.status_code}
        return found

    def find(self, path: str) -> Json | None:
        """Return an object, None when there is none."""
        found = self.call("GET", path, accepted={404})
        return None if found.get("code") == 404 else found

    def history(self, path: str, since: str) -> list[Json]:
        """Return what a watch tells of all that happened after a version, until now."""
        answer = self._client.get(path, params={"watch": "true", "resourceVersion": since, "timeoutSeconds": "1"})
        assert answer.is_success, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def list(self, path: str, selector: str = "") -> list[Json]:
        """Return objects, none where there is no such kind."""
        query = f"?labelSelector={quote(selector)}" if selector else ""
        items: list[Json] = self.call("GET", path + query, accepted={404}).get("items", [])
        return items
