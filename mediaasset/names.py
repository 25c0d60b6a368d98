"""Names that every program must agree on: the API group, annotations, labels and deterministic names."""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

GROUP = "media-operator.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

ASSET_KIND = "MediaAsset"
ASSET_PLURAL = "mediaassets"
PROFILE_KIND = "MediaProfile"
PROFILE_PLURAL = "mediaprofiles"

#: Holds an asset until its objects are deleted.
FINALIZER = f"{GROUP}/objects"

#: On a MediaProfile: "true" makes it the one that assets without a profileName get.
DEFAULT_PROFILE_ANNOTATION = f"{GROUP}/is-default-profile"
#: On a MediaAsset: any new value asks for one more attempt; recorded in status.lastHandledReprocess.
REPROCESS_ANNOTATION = f"{GROUP}/reprocess-requested-at"
#: On a MediaAsset: when it was created, finer than creationTimestamp; of two in one second it says which is newer.
CREATED_ANNOTATION = f"{GROUP}/created-at"
#: Beside it: the names of the only renditions to make again, with commas between them; empty or absent is all of them.
REPROCESS_RENDITIONS_ANNOTATION = f"{GROUP}/reprocess-renditions"
#: On a MediaAsset: the name of the user in the token that created it, for display.
USER_NAME_ANNOTATION = f"{GROUP}/user-name"
#: On a MediaAsset: what two uploads with the same Idempotency-Key must have in common.
REQUEST_DIGEST_ANNOTATION = f"{GROUP}/request-digest"

#: On a MediaAsset: what of it Graph has already been given for sending, as JSON by WhatsApp account.
WHATSAPP_MEDIA_ANNOTATION = f"{GROUP}/whatsapp-media"
#: On a Secret of the work namespace: the WhatsApp account that it holds.
WHATSAPP_ACCOUNT_LABEL = f"{GROUP}/whatsapp-account"
#: On a MediaAsset: the W3C trace context of the request that created it.
TRACEPARENT_ANNOTATION = f"{GROUP}/traceparent"

#: On Jobs and their pods: who made them, the asset they work for, the queue that let them in, and their class.
MANAGER_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "media-operator"
ASSET_UID_LABEL = f"{GROUP}/asset-uid"
ATTEMPT_LABEL = f"{GROUP}/attempt"
QUEUE_LABEL = f"{GROUP}/queue"
CLASS_LABEL = f"{GROUP}/class"
#: The same, as annotations where a label would be too short.
INPUTS_HASH_ANNOTATION = f"{GROUP}/inputs-hash"
ASSET_NAMESPACE_ANNOTATION = f"{GROUP}/asset-namespace"
ASSET_NAME_ANNOTATION = f"{GROUP}/asset-name"


def reprocessing(at: datetime, renditions: Iterable[str] = ()) -> dict[str, str]:
    """Return the annotations that ask for one more attempt, at all renditions or those of these names."""
    return {REPROCESS_ANNOTATION: at.isoformat(), REPROCESS_RENDITIONS_ANNOTATION: ",".join(renditions)}


def random_asset_name() -> str:
    """Return a new asset id: 26 characters, a DNS label, not to be guessed (125 random bits)."""
    return "m" + _base32(secrets.token_bytes(16))[:25]


def keyed_asset_name(namespace: str, user: str, key: str) -> str:
    """Return the one asset id that belongs to an idempotency key of a user in a namespace."""
    return "k" + _base32(_digest(namespace, user, key))[:25]


def delivered_asset_name(*parts: str) -> str:
    """Return the one asset id of what a webhook delivers, however often: the parts name the sender and the delivery."""
    return "d" + _base32(_digest(*parts))[:25]


def job_name(uid: str, inputs_hash: str, attempt: int) -> str:
    """Return the name of the one Job of an attempt: equal arguments, equal name; at most 63 characters."""
    return "media-" + _base32(_digest(uid, inputs_hash, str(attempt)))[:26]


def whatsapp_secret(account: str) -> str:
    """Return the name of the Secret in the work namespace that holds what opens a WhatsApp account."""
    return f"whatsapp-{account}"


def _digest(*parts: str) -> bytes:
    # A length before each part keeps ("ab", "c") and ("a", "bc") apart.
    return hashlib.sha256(b"".join(b"%d:%s" % (len(raw), raw) for raw in (part.encode() for part in parts))).digest()


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
