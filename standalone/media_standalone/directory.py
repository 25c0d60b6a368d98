"""The store of standalone: a directory, and URLs to its objects that a secret of this machine signs."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from obstore.store import LocalStore

from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason
from mediaasset.signing import PrivateFirst, UrlSigner

#: Where files are served that somebody saves, whatever they are.
DOWNLOAD = "download"

#: How obstore names a file that it has not finished writing. A key never holds "#": obstore escapes it.
_STAGED = re.compile(r"#\d+\Z")


def open_store(root: Path, signer: UrlSigner) -> ObjectStore:
    """Return the store in this directory, which is made if need be; raises OSError when it cannot."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ObjectStore(LocalStore(root, automatic_cleanup=True), signed_by(signer))


def signed_by(signer: UrlSigner) -> PrivateFirst:
    """Return who makes the URLs of such a store."""
    return PrivateFirst(signer, _Downloads(signer))


def remove_staged(root: Path) -> int:
    """Delete the files that a killed writer left half written; return how many. Only for a store nobody writes to."""
    staged = [path for path in root.rglob("*#*") if _STAGED.search(path.name) and path.is_file()]
    for path in staged:
        path.unlink()
    return len(staged)


class _Downloads:
    """Implements `objects.Signer` for what is not under private/: it has only URLs by which it is saved."""

    opens_trees = False

    def __init__(self, signer: UrlSigner) -> None:
        self._signer = signer

    async def sign_all(self, wanted: Sequence[str], lifetime: timedelta) -> list[str]:  # noqa: ARG002 - the port's
        """Raise MediaError (StoreForbidden): nothing else is served."""
        raise MediaError(Reason.STORE_FORBIDDEN, "Only private objects have signed URLs.")

    async def download(self, key: str, lifetime: timedelta, file_name: str) -> str:
        """Return a URL of the form {base}/download/~{token}/{key}?download=…."""
        return self._signer.under(DOWNLOAD, key, key, lifetime, file_name)
