import os

import pytest

from media_transcoder.complaints import Complaints, clean, telling
from media_transcoder.messages import LOG_CHARACTERS, LOG_LINES


def said(*chunks: bytes) -> tuple[str, ...]:
    complaints = Complaints()
    for chunk in chunks:
        complaints.add(chunk)
    return complaints.lines


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("[mov @ 0x55d0c0ffee00] moov atom not found", "[mov] moov atom not found"),
        ("Error opening input file /tmp/transcode-x1/source.", "Error opening input file source."),
        ("file:/tmp/transcode-x1/outputs/mp4: No space left on device", "mp4: No space left on device"),
        (f"{os.getcwd()}/outputs/mp4: oops", "outputs/mp4: oops"),  # noqa: PTH109
        ("Failed to open https://user:secret@example.org/a?b=c now", "Failed to open (URL) now"),
        ("denied for EAAG0123456789abcdefghijklmnopqrstuvwxyz0123", "denied for (…)"),
        ("rate 25/1, 1/12800 tbn", "rate 25/1, 1/12800 tbn"),
        ("a\x1b[31mred\x07", "a [31mred"),
    ],
)
def test_a_line_loses_what_is_nobodys_business(line: str, kept: str) -> None:
    assert clean(line) == kept


def test_a_directory_whose_name_has_spaces_is_not_told(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{tmp_path}/Anna Maria"
    os.mkdir(place)  # noqa: PTH102
    monkeypatch.chdir(place)
    assert clean(f"{place}/outputs/mp4: oops") == "outputs/mp4: oops"


def test_only_the_last_lines_are_kept_and_each_is_bounded() -> None:
    lines = said(*(f"line {number} ".encode() + b"x y " * 1000 + b"\n" for number in range(50)))
    assert [line.split()[1] for line in lines] == [str(number) for number in range(50 - LOG_LINES, 50)]
    assert all(len(line) == LOG_CHARACTERS for line in lines)


def test_lines_that_repeat_are_folded_and_leave_room() -> None:
    chunks = [b"the cause\n"] + [f"[h264 @ 0x{number:x}] error while decoding\n".encode() for number in range(1000)]
    assert said(*chunks) == ("the cause", "[h264] error while decoding (1000 times)")


def test_lines_may_come_in_pieces_and_the_last_without_an_end() -> None:
    assert said(b"one\ntw", b"o\n", b"three") == ("one", "two", "three")
    assert said(b"x" * 10_000_000) == ("(…)",)
    assert said(b"\xff\xfe\n\n  \n") == ("\ufffd\ufffd",)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            ["[mov] moov atom not found", "[in#0] Error opening input: Invalid data found when processing input"],
            "moov atom not found.",
        ),
        (["[a] [b] first cause!", "Conversion failed!", ""], "first cause."),
        (["source: Invalid data found when processing input"], ""),
        ([], ""),
    ],
)
def test_people_get_the_last_line_that_says_something(lines: list[str], sentence: str) -> None:
    assert telling(lines) == sentence
