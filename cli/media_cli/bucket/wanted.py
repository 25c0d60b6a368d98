"""What the settings of a bucket are to be, and how ours go into what is there. Pure.

Whatever of a bucket is ours carries a mark that follows from the root prefix: statements of the policy in their Sid,
rules in their ID. So several installs, and others, can share a bucket: only what carries the mark is changed or taken
away.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from mediaasset import keys
from mediaasset.policies import RIGHTS, Component, Right, bucket_policy

Json = dict[str, Any]

#: Days. Parts of an upload that nobody goes on with; an upload may take a day unless set otherwise.
ABORT_DAYS = 7
#: Days. Results are read until the asset is ready or failed, at most a few deadlines after they were written.
WORK_DAYS = 30
#: Days. Tombstones must outlive every sender's repetitions: 14 days unless set otherwise.
TOMBSTONE_DAYS = 90
#: How long browsers may keep the answer to a preflight, in seconds: no browser keeps it for longer than a day.
CORS_SECONDS = 3600


def mark(prefix: str) -> str:
    """Return the mark of the install with this root prefix: letters and digits, as AWS allows in a Sid."""
    return "MediaOperator" + hashlib.sha256(prefix.strip("/").encode()).hexdigest()[:8]


def statements(
    bucket: str, prefix: str, principals: Mapping[str, str], *, public: bool, signed_urls: bool = False
) -> list[Json]:
    """Return our statements of the bucket's policy; without `public` nobody reads `media/` anonymously."""
    made = bucket_policy(bucket, prefix, principals, signed_urls=signed_urls)["Statement"]
    kept = [each for each in made if public or each["Principal"] != "*"]
    return [{**each, "Sid": mark(prefix) + each["Sid"]} for each in kept]


def cors(prefix: str, origins: Sequence[str]) -> list[Json]:
    """Return our rule: browsers send forms of direct uploads, and read what signed URLs lead to."""
    rule = {
        "ID": f"{mark(prefix)}-browsers",
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["GET", "HEAD", "POST", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "Content-Length", "Content-Range", "Accept-Ranges"],
        "MaxAgeSeconds": CORS_SECONDS,
    }
    return [rule]


def lifecycle(prefix: str) -> list[Json]:
    """Return our rules. They only save space: nothing of ours relies on them."""
    expiring = {keys.WORK: WORK_DAYS, keys.TOMBSTONES: TOMBSTONE_DAYS}
    rules: list[Json] = [
        {
            "ID": f"{mark(prefix)}-{top}",
            "Filter": {"Prefix": f"{prefix}{top}/"},
            "Status": "Enabled",
            "Expiration": {"Days": days},
        }
        for top, days in expiring.items()
    ]
    return [
        *rules,
        *(
            {
                "ID": f"{mark(prefix)}-parts-{top}",
                "Filter": {"Prefix": f"{prefix}{top}/"},
                "Status": "Enabled",
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
            }
            for top, cells in RIGHTS.items()
            if any(Right.WRITE in rights for rights in cells.values())
        ),
    ]


def replaced(prefix: str, principals: Iterable[str]) -> tuple[str, ...]:
    """Return what the Sids begin with that this run decides on.

    An account that was named in an earlier run and is not now keeps its rights: to lose them would stop a component.
    """
    return tuple(mark(prefix) + Component(name).title() for name in (*principals, Component.ANONYMOUS))


def merged(found: Sequence[Json], own: Sequence[Json], marks: tuple[str, ...], *, name: str) -> list[Json]:
    """Return what is not ours, in its order, and ours after it; `name` is the member that begins with one of the marks.

    What is as wanted stays as the server shows it, so that a second run changes nothing.
    """
    others = [each for each in found if not str(each.get(name, "")).startswith(marks)]
    shown = {str(each.get(name)): each for each in found}
    return [*others, *(_kept(shown.get(each[name]), each) for each in own)]


def _kept(found: Json | None, wanted: Json) -> Json:
    return found if found is not None and is_same(found, wanted) else wanted


def is_same(one: object, other: object) -> bool:
    """Tell whether two settings mean the same: servers reorder lists, and write lists of one as their only member."""
    return _plain(one) == _plain(other)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        members = sorted((_plain(member) for member in value), key=repr)
        return members[0] if len(members) == 1 else members
    return value


def opened(found: Iterable[Json], bucket: str, prefix: str) -> Iterator[str]:
    """Yield the Sids of statements that open more than `media/*` to everybody, whoever wrote them.

    Conditions are not weighed: a statement with one is left out, as it may be sound.
    """
    arn = f"arn:aws:s3:::{bucket}"
    closed = [top for top, cells in RIGHTS.items() if Component.ANONYMOUS not in cells]
    secret = [f"{arn}/{prefix}{top}/x" for top in closed]
    for each in found:
        everybody = _members(each.get("Principal"))
        if each.get("Effect") != "Allow" or "*" not in everybody or each.get("Condition"):
            continue
        actions, resources = _members(each.get("Action")), _members(each.get("Resource"))
        reads = any(fnmatchcase("s3:getobject", str(action).lower()) for action in actions)
        lists = any(fnmatchcase("s3:listbucket", str(action).lower()) for action in actions)
        changes = any(
            fnmatchcase(name, str(action).lower()) for action in actions for name in ("s3:putobject", "s3:deleteobject")
        )
        reaches = any(fnmatchcase(key, str(resource)) for key in secret for resource in resources)
        if (reads and reaches) or changes or (lists and any(fnmatchcase(arn, str(r)) for r in resources)):
            yield str(each.get("Sid") or "(without a Sid)")


def _members(value: object) -> list[object]:
    """Return the members of a value that may be one, several, or {"AWS": …}."""
    if isinstance(value, dict):
        return [member for each in value.values() for member in _members(each)]
    return value if isinstance(value, list) else [value]
