"""Object keys and public URLs: pure functions, and the only place that knows the layout of the store.

Keys are relative to the root prefix of the store. The table of who may write what is in docs/architecture.md.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from mediaasset.media import by_mime

UPLOADS = "uploads"
PUBLIC = "media"
PRIVATE = "private"
WORK = "work"
TOMBSTONES = "tombstones"
WHATSAPP = "whatsapp-media"

#: How many hexadecimal digits of the sha256 stand in the name of a rendition: 64 bits.
DIGEST_DIGITS = 16

#: What spec.publicPath may be: up to eight segments of letters, digits, dot, dash and underscore, none beginning with
#: a dot, 200 characters in all. The CRD holds the same pattern.
PUBLIC_PATH_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}){0,7}$"
PUBLIC_PATH_MAX_LENGTH = 200
_PUBLIC_PATH = re.compile(PUBLIC_PATH_PATTERN.removesuffix("$") + r"\Z")

#: What lies in a directory that is named as rendition_tree does.
_IN_TREE = re.compile(rf"(.*/[a-z][a-z0-9-]*-[0-9a-f]{{{DIGEST_DIGITS}}}/)[^/]+\Z")

_STORE = re.compile(r"s3://(?P<bucket>[a-z0-9.-]+)(?P<prefix>/[^\s?#]*)?")


def place(url: str) -> tuple[str, str]:
    """Return the bucket of `s3://bucket/root/prefix`, and the root prefix with a slash at its end, or empty.

    Raises ValueError for what is none.
    """
    found = _STORE.fullmatch(url)
    if not found:
        message = f"{url!r} is not like s3://bucket or s3://bucket/prefix"
        raise ValueError(message)
    return found["bucket"], f"{(found['prefix'] or '').strip('/')}/".lstrip("/")


def uploads_of(namespace: str, asset: str) -> str:
    """Return the prefix, ending in a slash, of what people sent for one asset."""
    return f"{UPLOADS}/{namespace}/{asset}/"


def upload(namespace: str, asset: str) -> str:
    """Return a new key for what a person sends: never used twice, so nothing is overwritten."""
    return uploads_of(namespace, asset) + secrets.token_hex(16)


def upload_record(namespace: str, asset: str) -> str:
    """Return the key of what is known of an upload that is not complete."""
    return uploads_of(namespace, asset) + "upload.json"


def sent(namespace: str, name: str, what: str) -> str:
    """Return a key for what is remembered of a message that went out under an Idempotency-Key, `name` standing for it.

    No asset has a name that begins with a dot, so these are among nobody's uploads.
    """
    return f"{UPLOADS}/{namespace}/.sent/{name}/{what}.json"


def is_sent(key: str) -> bool:
    """Tell whether a key is one of those."""
    return key.split("/")[2:3] == [".sent"]


def may_read_source(key: str, namespace: str, foreign_prefixes: Sequence[str] = ()) -> bool:
    """Tell whether an asset of `namespace` may take its source from `key`."""
    if not key or key.startswith("/") or any(part in ("", ".", "..") for part in key.split("/")):
        return False
    return key.startswith(f"{UPLOADS}/{namespace}/") or any(
        key.startswith(prefix) for prefix in foreign_prefixes if prefix
    )


def is_public_path(path: str) -> bool:
    """Tell whether spec.publicPath may be `path`."""
    return len(path) <= PUBLIC_PATH_MAX_LENGTH and _PUBLIC_PATH.match(path) is not None


def asset_prefix(*, public: bool, tenant: str, public_path: str, uid: str) -> str:
    """Return the prefix, ending in a slash, of all renditions of one asset.

    tenant is the namespace, or empty in an install for one tenant.
    """
    parts = [PUBLIC if public else PRIVATE, tenant, public_path, uid]
    return "/".join(part for part in parts if part) + "/"


def rendition(prefix: str, name: str, sha256: str, extension: str) -> str:
    """Return the key of a rendition: named by its content, so it is never overwritten with other bytes."""
    return f"{prefix}{name}-{sha256[:DIGEST_DIGITS]}.{extension}"


def rendition_tree(prefix: str, name: str, sha256: str) -> str:
    """Return the prefix, ending in a slash, of a rendition that is a directory: named by what its files hold."""
    return f"{prefix}{name}-{sha256[:DIGEST_DIGITS]}/"


def tree_of(key: str) -> str | None:
    """Return the prefix, ending in a slash, of the directory that a file lies in; None for a rendition of one file."""
    found = _IN_TREE.match(key)
    return found[1] if found else None


def whatsapp_original(account: str, sent: datetime, mime_type: str | None, uid: str) -> str:
    """Return the key of what somebody sent by WhatsApp, as it came.

    It follows from the message alone, so that a retry writes the same key: `sent` is when it was sent, `mime_type` what
    the message announced.
    """
    media = by_mime(mime_type or "")
    kind, extension = (media.kind.lower(), media.extensions[0]) if media else ("other", "bin")
    day = sent.astimezone(UTC).strftime("%Y-%m-%d")
    return f"{WHATSAPP}/{account}/{day}/{kind}/{whatsapp_name(uid)}.{extension}"


def whatsapp_name(uid: str) -> str:
    """Return the name, without its extension, of what came by WhatsApp for the asset of this uid."""
    # Every transcoder imports this module at its start, and only the operator makes these names.
    from uuid import NAMESPACE_OID, uuid5  # noqa: PLC0415

    return str(uuid5(NAMESPACE_OID, uid))


def work_prefix(uid: str) -> str:
    """Return the prefix, ending in a slash, of all that the attempts of an asset leave behind."""
    return f"{WORK}/{uid}/"


def result(uid: str, attempt: int) -> str:
    """Return the key of an attempt's commit mark."""
    return f"{work_prefix(uid)}{attempt}/result.json"


def failure(uid: str, attempt: int, pod: str) -> str:
    """Return the key at which one pod of an attempt says why it failed."""
    return f"{work_prefix(uid)}{attempt}/failure-{pod}.json"


def attempt_of(key: str) -> int | None:
    """Return the attempt that a key under work/ belongs to."""
    parts = key.split("/")
    return int(parts[2]) if len(parts) == 4 and parts[0] == WORK and parts[2].isdecimal() else None  # noqa: PLR2004 - work/{uid}/{attempt}/{file}


def tombstone(namespace: str, asset: str) -> str:
    """Return the key that remembers a deleted asset."""
    return f"{TOMBSTONES}/{namespace}/{asset}.json"


def retention_mark(namespace: str, asset: str, uid: str) -> str:
    """Return the key that says that the objects of a deleted asset were to stay; it stays as long as they do."""
    # No name of an asset holds "_".
    return f"{TOMBSTONES}/{namespace}/_retained/{uid}/{asset}.json"


def retained(key: str) -> tuple[str, str, str] | None:
    """Return (namespace, name, uid) of the asset that a retention mark is of; None for any other key."""
    top, namespace, mark, uid, name, *_ = [*key.split("/"), "", "", "", ""]
    return (namespace, name.removesuffix(".json"), uid) if (top, mark) == (TOMBSTONES, "_retained") else None


def public_url(base_url: str, key: str) -> str:
    """Return the URL of a public object: the key under the base, which may have a path of its own."""
    return f"{base_url.rstrip('/')}/{key}"


def move(key: str, *, source: str, target: str) -> str:
    """Return the key that an object has after the prefix of its asset changed from `source` to `target`."""
    if not key.startswith(source):
        message = f"{key!r} does not lie under {source!r}"
        raise ValueError(message)
    return target + key.removeprefix(source)


def lies_under(key: str, *prefixes: str) -> bool:
    """Tell whether a key lies under one of the prefixes, without stepping out of it."""
    return key.startswith(prefixes) and ".." not in key.split("/")
