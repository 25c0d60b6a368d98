"""The HTTP API as its clients use it: upload, look, wait; the same against standalone and against a cluster."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2

T = TypeVar("T")

UPLOAD = "/api/media/upload/"


def wait_for(check: Callable[[], T | None], *, seconds: float = 60, what: str = "it") -> T:
    """Poll until `check` gives something; AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    message = f"waited {seconds} s for {what}"
    raise AssertionError(message)


@dataclass
class Service:
    """Where the API is, and the token to call it with."""

    base_url: str
    token: str

    def client(self, token: str | None = None) -> httpx2.Client:
        """Return a client that sends a token."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx2.Client(base_url=self.base_url, headers=headers, timeout=30)

    def upload(self, path: Path, **fields: str) -> dict[str, Any]:
        """Upload a file; return the answer's body."""
        with self.client() as client, path.open("rb") as file:
            answer = client.post(UPLOAD, files={"file": (path.name, file)}, data=fields)
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def get(self, asset: str) -> dict[str, Any]:
        """Return an asset as the API shows it."""
        with self.client() as client:
            answer = client.get(f"/api/media/{asset}/")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def finished(self, asset: str, *, seconds: float = 90) -> dict[str, Any]:
        """Wait until an asset is ready or failed; return it."""

        def check() -> dict[str, Any] | None:
            body = self.get(asset)
            return body if body["status"] in ("ready", "failed") else None

        return wait_for(check, seconds=seconds, what=f"{asset} to be finished")
