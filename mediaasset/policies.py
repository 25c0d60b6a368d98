"""Who may do what with the objects, as policies of S3: made from one table, which docs/architecture.md shows to people.

Pure: dicts in the form that AWS defines and that other servers have taken over.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from mediaasset import keys

Policy = dict[str, Any]

_VERSION = "2012-10-17"


class Component(StrEnum):
    """Who comes to the store."""

    INGEST = "ingest"
    OPERATOR = "operator"
    TRANSCODER = "transcoder"
    GATEWAY = "gateway"
    ANONYMOUS = "anonymous"


class Right(StrEnum):
    """What one may do below a prefix. To sign is to read on behalf of whoever holds the URL."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    SIGN = "sign"
    LIST = "list"
    ABORT = "abort"
    """To see all uploads in parts that are not complete, and to end those below the prefix."""


#: The table: by prefix and component. What does not stand here is refused.
RIGHTS: Mapping[str, Mapping[Component, frozenset[Right]]] = {
    keys.UPLOADS: {
        Component.INGEST: frozenset({Right.WRITE, Right.READ, Right.SIGN, Right.DELETE, Right.LIST}),
        Component.OPERATOR: frozenset({Right.DELETE, Right.LIST, Right.ABORT}),
        Component.TRANSCODER: frozenset({Right.READ}),
    },
    keys.WHATSAPP: {
        Component.INGEST: frozenset({Right.READ, Right.SIGN}),
        Component.OPERATOR: frozenset({Right.DELETE, Right.LIST, Right.ABORT}),
        Component.TRANSCODER: frozenset({Right.WRITE, Right.READ}),
    },
    keys.PUBLIC: {
        Component.INGEST: frozenset({Right.SIGN}),
        Component.OPERATOR: frozenset({Right.READ, Right.WRITE, Right.DELETE, Right.LIST, Right.ABORT}),
        Component.TRANSCODER: frozenset({Right.WRITE}),
        Component.GATEWAY: frozenset({Right.READ, Right.LIST}),
        Component.ANONYMOUS: frozenset({Right.READ}),
    },
    keys.PRIVATE: {
        Component.INGEST: frozenset({Right.SIGN}),
        Component.OPERATOR: frozenset({Right.READ, Right.WRITE, Right.DELETE, Right.LIST, Right.ABORT}),
        Component.TRANSCODER: frozenset({Right.WRITE}),
    },
    keys.WORK: {
        Component.OPERATOR: frozenset({Right.READ, Right.DELETE, Right.LIST}),
        Component.TRANSCODER: frozenset({Right.WRITE, Right.READ}),
    },
    keys.TOMBSTONES: {
        Component.INGEST: frozenset({Right.READ, Right.LIST}),
        Component.OPERATOR: frozenset({Right.WRITE, Right.READ, Right.DELETE, Right.LIST}),
    },
}

#: What the gateway may below private/ in addition, where it answers signed URLs.
_SIGNED_URLS = frozenset({Right.READ, Right.LIST})

#: Large objects go up in parts, and those of an upload that breaks off are taken back, or it goes on after them.
_ACTIONS: Mapping[Right, tuple[str, ...]] = {
    Right.READ: ("s3:GetObject",),
    Right.SIGN: ("s3:GetObject",),
    Right.WRITE: ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
    Right.DELETE: ("s3:DeleteObject",),
    Right.ABORT: ("s3:AbortMultipartUpload",),
}


def rights_of(component: Component, top: str, *, signed_urls: bool = False) -> frozenset[Right]:
    """Return what a component may do below a prefix; signed_urls: whether the gateway answers those."""
    if signed_urls and (component, top) == (Component.GATEWAY, keys.PRIVATE):
        return _SIGNED_URLS
    return RIGHTS[top].get(component, frozenset())


def bucket_policy(bucket: str, prefix: str, principals: Mapping[str, str], *, signed_urls: bool = False) -> Policy:
    """Return the policy of a bucket whose root prefix is `prefix`, perhaps empty.

    principals names the components' accounts as the server does: `arn:aws:iam::…` at AWS, access keys in versitygw. A
    component that is not among them gets nothing from this policy; anyone may read what is public.
    """
    named: dict[Component, Any] = {Component(name): {"AWS": [account]} for name, account in principals.items()}
    statements = [
        {"Sid": statement["Sid"], "Principal": principal, **statement}
        for component, principal in {**named, Component.ANONYMOUS: "*"}.items()
        for statement in _statements(component, bucket, prefix, signed_urls=signed_urls)
    ]
    return {"Version": _VERSION, "Statement": statements}


def identity_policy(component: Component, bucket: str, prefix: str, *, signed_urls: bool = False) -> Policy:
    """Return the policy to attach to the account or role of one component."""
    return {"Version": _VERSION, "Statement": list(_statements(component, bucket, prefix, signed_urls=signed_urls))}


def _statements(component: Component, bucket: str, prefix: str, *, signed_urls: bool) -> Iterator[Policy]:
    arn = f"arn:aws:s3:::{bucket}"
    root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    listed = []
    may_abort = any(Right.ABORT in cells.get(component, ()) for cells in RIGHTS.values())
    # One statement for all prefixes with the same rights: there are servers that take few bytes of policy.
    allowed: dict[tuple[str, ...], list[str]] = {}
    for top in RIGHTS:
        rights = rights_of(component, top, signed_urls=signed_urls)
        actions = tuple(sorted({action for right in rights - {Right.LIST} for action in _ACTIONS[right]}))
        if actions:
            allowed.setdefault(actions, []).append(top)
        if Right.LIST in rights:
            listed.append(f"{root}{top}/*")
    for actions, tops in allowed.items():
        # Letters and digits are all that AWS allows here.
        sid = component.title() + "".join(top.title().replace("-", "") for top in tops)
        resources = [f"{arn}/{root}{top}/*" for top in tops]
        yield {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}
    if may_abort:
        # S3 knows no condition for this: what is seen are the names of all that the bucket does not hold yet.
        yield {
            "Sid": f"{component.title()}Unfinished",
            "Effect": "Allow",
            "Action": ["s3:ListBucketMultipartUploads"],
            "Resource": [arn],
        }
    if listed:
        yield {
            "Sid": f"{component.title()}List",
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [arn],
            # IfExists: S3 says that an object is missing, instead of forbidden, only to who may list, and asks that
            # without a prefix.
            "Condition": {"StringLikeIfExists": {"s3:prefix": listed}},
        }
