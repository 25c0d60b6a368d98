"""The table of reasons is closed, and its codes are each other's inverse."""

import signal

from mediaasset.reasons import TABLE, MediaError, Reason, Retry, from_exit_code


def test_every_reason_has_its_row() -> None:
    assert set(TABLE) == set(Reason)


def test_exit_codes_lead_back_to_their_reason() -> None:
    codes = [rule.exit_code for rule in TABLE.values() if rule.exit_code is not None]
    assert len(set(codes)) == len(codes)
    assert all(10 <= code < 126 for code in codes)
    assert all(from_exit_code(rule.exit_code) is reason for reason, rule in TABLE.items() if rule.exit_code is not None)


def test_a_signal_is_an_interruption_and_the_unknown_is_internal() -> None:
    assert from_exit_code(-signal.SIGKILL) is Reason.INTERRUPTED
    assert from_exit_code(128 + signal.SIGTERM) is Reason.INTERRUPTED
    assert from_exit_code(1) is Reason.INTERNAL


def test_what_the_sender_did_wrong_is_never_tried_again() -> None:
    blamed = [rule for rule in TABLE.values() if rule.http_status is not None and 400 <= rule.http_status < 500]
    assert blamed
    assert all(rule.retry is Retry.NEVER for rule in blamed)


def test_texts_are_sentences_and_messages_end_with_what_to_do() -> None:
    assert all(rule.text.endswith(".") for rule in TABLE.values())
    error = MediaError(Reason.SOURCE_TOO_LARGE, "It has 12 bytes.")
    assert error.message == "It has 12 bytes. " + TABLE[Reason.SOURCE_TOO_LARGE].text
    assert MediaError(Reason.INTERNAL).message == TABLE[Reason.INTERNAL].text
