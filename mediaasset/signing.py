"""The signed URLs of private renditions, which the gateway of a cluster answers, and standalone.

    {base}/private/~{expires}.{key id}.{signature}/{the rest of the key}[?download={file name}]

The token is a segment of the path, so that the names in a playlist, which are relative, carry it by themselves: for a
rendition of several files it opens all of its directory. gateway/private.lua checks the same text with the same keys;
tests/data/signatures.json holds both to it, and docs/decisions/0019-*.md says why it is so.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from urllib.parse import quote

from mediaasset import keys
from mediaasset.objects import Signer, saved_name

#: A secret has at least so many bytes: as many as what it makes.
MIN_SECRET_BYTES = 32
#: The form of what is signed.
_VERSION = "media-operator-1"
_KEY_ID_DIGITS = 8
_TOKEN = re.compile(r"~(?P<expires>[0-9]{1,11})\.(?P<key_id>[0-9a-f]{8})\.(?P<signature>[A-Za-z0-9_-]{43})\Z")
#: URLs made within a twelfth of their lifetime are the same: a browser that has the file does not load it again.
_STEPS = 12


class UrlSigner:
    """Makes and checks tokens: HMAC-SHA256 over version, time, scope and file name."""

    def __init__(self, base_url: str, secret: bytes, *further: bytes, now: Callable[[], float] = time.time) -> None:
        """Take the public base URL, the secret that signs, those that are only checked by, and the clock in seconds."""
        self._base_url = base_url
        self._key_id = _key_id(secret)
        self._secrets = {_key_id(each): each for each in (secret, *further)}
        self._now = now

    def url(self, key: str, lifetime: timedelta, file_name: str | None = None) -> str:
        """Return a URL of an object under private/, which with a file name is answered as an attachment."""
        return self.under(keys.PRIVATE, key, key.removeprefix(f"{keys.PRIVATE}/"), lifetime, file_name)

    def under(self, root: str, key: str, path: str, lifetime: timedelta, file_name: str | None = None) -> str:
        """Return `{base}/{root}/{token for the key}/{path}`."""
        seconds = int(lifetime.total_seconds())
        step = max(1, seconds // _STEPS)
        expires = str((int(self._now()) + seconds) // step * step)
        name = quote("" if file_name is None else saved_name(file_name), safe="")
        token = f"~{expires}.{self._key_id}.{_signature(self._secrets[self._key_id], expires, key, name)}"
        query = f"?download={name}" if name else ""
        return keys.public_url(self._base_url, f"{root}/{token}/{quote(path)}{query}")

    def remaining(self, token: str, key: str, name: str = "") -> int | None:
        """Return for how many seconds a token still opens this key: 0 or less when it did, None when it never has.

        name: the file name of a download, as it stands in the URL.
        """
        found = _TOKEN.match(token)
        secret = self._secrets.get(found["key_id"]) if found else None
        if found is None or secret is None:
            return None
        if not hmac.compare_digest(found["signature"], _signature(secret, found["expires"], key, name)):
            return None
        return int(found["expires"]) - int(self._now())


class PrivateFirst:
    """Implements `objects.Signer`: private renditions by the URLs of this module, everything else as another does."""

    opens_trees = True

    def __init__(self, own: UrlSigner, other: Signer) -> None:
        """Take who signs what lies under private/, and who signs the rest."""
        self._own = own
        self._other = other

    async def sign_all(self, wanted: Sequence[str], lifetime: timedelta) -> list[str]:
        """Return a URL for each key."""
        rest = [key for key in wanted if not _is_private(key)]
        others = iter(await self._other.sign_all(rest, lifetime) if rest else [])
        return [self._own.url(key, lifetime) if _is_private(key) else next(others) for key in wanted]

    async def download(self, key: str, lifetime: timedelta, file_name: str) -> str:
        """Return a URL that is answered as an attachment."""
        if _is_private(key):
            return self._own.url(key, lifetime, file_name)
        return await self._other.download(key, lifetime, file_name)


def scope(key: str) -> str:
    """Return what a token for this key opens: its directory, ending in a slash, if it is one of several files."""
    return keys.tree_of(key) or key


def _is_private(key: str) -> bool:
    return key.startswith(f"{keys.PRIVATE}/")


def _signature(secret: bytes, expires: str, key: str, name: str) -> str:
    # No line break can be in the time or the name, so that one text never stands for two.
    text = "\n".join((_VERSION, expires, scope(key), name))
    return base64.urlsafe_b64encode(_hmac(secret, text)).decode().rstrip("=")


def _key_id(secret: bytes) -> str:
    """Return by what a token tells which secret made it; it follows from the secret, so nobody needs to be told."""
    return _hmac(secret, f"{_VERSION} key id").hex()[:_KEY_ID_DIGITS]


def _hmac(secret: bytes, text: str) -> bytes:
    return hmac.digest(secret, text.encode(), hashlib.sha256)
