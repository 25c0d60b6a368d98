"""The page on troubleshooting is that of the table: each reason, its text, and a transcript that still says it."""

import re

import pytest

from mediaasset.reasons import TABLE, Reason
from transcripts import name_of, sections, shape, transcript

#: What no asset shows for longer than a moment, none at all, or none as the reason that it is not Ready.
FLEETING = {
    Reason.PENDING,
    Reason.TRANSCODING,
    Reason.RETRYING,
    Reason.MOVING,
    Reason.REPLACING,
    Reason.REPLACED,
    Reason.EXPIRED,
    Reason.READY,
    Reason.INFECTED,
    Reason.NOT_APPLICABLE,
    Reason.NAME_TAKEN,
}
#: What speaks of the case alone.
OWN_WORDS = {Reason.PROFILE_NOT_FOUND, Reason.DELETING, Reason.QUEUED}


def test_every_reason_has_its_section_and_no_other() -> None:
    assert sorted(sections()) == sorted(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_section_begins_with_the_text_of_the_table(reason: Reason) -> None:
    assert sections()[reason].lstrip().startswith(f"> {TABLE[reason].text}\n")


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in FLEETING])
def test_transcript_shows_the_reason_and_what_the_table_says_of_it(reason: Reason) -> None:
    said = transcript(sections()[reason])
    assert said, "there is none: run the tests of the cluster with MEDIA_TRANSCRIPTS=1"
    got, message, events = [part.split("\n", 1)[1] for part in said.split("$ kubectl ")[1:4]]
    head, line = got.splitlines()
    assert head.split()[:3] == ["NAME", "READY", "REASON"]
    assert line.split()[:3] == [name_of(reason), "False", reason]
    assert reason in OWN_WORDS or message.rstrip().endswith(TABLE[reason].text)
    # What waits and is no failure has no event.
    if reason not in (Reason.QUEUED, Reason.SUSPENDED):
        assert f" {reason} " in events
        assert "Warning" in events


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in FLEETING])
def test_what_a_run_must_show_again_is_all_but_ages_and_figures(reason: Reason) -> None:
    said = transcript(sections()[reason]) or ""
    later = re.sub(r"\b\d+s\b", "3m7s", said).replace("1188418", "2000000")
    assert shape(later, reason) == shape(said, reason)
    for changed in (
        said.replace(f" {reason} ", " Internal2 ", 1),
        said.replace(TABLE[reason].text[:20], "Something else", 1),
        said.replace("False", "True", 1),
    ):
        assert changed == said or shape(changed, reason) != shape(said, reason)
    assert shape(said.replace("False", "True", 1), reason) != shape(said, reason)
