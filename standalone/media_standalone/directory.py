"""The store of standalone: a directory, and URLs to its private objects that a secret of this machine signs."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from obstore.store import LocalStore

from mediaasset import keys
from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason

#: Where files are served that somebody saves, whatever they are.
DOWNLOAD = "download"

#: How obstore names a file that it has not finished writing. A key never holds "#": obstore escapes it.
_STAGED = re.compile(r"#\d+\Z")


def open_store(root: Path, signer: "Signer") -> ObjectStore:
    """Return the store in this directory, which is made if need be; raises OSError when it cannot."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ObjectStore(LocalStore(root, automatic_cleanup=True), signer)


def remove_staged(root: Path) -> int:
    """Delete the files that a killed writer left half written; return how many. Only for a store nobody writes to."""
    staged = [path for path in root.rglob("*#*") if _STAGED.search(path.name) and path.is_file()]
    for path in staged:
        path.unlink()
    return len(staged)


class Signer:
    """Makes and checks URLs of the form {base}/private/…?expires=…&signature=…; HMAC-SHA256 over path and expiry."""

    def __init__(self, secret: bytes, base_url: str, *, now: Callable[[], float] = time.time) -> None:
        """Take the secret, the public base URL, and the clock in seconds since the epoch."""
        self._secret = secret
        self._base_url = base_url
        self._now = now

    async def sign_all(self, wanted: Sequence[str], lifetime: timedelta) -> list[str]:
        """Return URLs to private objects; raises as `sign` does."""
        return [await self.sign(key, lifetime) for key in wanted]

    async def download(self, key: str, lifetime: timedelta, file_name: str) -> str:
        """Return a URL of the form {base}/download/{key}?expires=…&name=…&signature=… by which any object is saved."""
        expires = int(self._now() + lifetime.total_seconds())
        signature = self._signature(key, expires, file_name)
        query = urlencode({"expires": expires, "name": file_name, "signature": signature})
        return f"{keys.public_url(self._base_url, quote(f'{DOWNLOAD}/{key}'))}?{query}"

    async def sign(self, key: str, lifetime: timedelta) -> str:
        """Return a URL to a private object; raises MediaError (StoreForbidden) for any other, which is not served."""
        if not key.startswith(f"{keys.PRIVATE}/"):
            raise MediaError(Reason.STORE_FORBIDDEN, "Only private objects have signed URLs.")
        expires = int(self._now() + lifetime.total_seconds())
        query = urlencode({"expires": expires, "signature": self._signature(key, expires)})
        return f"{keys.public_url(self._base_url, quote(key))}?{query}"

    def remaining(self, key: str, expires: str, signature: str, name: str | None = None) -> int | None:
        """Return for how many more seconds this signature of `key` holds; None when it does not, or no longer.

        name: the file name of a download.
        """
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12 and signature.isascii()):  # noqa: PLR2004 - seconds up to the year 33658
            return None
        if not hmac.compare_digest(signature, self._signature(key, int(expires), name)):
            return None
        left = int(expires) - self._now()
        return int(left) if left > 0 else None

    def _signature(self, key: str, expires: int, name: str | None = None) -> str:
        # An expiry has digits only, so neither can be taken for the other.
        text = f"{expires}\n{key}" if name is None else f"{DOWNLOAD}\n{expires}\n{key}\n{name}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
