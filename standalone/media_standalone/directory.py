"""The store of standalone: a directory, and URLs to its private objects that a secret of this machine signs."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from obstore.store import LocalStore

from mediaasset import keys
from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason

#: How obstore names a file that it has not finished writing. A key never holds "#": obstore escapes it.
_STAGED = re.compile(r"#\d+\Z")


def open_store(root: Path, signer: "Signer") -> ObjectStore:
    """Return the store in this directory, which is made if need be; raises OSError when it cannot."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ObjectStore(LocalStore(root, automatic_cleanup=True), signer.sign)


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

    async def sign(self, key: str, lifetime: timedelta) -> str:
        """Return a URL to a private object; raises MediaError (StoreForbidden) for any other, which is not served."""
        if not key.startswith(f"{keys.PRIVATE}/"):
            raise MediaError(Reason.STORE_FORBIDDEN, "Only private objects have signed URLs.")
        expires = int(self._now() + lifetime.total_seconds())
        query = urlencode({"expires": expires, "signature": self._signature(key, expires)})
        return f"{keys.public_url(self._base_url, quote(key))}?{query}"

    def remaining(self, key: str, expires: str, signature: str) -> int | None:
        """Return for how many more seconds this signature of `key` holds; None when it does not, or no longer."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12 and signature.isascii()):  # noqa: PLR2004 - seconds up to the year 33658
            return None
        if not hmac.compare_digest(signature, self._signature(key, int(expires))):
            return None
        left = int(expires) - self._now()
        return int(left) if left > 0 else None

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(self._secret, f"{expires}\n{key}".encode(), hashlib.sha256).hexdigest()
