"""The parts of a form (RFC 7578) as they arrive, with bounds on all that is not the file."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from media_ingest.errors import Problem, Slug
from media_ingest.fields import FILE_FIELDS, FileHead, Form, text_of
from media_ingest.settings import Settings

#: Bounds on the headers of a part. A file name of 1,024 characters has up to 4,096 bytes, three times that if escaped.
_MAX_HEADERS = 16
_MAX_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class FileData:
    """Some bytes of the file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The file is complete."""


class FormParser:
    """Feed it what arrives; take from it the file, and from `form` the fields.

    It works on python-multipart's push parser and only ever holds what one call of feed brought.
    Raises Problem: malformed-request, form-too-large, invalid-field.
    """

    def __init__(self, boundary: bytes, settings: Settings) -> None:
        """Take the boundary of the form and the bounds."""
        self.form = Form()
        self.has_file = False
        self._settings = settings
        self._events: deque[FileData | FileEnd] = deque()
        self._ended = False
        self._in_file = False
        # What ends the file, what may be its beginning, the last that the parser saw, and whether it holds none of it.
        self._delimiter = b"\r\n--" + boundary
        self._held = self._seen = b""
        self._is_plain = False
        self._fields = 0
        # All bytes so far, and those of them that are the file's.
        self._bytes = self._file_bytes = 0
        self._headers: dict[str, bytes] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._name = ""
        self._value = bytearray()
        callbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._part_begins,
            "on_part_data": self._part_data,
            "on_part_end": self._part_ends,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(
                boundary,
                callbacks,  # type: ignore[arg-type]  # a TypedDict of the same callables
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise _malformed(error) from error

    def feed(self, data: bytes) -> None:
        """Parse what arrived."""
        self._bytes += len(data)
        if self._is_plain:
            data = self._take_plain(self._held + data)
        if data:
            try:
                self._parser.write(data)
            except FormParserError as error:
                raise _malformed(error) from error
            # Two bytes after the delimiter tell the parser that it is one.
            window = self._seen + data
            self._seen = window[-len(self._delimiter) - 2 :]
            self._is_plain = self._in_file and self._delimiter not in window and not self._unsure(window)
        if self._bytes - self._file_bytes > self._settings.max_form_bytes:
            raise _form_too_large(self._settings.max_form_bytes)

    def finish(self) -> None:
        """Say that nothing more arrives."""
        if not self._ended:
            raise Problem(
                Slug.MALFORMED_REQUEST, "The form breaks off before its closing boundary: send it again, whole."
            )

    def take(self) -> Iterator[FileData | FileEnd]:
        """Yield what came of the file since the last time."""
        while self._events:
            yield self._events.popleft()

    def _take_plain(self, data: bytes) -> bytes:
        """Take what is the file's and nothing else; return what begins with its end, if that is there.

        The parser would say the same, but looks at more bytes one by one.
        """
        found = data.find(self._delimiter)
        end = found if found >= 0 else len(data) - self._unsure(data)
        if end:
            self._file_bytes += end
            self._events.append(FileData(data[:end]))
        self._held = b"" if found >= 0 else data[end:]
        return data[end:] if found >= 0 else b""

    def _unsure(self, data: bytes) -> int:
        """Return how many of the last bytes may begin the end of the file."""
        # There is one CR in what ends it, so only the last one counts.
        last = data.rfind(b"\r", max(0, len(data) - len(self._delimiter) + 1))
        return len(data) - last if last >= 0 and self._delimiter.startswith(data[last:]) else 0

    def _header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _part_begins(self) -> None:
        disposition, options = parse_options_header(self._headers.get("content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise Problem(Slug.MALFORMED_REQUEST, "Each part of a form needs Content-Disposition: form-data; name=…")
        self._name = _decoded("the name of a field", options[b"name"])
        self._in_file = self._name in FILE_FIELDS
        if self._in_file:
            self._file_begins(options.get(b"filename", b""))
        elif b"filename" in options:
            raise Problem(
                Slug.MALFORMED_REQUEST,
                "The file part must be named file, image or avatar, and there is one per request.",
            )
        elif self._name in self.form.fields:
            raise Problem(Slug.MALFORMED_REQUEST, f"The field {self._name[:100]} comes twice: send it once.")
        self._fields += 1
        if self._fields > self._settings.max_fields:
            limit = self._settings.max_fields
            raise Problem(Slug.FORM_TOO_LARGE, f"A form may have {limit} parts.", limit=limit, received=self._fields)

    def _file_begins(self, name: bytes) -> None:
        if self.has_file:
            raise Problem(
                Slug.MALFORMED_REQUEST, "The form has two file parts: send each file in a request of its own."
            )
        self.has_file = True
        content_type = self._headers.get("content-type", b"").decode("latin-1")
        self.form.file = FileHead(text_of(name), content_type)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._file_bytes += end - start
            self._events.append(FileData(data[start:end]))
            return
        self._value += data[start:end]
        if len(self._value) > self._settings.max_field_bytes:
            raise _form_too_large(self._settings.max_field_bytes, f"The field {self._name[:100]}")

    def _part_ends(self) -> None:
        if self._in_file:
            self._events.append(FileEnd())
            self._in_file = False
            return
        self.form.fields[self._name] = _decoded(f"the field {self._name[:100]}", bytes(self._value))
        self._value.clear()

    def _end(self) -> None:
        self._ended = True


def _decoded(what: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Problem(Slug.MALFORMED_REQUEST, f"Send {what} in UTF-8.") from error


def _malformed(error: FormParserError) -> Problem:
    return Problem(Slug.MALFORMED_REQUEST, f"The form is not well formed: {error}. Correct it and send it again.")


def _form_too_large(limit: int, what: str = "All that is not the file") -> Problem:
    return Problem(Slug.FORM_TOO_LARGE, f"{what} may have {limit:,} bytes: send less.", limit=limit)
