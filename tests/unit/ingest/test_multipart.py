import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_ingest.errors import Problem
from media_ingest.multipart import FileData, FileEnd, FormParser
from media_ingest.settings import Settings

CONTENT = (
    st.lists(
        st.sampled_from([b"\r\n", b"--", b"--b", b"\r\n--", b"\r\n--b", b"\r", b"\n", b"x", b"\0", b"-"]), max_size=40
    )
    .map(b"".join)
    .filter(lambda raw: b"\r\n--b" not in b"\r\n" + raw + b"\r\n--b"[:4])
)


def form(content: bytes, name: bytes = b"a.png") -> bytes:
    return (
        b'--b\r\nContent-Disposition: form-data; name="caption"\r\n\r\nhello\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
        b"Content-Type: image/png\r\n\r\n" + content + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="order"\r\n\r\n7\r\n--b--\r\n'
    )


def parse(
    body: bytes, cuts: list[int], settings: Settings | None = None
) -> tuple[FormParser, list[FileData | FileEnd]]:
    parser = FormParser(b"b", settings or Settings())
    events: list[FileData | FileEnd] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        parser.feed(body[start:end])
        events += parser.take()
    parser.finish()
    return parser, events


@given(st.data(), CONTENT)
def test_a_form_reads_the_same_however_it_is_cut(data: st.DataObject, content: bytes) -> None:
    body = form(content)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=20)))
    parser, events = parse(body, cuts)
    assert b"".join(event.data for event in events if isinstance(event, FileData)) == content
    assert [event for event in events if isinstance(event, FileEnd)] == [FileEnd()]
    assert isinstance(events[-1], FileEnd)
    assert parser.form.fields == {"caption": "hello", "order": "7"}
    assert (parser.form.file.name, parser.form.file.content_type) == ("a.png", "image/png")


@given(st.integers(0, 330))
def test_a_form_that_breaks_off_is_refused(length: int) -> None:
    body = form(b"x" * 50)
    cut = body[: min(length, len(body) - 5)]
    with pytest.raises(Problem) as raised:
        parse(cut, [])
    assert raised.value.slug == "malformed-request"


@pytest.mark.parametrize(
    ("raw", "name"),
    [("ä".encode(), "ä"), (b"\xe4", "ä"), (b"a%22b", "a%22b"), (b'a\\"b', 'a"b'), (b"../../x", "../../x"), (b"", "")],
)
def test_file_names(raw: bytes, name: str) -> None:
    assert parse(form(b"x", raw), [])[0].form.file.name == name


def test_the_file_is_not_counted_as_form() -> None:
    parser, events = parse(form(b"x" * 100_000), [], Settings(max_form_bytes=1024))
    assert sum(len(event.data) for event in events if isinstance(event, FileData)) == 100_000
    assert parser.has_file


def test_a_boundary_that_is_too_long() -> None:
    with pytest.raises(Problem) as raised:
        FormParser(b"b" * 1000, Settings())
    assert raised.value.slug == "malformed-request"


@given(
    st.lists(st.sampled_from([b"\r\n--b0undar", b"\r\n--b0undary", b"\r\n", b"\r", b"-" * 9, b"x" * 70]), max_size=60),
    st.integers(1, 80),
    st.booleans(),
)
def test_long_content_in_pieces_of_any_size(pieces: list[bytes], size: int, is_followed: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    content = b"".join(pieces).replace(b"\r\n--b0undary", b"\r\n--b0undarx")
    field = b'\r\n--b0undary\r\nContent-Disposition: form-data; name="order"\r\n\r\n7' if is_followed else b""
    body = (
        b'--b0undary\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + content + field + b"\r\n--b0undary--\r\n"
    )
    parser = FormParser(b"b0undary", Settings())
    events: list[FileData | FileEnd] = []
    for start in range(0, len(body), size):
        parser.feed(body[start : start + size])
        events += parser.take()
    parser.finish()
    assert b"".join(event.data for event in events if isinstance(event, FileData)) == content
    assert events.count(FileEnd()) == 1
    assert parser.form.fields == ({"order": "7"} if is_followed else {})
