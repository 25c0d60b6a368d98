"""What obstore's errors mean, and how a directory is made durable: for all programs that write to a store.

The transcoder imports this at each start, so it needs no event loop, as mediaasset.objects does.
"""

import os
import re
from http import HTTPStatus
from pathlib import Path

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from mediaasset.reasons import MediaError, Reason

#: What S3 says of credentials that are none, rather than of a right that is missing (AWS, "Error responses").
_BAD_CREDENTIALS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeTooSkewed",
)


#: What obstore says of an answer for which it has no exception of its own, as it has none for any answer to a list.
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def is_about_credentials(error: Exception) -> bool:
    """Tell whether a refusal would meet every request, whatever the object."""
    return isinstance(error, UnauthenticatedError) or any(f"<Code>{code}<" in str(error) for code in _BAD_CREDENTIALS)


def store_error(error: BaseError | OSError) -> MediaError:
    """Give an error of obstore its reason, without its text, which may hold addresses and keys."""
    text = str(error)
    if "No space left" in text or "StorageFull" in text or "os error 28" in text:
        return MediaError(Reason.DISK_FULL, "The object store has no room left.")
    status = _STATUS.search(text)
    is_refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError))
    if is_refused or (status and int(status[1]) in _REFUSALS):
        return MediaError(Reason.STORE_FORBIDDEN)
    if "<Code>NoSuchBucket<" in text:
        return MediaError(Reason.STORE_UNAVAILABLE, "There is no such bucket.")
    return MediaError(Reason.STORE_UNAVAILABLE)


def persist(root: Path, key: str) -> None:
    """Make an object in a directory store survive a crash of the machine; S3 needs no such thing.

    Raises MediaError (DiskFull, StoreForbidden, StoreUnavailable).
    """
    try:
        # Directories made on the way to a new object are entries of their parents, up to the root.
        for target in (root / key, *(root / parent for parent in Path(key).parents)):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise store_error(error) from error
