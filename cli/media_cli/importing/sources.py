"""What an import reads from: a directory, or a prefix of a bucket. Both give their files by relative path."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

#: Bytes of an object that are kept in memory before it goes to a temporary file.
_SPOOL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """A file: its path below the source, its size in bytes, and a stamp that changes when its content does."""

    path: PurePosixPath
    size: int
    stamp: str


class Source(Protocol):
    """Where the files are; `name` stays the same from run to run. Methods raise OSError."""

    name: str

    def items(self) -> Iterator[Item]:
        """Yield every file, in the order of their paths."""

    def head(self, item: Item, size: int) -> bytes:
        """Return the first bytes of a file."""

    def open(self, item: Item) -> Any:
        """Return a context manager of a binary file, which can be read more than once."""


class Directory:
    """A directory of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self.name = str(self._path)

    def items(self) -> Iterator[Item]:
        """Walk it; links to other directories are not followed, for they may lead round in a circle."""

        def fail(error: OSError) -> None:
            raise error

        for folder, folders, files in os.walk(self._path, onerror=fail):
            folders.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if path.is_file():
                    found = path.stat()
                    relative = PurePosixPath(path.relative_to(self._path).as_posix())
                    yield Item(relative, found.st_size, f"{found.st_size}-{found.st_mtime_ns}")

    def head(self, item: Item, size: int) -> bytes:
        """Read them."""
        with self._path.joinpath(item.path).open("rb") as file:
            return file.read(size)

    @contextmanager
    def open(self, item: Item) -> Iterator[BinaryIO]:
        """Open the file itself."""
        with self._path.joinpath(item.path).open("rb") as file:
            yield file


class Objects:
    """The objects below a prefix of a bucket, read as the variables AWS_… say."""

    def __init__(self, url: str) -> None:
        """Take `s3://bucket/prefix`; raises ValueError for another URL."""
        from mediaasset.keys import place  # noqa: PLC0415 - boto3 takes half a second, and an extra of its own
        from mediaasset.s3client import connect  # noqa: PLC0415 - the same

        self._bucket, self._prefix = place(url)
        self._client = connect(self._bucket)
        self.name = f"s3://{self._bucket}/{self._prefix}"

    def items(self) -> Iterator[Item]:
        """List them; a key that ends in a slash stands for a folder."""
        with _as_oserror():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    if not found["Key"].endswith("/"):
                        path = PurePosixPath(found["Key"].removeprefix(self._prefix))
                        yield Item(path, found["Size"], f"{found['Size']}-{found['ETag']}")

    def head(self, item: Item, size: int) -> bytes:
        """Ask for a range."""
        with _as_oserror():
            answer = self._get(item, Range=f"bytes=0-{size - 1}")
            return cast("bytes", answer["Body"].read())

    @contextmanager
    def open(self, item: Item) -> Iterator[BinaryIO]:
        """Fetch it: the upload has to read it twice, for its digest and to send it."""
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as file:
            with _as_oserror():
                self._client.download_fileobj(self._bucket, f"{self._prefix}{item.path}", file)
            file.seek(0)
            yield cast("BinaryIO", file)

    def _get(self, item: Item, **options: str) -> Any:
        return self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{item.path}", **options)


@contextmanager
def _as_oserror() -> Iterator[None]:
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error
