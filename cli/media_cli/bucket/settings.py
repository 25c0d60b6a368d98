"""The settings of a bucket, one after the other: what is there, what it should be, and the way from one to the other.

Servers know some of these settings and not others. What one does not know, or does not let this account see, is told
and passed over.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from media_cli.bucket import wanted

Json = dict[str, Any]


class State(StrEnum):
    """How a setting stands."""

    SAME = "same"
    DIFFERS = "differs"
    APPLIED = "applied"
    #: It is not as it should be, and only told of: it is the owner's to decide.
    NOTED = "noted"
    UNSUPPORTED = "unsupported"
    FORBIDDEN = "forbidden"


#: What still has to be done about the bucket, or could not be found out.
UNFINISHED = frozenset({State.DIFFERS, State.NOTED, State.FORBIDDEN})

_ABSENT = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchCORSConfiguration",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "OwnershipControlsNotFoundError",
    }
)
_UNSUPPORTED = frozenset(
    {"NotImplemented", "XNotImplemented", "MethodNotAllowed", "VersioningNotConfigured", "UnsupportedOperation"}
)
#: With these the policy cannot be public, with the others no object can be made so by an ACL, which is as it should be.
_AGAINST_POLICY = ("BlockPublicPolicy", "RestrictPublicBuckets")
_AGAINST_ACLS = ("BlockPublicAcls", "IgnorePublicAcls")


class BucketError(Exception):
    """The bucket cannot be looked at; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of the bucket.

    principals: the accounts of components, for servers without policies of accounts; signed_urls: whether the gateway
    answers those.
    """

    bucket: str
    prefix: str
    public: bool = True
    signed_urls: bool = False
    principals: dict[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ("*",)
    unblock: bool = False


@dataclass(slots=True)
class Setting:
    """One setting as it was found, and as it should be; `note` is for people."""

    name: str
    state: State
    note: str = ""
    before: Any = None
    after: Any = None
    write: Callable[[], object] | None = None

    @property
    def diff(self) -> str:
        """Return the way from what is to what should be, as lines."""
        old, new = (
            json.dumps(side, indent=2, sort_keys=True).splitlines() if side is not None else []
            for side in (self.before, self.after)
        )
        return "\n".join(unified_diff(old, new, "found", "wanted", lineterm="")) if self.write else ""


def look(client: Any, wish: Wish) -> list[Setting]:
    """Look at every setting. Raises BucketError when there is no bucket, or no way to it."""
    try:
        client.head_bucket(Bucket=wish.bucket)
    except ClientError as error:
        # Who may only change settings may perhaps not list, which is what this asks for: 403 says nothing then.
        if _status(error) == HTTPStatus.NOT_FOUND:
            message = f"There is no bucket {wish.bucket}: make it, or correct its name."
            raise BucketError(message) from error
        if _status(error) != HTTPStatus.FORBIDDEN:
            raise BucketError(str(error)) from error
    except BotoCoreError as error:
        raise BucketError(str(error)) from error
    return [
        _guarded(name, partial(part, client, wish))
        for name, part in {
            "public access block": _public_access_block,
            "policy": _policy,
            "CORS": _cors,
            "lifecycle": _lifecycle,
            "ownership": _ownership,
            "versioning": _versioning,
        }.items()
    ]


def apply(settings: Sequence[Setting]) -> None:
    """Bring about what differs; each setting says then what became of it."""
    for setting in settings:
        if setting.state is not State.DIFFERS or setting.write is None:
            continue
        done = _guarded(setting.name, partial(_written, setting.write))
        setting.state = done.state
        setting.note = done.note or setting.note


def _written(write: Callable[[], object]) -> Setting:
    write()
    return Setting("", State.APPLIED)


def _public_access_block(client: Any, wish: Wish) -> Setting:
    answer = _read(client.get_public_access_block, wish.bucket)
    found: Json = answer.get("PublicAccessBlockConfiguration", {})
    blocking = [name for name in _AGAINST_POLICY if found.get(name)]
    setting = Setting("public access block", State.SAME, before=found or None)
    if wish.public and blocking:
        after = {**found, **dict.fromkeys(_AGAINST_POLICY, False), **dict.fromkeys(_AGAINST_ACLS, True)}
        setting.note = f"{' and '.join(blocking)} would keep media/* from being public; --unblock turns this off."
        setting.state = State.NOTED
        if wish.unblock:
            setting.state, setting.after = State.DIFFERS, after
            setting.write = lambda: client.put_public_access_block(
                Bucket=wish.bucket, PublicAccessBlockConfiguration=after
            )
    elif not wish.public and not all(found.get(name) for name in (*_AGAINST_POLICY, *_AGAINST_ACLS)):
        setting.state = State.NOTED
        setting.note = "Nothing here is to be public: all four public access blocks can be on."
    return setting


def _policy(client: Any, wish: Wish) -> Setting:
    answer = _read(client.get_bucket_policy, wish.bucket)
    found: Json = json.loads(answer.get("Policy") or "{}")
    listed: Any = found.get("Statement", [])
    before: list[Json] = listed if isinstance(listed, list) else [listed]
    own = wanted.statements(wish.bucket, wish.prefix, wish.principals, public=wish.public, signed_urls=wish.signed_urls)
    after = wanted.merged(before, own, wanted.replaced(wish.prefix, wish.principals), name="Sid")
    policy = {"Version": found.get("Version", "2012-10-17"), **found, "Statement": after}

    def write() -> None:
        if after:
            client.put_bucket_policy(Bucket=wish.bucket, Policy=json.dumps(policy, separators=(",", ":")))
        else:
            client.delete_bucket_policy(Bucket=wish.bucket)

    setting = _compared("policy", before, after, write)
    if sids := list(wanted.opened(before, wish.bucket, wish.prefix)):
        setting.note = f"More than media/* is open to everybody, by {', '.join(sids)}: take it out yourself."
        if setting.state is State.SAME:
            setting.state = State.NOTED
    return setting


def _cors(client: Any, wish: Wish) -> Setting:
    before: list[Json] = _read(client.get_bucket_cors, wish.bucket).get("CORSRules", [])
    after = wanted.merged(before, wanted.cors(wish.prefix, wish.origins), (wanted.mark(wish.prefix),), name="ID")
    return _compared(
        "CORS",
        before,
        after,
        lambda: client.put_bucket_cors(Bucket=wish.bucket, CORSConfiguration={"CORSRules": after}),
    )


def _lifecycle(client: Any, wish: Wish) -> Setting:
    before: list[Json] = _read(client.get_bucket_lifecycle_configuration, wish.bucket).get("Rules", [])
    after = wanted.merged(before, wanted.lifecycle(wish.prefix), (wanted.mark(wish.prefix),), name="ID")
    return _compared(
        "lifecycle",
        before,
        after,
        lambda: client.put_bucket_lifecycle_configuration(Bucket=wish.bucket, LifecycleConfiguration={"Rules": after}),
    )


def _ownership(client: Any, wish: Wish) -> Setting:
    answer = _read(client.get_bucket_ownership_controls, wish.bucket)
    before: list[Json] = answer.get("OwnershipControls", {}).get("Rules", [])
    after = [{"ObjectOwnership": "BucketOwnerEnforced"}]
    if before and before != after:
        note = "Objects belong to who wrote them unless ACLs say otherwise; BucketOwnerEnforced turns ACLs off."
        return Setting("ownership", State.NOTED, note, before)
    return _compared(
        "ownership",
        before,
        after,
        lambda: client.put_bucket_ownership_controls(Bucket=wish.bucket, OwnershipControls={"Rules": after}),
    )


def _versioning(client: Any, wish: Wish) -> Setting:
    status = _read(client.get_bucket_versioning, wish.bucket).get("Status")
    if status != "Enabled":
        return Setting("versioning", State.SAME, before=status)
    note = "What is deleted stays as an old version, and costs, until a lifecycle rule of yours expires it."
    return Setting("versioning", State.NOTED, note, before=status)


def _compared(name: str, before: list[Json], after: list[Json], write: Callable[[], object]) -> Setting:
    if wanted.is_same(before, after):
        return Setting(name, State.SAME, before=before)
    return Setting(name, State.DIFFERS, before=before, after=after, write=write)


def _read(call: Callable[..., Any], bucket: str) -> Json:
    """Return the answer, empty where the bucket has no such setting."""
    try:
        answer: Json = call(Bucket=bucket)
    except ClientError as error:
        if _code(error) in _ABSENT:
            return {}
        raise
    return answer


def _guarded(name: str, part: Callable[[], Setting]) -> Setting:
    """Carry a part out; what the server does not know or allow becomes the state of the setting."""
    try:
        return part()
    except ClientError as error:
        code, operation = _code(error), error.operation_name
        if code in _UNSUPPORTED or _status(error) == HTTPStatus.NOT_IMPLEMENTED:
            return Setting(name, State.UNSUPPORTED, f"The server does not know {operation} ({code}).")
        if _status(error) == HTTPStatus.FORBIDDEN:
            return Setting(name, State.FORBIDDEN, f"This account may not do s3:{operation} ({code}).")
        text = error.response.get("Error", {}).get("Message", "")
        raise BucketError(f"{name}: {code}: {text}") from error  # noqa: EM102, TRY003 - the server's own words
    except BotoCoreError as error:
        raise BucketError(str(error)) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
