"""Documents through the whole transcoder."""

import hashlib
from dataclasses import replace

import pytest

from bench import Bench, profile
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Format, Rendition
from office import MAIN_PARTS, ole, ooxml


@pytest.mark.parametrize(
    ("content", "name", "extension"),
    [
        (b"%PDF-1.7 x", "a.pdf", "pdf"),
        (b"From: a printer\r\n%PDF-1.7 x", "a.pdf", "pdf"),
        (ooxml(MAIN_PARTS["docx"]), "a.docx", "docx"),
        (ooxml(MAIN_PARTS["xlsx"]), "a.docx", "xlsx"),
        (ooxml(MAIN_PARTS["pptx"]), "unnamed", "pptx"),
        (ole("Workbook"), "a.xls", "xls"),
        (ole("PowerPoint Document"), "a.ppt", "ppt"),
        (ole("WordDocument"), "a.doc", "doc"),
        ("Grüße\n".encode(), "a.TXT", "txt"),
        ("Grüße\n".encode("utf-16"), "a.txt", "txt"),
    ],
)
@pytest.mark.parametrize("name_of_profile", ["web", "whatsapp"])
def test_a_document_is_kept_and_stays_private(
    bench: Bench, content: bytes, name: str, extension: str, name_of_profile: str
) -> None:
    renditions, limits = profile(name_of_profile)
    task = replace(bench.put(content), file_name=name, renditions=renditions, limits=limits)
    ended = bench.run(task)
    assert ended.code == 0, ended.log
    path = bench.published("original")
    assert path.read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert bench.objects("media/", "private/") == [f"private/ns/assets/uid/original-{digest[:16]}.{extension}"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ooxml(MAIN_PARTS["docm"]), "A document with macros is not taken: save it without them."),
        (ole("EncryptedPackage"), "A document under a password is not taken: save it without one."),
    ],
)
def test_the_kin_of_documents_is_refused_with_what_to_do(bench: Bench, content: bytes, words: str) -> None:
    assert bench.run(bench.put(content)).reason is Reason.UNSUPPORTED_TYPE
    assert bench.failure().message.startswith(words)


def test_a_document_that_is_larger_than_asked_is_refused(bench: Bench) -> None:
    wanted = Rendition(name="original", kind=Kind.DOCUMENT, format=Format.COPY, max_bytes=1024)
    ended = bench.run(replace(bench.put(b"%PDF-1.7" + bytes(2000)), renditions=(wanted,)))
    assert ended.reason is Reason.LIMIT_EXCEEDED
    assert "2008 bytes, and 1024 are allowed" in bench.failure().message
