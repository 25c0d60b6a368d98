"""A source on its way into a file of ours."""

import base64
import binascii
import hashlib
import re
from typing import BinaryIO

from media_transcoder.progress import Reporter
from mediaasset.reasons import MediaError, Reason


class Incoming:
    """Counts and hashes what is written, and holds it to the limit; it may begin anew."""

    def __init__(self, file: BinaryIO, limit: int | None, reporter: Reporter) -> None:
        """Take an empty file, the most bytes that it may get (None: any number), and whom to tell the progress."""
        self._file, self._limit, self._reporter = file, limit, reporter
        self._digest = hashlib.sha256()
        self._announced: int | None = None
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of what came so far, in hexadecimal."""
        return self._digest.hexdigest()

    def begin(self, announced: int | None) -> None:
        """Start with the first byte, whatever came before; raises SourceTooLarge for a size announced beyond it."""
        self._file.seek(0)
        self._file.truncate()
        self._digest, self._announced, self.size = hashlib.sha256(), announced, 0
        self.check(announced or 0)

    def write(self, chunk: bytes) -> None:
        """Append; raises SourceTooLarge, and OSError when the disk is full."""
        self.size += len(chunk)
        self.check(self.size)
        self._digest.update(chunk)
        self._file.write(chunk)
        if self._announced:
            self._reporter.report("fetch", 100 * self.size / self._announced)

    def check(self, size: int) -> None:
        """Raise MediaError (SourceTooLarge) when so many bytes are more than it may get."""
        if self._limit is not None and size > self._limit:
            raise MediaError(Reason.SOURCE_TOO_LARGE, f"The source has more than {self._limit} bytes.")


def digest_of(text: str | None) -> str | None:
    """Return a sha256 in hexadecimal that came so or in base64, of either alphabet and with or without its padding.

    None stays None. Raises MediaError (SourceUnavailable) for what is no sha256.
    """
    if text is None:
        return None
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return text.lower()
    try:
        raw = base64.b64decode(text.rstrip("=").translate(str.maketrans("-_", "+/")) + "=", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:  # noqa: PLR2004 - bytes of a SHA-256
        raise MediaError(Reason.SOURCE_UNAVAILABLE, "The announced sha256 is none.")
    return raw.hex()
