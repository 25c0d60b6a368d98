"""The store as the transcoder sees it: synchronous, few calls, each with its errors named."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, from_url

from mediaasset.reasons import MediaError, Reason
from mediaasset.storeerrors import is_about_credentials, persist, store_error

#: Larger files go up in parts of this size, so that memory stays bounded.
_PART_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024

_MISSING = (FileNotFoundError, NotFoundError)
_REFUSED = (PermissionDeniedError, UnauthenticatedError, PermissionError)


class Bucket:
    """Reads the source, writes renditions and marks. Raises MediaError: StoreUnavailable, StoreForbidden, DiskFull."""

    def __init__(self, url: str) -> None:
        """Open file:///directory or s3://bucket/prefix; the AWS_* variables hold address and credentials."""
        try:
            self._store: ObjectStore = from_url(url)
        except (BaseError, OSError) as error:
            raise store_error(error) from error
        self._root = Path(self._store.prefix) if isinstance(self._store, LocalStore) and self._store.prefix else None

    def read(self, key: str) -> tuple[int, Iterator[bytes]]:
        """Return the size of a source and its bytes; raises also SourceNotFound and SourceForbidden."""
        try:
            answer = obstore.get(self._store, key)
            size = answer.meta["size"]
        except _MISSING as error:
            raise MediaError(Reason.SOURCE_NOT_FOUND) from error
        except (PermissionDeniedError, PermissionError) as error:
            if is_about_credentials(error):
                raise store_error(error) from error
            raise MediaError(Reason.SOURCE_FORBIDDEN, "The object store refuses to give the source.") from error
        except (BaseError, OSError) as error:
            raise store_error(error) from error
        return size, _chunks(answer.stream(min_chunk_size=_CHUNK_BYTES))

    def exists(self, key: str) -> bool:
        """Tell whether an object is there; False too when the credentials may only write."""
        try:
            obstore.head(self._store, key)
        except (*_MISSING, *_REFUSED):
            return False
        except (BaseError, OSError) as error:
            raise store_error(error) from error
        return True

    def create(self, key: str, body: bytes) -> bool:
        """Write a small object unless it exists; tell whether it was written."""
        try:
            # LocalStore takes no attributes, and a directory needs none: its server knows the type by extension.
            attributes = None if self._root else {"Content-Type": "application/json"}
            obstore.put(self._store, key, body, mode="create", use_multipart=False, attributes=attributes)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise store_error(error) from error
        self._persist(key)
        return True

    def write(self, key: str, file: BinaryIO, attributes: dict[str, str]) -> None:
        """Write a file. An object of the same key is replaced: keys name the content, so it holds the same bytes."""
        try:
            obstore.put(
                self._store,
                key,
                file,
                attributes=None if self._root else attributes,
                chunk_size=_PART_BYTES,
                max_concurrency=2,
            )
        except (BaseError, OSError) as error:
            raise store_error(error) from error
        self._persist(key)

    def _persist(self, key: str) -> None:
        if self._root is not None:
            persist(self._root, key)


def _chunks(stream: Iterable[bytes]) -> Iterator[bytes]:
    try:
        for chunk in stream:
            yield bytes(chunk)
    except (BaseError, OSError) as error:
        raise store_error(error) from error
