"""Documents are told by what is in them, and nothing in them costs more than a look."""

import io
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from making import DIGEST
from media_transcoder import probe
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits, Source, Task
from office import MAIN_PARTS, ole, ooxml, types_of


def look(path: Path, content: bytes, **declared: str) -> str:
    """Return the type that the transcoder finds."""
    path.write_bytes(content)
    task = Task(
        uid="u",
        namespace="ns",
        name="a",
        attempt=1,
        inputs_hash=DIGEST,
        source=Source(key="uploads/ns/a/x"),
        prefix="media/",
        document_prefix="private/",
        type=Kind(declared["type"]) if "type" in declared else None,
        file_name=declared.get("file_name"),
    )
    media = probe.probe(path, probe.recognise(task, path), Limits())
    assert media.kind is Kind.DOCUMENT
    return media.mime_type


WORD, SHEET, SLIDES = (
    f"application/vnd.openxmlformats-officedocument.{name}"
    for name in ("wordprocessingml.document", "spreadsheetml.sheet", "presentationml.presentation")
)
PICTURE = "image/png"


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (ooxml(MAIN_PARTS["docx"]), WORD),
        (ooxml(PICTURE, MAIN_PARTS["xlsx"]), SHEET),
        (ooxml(MAIN_PARTS["pptx"], encoding="utf-16"), SLIDES),
        # What lies in it says nothing: a letter with a table of figures inside.
        (ooxml(MAIN_PARTS["docx"], SHEET, parts=("xl/workbook.xml", "word/embeddings/a.xlsx")), WORD),
        (ole("WordDocument", "1Table"), "application/msword"),
        (ole("Workbook"), "application/vnd.ms-excel"),
        (ole("Book"), "application/vnd.ms-excel"),
        (ole("Current User", "PowerPoint Document"), "application/vnd.ms-powerpoint"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\xef\xbb\xbf%PDF-1.4\n", "application/pdf"),
        (b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n%PDF-1.4\r\n", "application/pdf"),
    ],
)
def test_a_document_is_told_by_its_content(tmp_path: Path, content: bytes, mime: str) -> None:
    assert look(tmp_path / "a", content) == mime


@pytest.mark.parametrize(
    "content",
    ["Grüße\n".encode(), "Grüße\n".encode("latin-1"), "Grüße\n".encode("utf-16"), b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe"],
)
def test_text_is_text_only_when_somebody_says_so(tmp_path: Path, content: bytes) -> None:
    assert look(tmp_path / "a", content, file_name="letter.TXT") == "text/plain"
    assert look(tmp_path / "a", content, type="Document") == "text/plain"
    with pytest.raises(MediaError) as caught:
        look(tmp_path / "a", content)
    assert caught.value.reason is Reason.UNSUPPORTED_TYPE


def open_document() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", "<x/>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ooxml(MAIN_PARTS["docm"]), "with macros"),
        (ooxml(MAIN_PARTS["xlsm"]), "with macros"),
        (ooxml(MAIN_PARTS["pptm"]), "with macros"),
        (ooxml(MAIN_PARTS["xlsb"]), "with macros"),
        (ooxml(MAIN_PARTS["dotx"]), "template"),
        (ooxml(MAIN_PARTS["ppsx"]), "slide show"),
        (ooxml(MAIN_PARTS["docx"], MAIN_PARTS["pptx"]), "of this kind"),
        (ooxml("application/vnd.ms-package.3dmanufacturing-3dmodel+xml"), "archive"),
        (open_document(), "OpenDocument"),
        (ole("EncryptionInfo", "EncryptedPackage"), "under a password"),
        # A message of Outlook with the name of a stream in its text, and a letter inside.
        (ole("__properties_version1.0", body="WordDocument".encode("utf-16-le") + bytes(99)), "archive"),
        (ole(), "archive"),
    ],
)
def test_what_is_no_document_of_the_table_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        look(tmp_path / "a", content)
    assert caught.value.reason is Reason.UNSUPPORTED_TYPE


def bomb(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a document whose list of types unfolds to 200 MB."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", method) as archive,
        archive.open("[Content_Types].xml", "w") as part,
    ):
        part.write(types_of(MAIN_PARTS["docx"]))
        for _ in range(200):
            part.write(bytes(1_000_000))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("method", "reason"), [(zipfile.ZIP_DEFLATED, Reason.LIMIT_EXCEEDED), (zipfile.ZIP_LZMA, Reason.UNDECODABLE)]
)
def test_a_part_that_unfolds_without_end_is_not_unfolded(tmp_path: Path, method: int, reason: Reason) -> None:
    content = bomb(method)
    tracemalloc.start()
    with pytest.raises(MediaError) as caught:
        look(tmp_path / "a", content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason is reason
    assert peak < 32 * 1024 * 1024


def test_a_zip_of_a_million_names_is_not_listed(tmp_path: Path) -> None:
    content = ooxml(MAIN_PARTS["docx"])
    end = content.rindex(b"PK\x05\x06")
    directory = int.from_bytes(content[end + 16 : end + 20], "little")
    names = content[directory:end] * 500_000
    record = content[end : end + 12] + len(names).to_bytes(4, "little") + content[end + 16 :]
    with pytest.raises(MediaError, match="too many files") as caught:
        look(tmp_path / "a", content[:directory] + names + record)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    "content", [ooxml(MAIN_PARTS["docx"]), ole("WordDocument", "1Table", "Data")], ids=["zip", "ole"]
)
def test_any_damage_ends_in_a_reason_or_a_type(tmp_path: Path, content: bytes) -> None:
    chance = random.Random(1)  # noqa: S311 - the same damage each time
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(8, len(damaged))] = chance.choice((0, 1, 255, chance.randrange(256)))
        content_now = bytes(damaged[: chance.choice((None, len(damaged) // 2))])
        assert outcome(tmp_path / "a", content_now) in (
            None,
            Reason.UNDECODABLE,
            Reason.UNSUPPORTED_TYPE,
            Reason.LIMIT_EXCEEDED,
        )


def outcome(path: Path, content: bytes) -> Reason | None:
    try:
        look(path, content)
    except MediaError as error:
        return error.reason
    return None
