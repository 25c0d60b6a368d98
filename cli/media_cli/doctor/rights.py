"""What each account may do in the bucket, tried: what it needs, and what it should not be able to.

For each prefix one object of a few bytes is written by who may, read by all, and deleted by who may. Deleting is tried
on a key that does not exist, writing by an upload in parts that is broken off: neither leaves or takes anything.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from media_cli.doctor.registry import Finding, Findings, error, ok, warning
from media_cli.doctor.site import Environment, Site
from media_cli.doctor.store import client
from mediaasset import keys
from mediaasset.policies import RIGHTS, Component, Right, rights_of

_TRIED = (Right.READ, Right.WRITE, Right.DELETE, Right.LIST)
_REFUSED = 403


async def look(site: Site) -> Findings:
    """Try the rights of every component whose account is known, and of who has none."""
    stores = {Component(name): each for name, each in site.stores().items() if name in set(Component)}
    if not stores:
        site.lacks("component", "Say whose account it is by --component.")
    return await asyncio.to_thread(_look, stores)


def _look(stores: Mapping[Component, Environment]) -> Findings:
    first = next(iter(stores.values()))
    bucket, prefix = keys.place(first["MEDIA_STORE_URL"])
    clients = {name: client(each) for name, each in stores.items()}
    clients[Component.ANONYMOUS] = client(first, anonymous=True)
    run = secrets.token_hex(6)
    trial = _Trial(bucket, {top: f"{prefix}{top}/doctor/{run}/probe" for top in RIGHTS}, clients)
    try:
        trial.write_probes()
        found = [_judged(name, trial.rights(name), stores) for name in clients]
    finally:
        left = trial.delete_probes()
    if left:
        text = f"{len(left)} objects of this check could not be deleted."
        cause = "No account that is known here may delete them."
        cure = "Delete them, or leave them: they are a few bytes."
        found.append(warning("left-over", f"s3://{bucket}/{left[0]}", text, cause, cure))
    return found


class _Trial:
    def __init__(self, bucket: str, probes: Mapping[str, str], clients: Mapping[Component, Any]) -> None:
        self._bucket, self._probes, self._clients = bucket, probes, clients
        self._written: set[str] = set()

    def write_probes(self) -> None:
        for top, key in self._probes.items():
            for s3 in self._holders(top, Right.WRITE):
                with contextlib.suppress(ClientError):
                    s3.put_object(Bucket=self._bucket, Key=key, Body=b"media doctor\n", ContentType="text/plain")
                    self._written.add(top)
                    break

    def delete_probes(self) -> list[str]:
        """Delete what was written; return the keys that nobody could delete."""
        left = []
        for top in self._written:
            key = self._probes[top]
            for s3 in self._holders(top, Right.DELETE):
                with contextlib.suppress(ClientError):
                    s3.delete_object(Bucket=self._bucket, Key=key)
                    break
            else:
                left.append(key)
        return left

    def rights(self, name: Component) -> dict[str, dict[Right, bool]]:
        """Return by prefix what an account may do; what could not be tried is left out."""
        return {top: {right: self._may(name, top, right) for right in self._tried(top)} for top in RIGHTS}

    def _tried(self, top: str) -> list[Right]:
        # S3 says of a missing object only to some that it is missing.
        return [right for right in _TRIED if right is not Right.READ or top in self._written]

    def _may(self, name: Component, top: str, right: Right) -> bool:
        s3, key = self._clients[name], self._probes[top]
        try:
            if right is Right.READ:
                s3.head_object(Bucket=self._bucket, Key=key)
            elif right is Right.DELETE:
                s3.delete_object(Bucket=self._bucket, Key=f"{key}-none")
            elif right is Right.LIST:
                s3.list_objects_v2(Bucket=self._bucket, Prefix=key.rpartition("doctor/")[0], MaxKeys=1)
            else:
                made = s3.create_multipart_upload(Bucket=self._bucket, Key=f"{key}-none")
                s3.abort_multipart_upload(Bucket=self._bucket, Key=f"{key}-none", UploadId=made["UploadId"])
        except ClientError as problem:
            return bool(problem.response["ResponseMetadata"]["HTTPStatusCode"] != _REFUSED)
        return True

    def _holders(self, top: str, right: Right) -> list[Any]:
        return [
            self._clients[name] for name, rights in RIGHTS[top].items() if right in rights and name in self._clients
        ]


def _judged(
    name: Component, found: Mapping[str, Mapping[Right, bool]], stores: Mapping[Component, Environment]
) -> Finding:
    # A gateway with an account of its own is for a bucket that nobody reads without.
    is_private = Component.GATEWAY in stores
    signed_urls = "GATEWAY_SIGNING_KEY" in stores.get(Component.GATEWAY, {})
    missing, excess = [], []
    for top, tried in found.items():
        for right, may in tried.items():
            needed = _needs(name, top, right, signed_urls=signed_urls) and not (
                name is Component.ANONYMOUS and is_private
            )
            granted = needed or _needs(Component.ANONYMOUS, top, right)
            if needed and not may:
                missing.append(f"{right} {top}/")
            if may and not granted:
                excess.append(f"{right} {top}/")
    if name is Component.ANONYMOUS:
        return _anonymous(missing, excess)
    if missing:
        return error(
            "rights",
            name,
            f"It may not {', '.join(missing)}.",
            "The policy of its account, or of the bucket, lacks this; or the Secret holds another account's key.",
            f"Attach what `media bucket iam {name}{' --signed-urls' * signed_urls}` prints to its account.",
        )
    if excess:
        return warning(
            "too-many-rights",
            name,
            f"It may also {', '.join(excess)}.",
            "It is an administrator's account, or one that several components share.",
            f"Give it an account of its own, with what `media bucket iam {name}` prints.",
        )
    return ok(name, "It may do what it needs, and nothing else.")


def _needs(name: Component, top: str, right: Right, *, signed_urls: bool = False) -> bool:
    rights = rights_of(name, top, signed_urls=signed_urls)
    # To S3 a signature is a read by the signer.
    return right in rights or (right is Right.READ and Right.SIGN in rights)


def _anonymous(missing: list[str], excess: list[str]) -> Finding:
    if excess:
        return error(
            "too-public",
            "everybody",
            f"Without any account one may {', '.join(excess)}.",
            "A statement of the bucket's policy, or an ACL, opens more than media/*.",
            "Take it out: `media bucket check` names the statement.",
        )
    if missing:
        return error(
            "not-public",
            "everybody",
            f"Without an account one may not {', '.join(missing)}, and the gateway has none.",
            "The bucket's policy lacks the statement for media/*, or public access blocks are on.",
            "Run `media bucket apply`, or give the gateway an account (s3.credentials.gateway).",
        )
    return ok("everybody", "Without an account nothing is open that should not be.")
