"""What people read about failures is the table of reasons, and what its programs do."""

import re
from pathlib import Path

from mediaasset.reasons import TABLE, Reason, Retry

DOCUMENT = (Path(__file__).parents[3] / "docs/operations/failures.md").read_text()
WHO = {
    "nobody": Retry.NEVER,
    "Kubernetes, another pod; then the operator": Retry.POD,
    "the operator, a new attempt": Retry.ATTEMPT,
    "the operator, in a larger class": Retry.LARGER,
}


def test_the_document_lists_what_a_transcoder_can_say() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", DOCUMENT, re.MULTILINE)
    listed = {Reason(name): (int(code), WHO[re.sub(r"\[(.+?)\]\(.+?\)", r"\1", who)]) for name, code, _, who, _ in rows}
    assert listed == {
        reason: (rule.exit_code, rule.retry) for reason, rule in TABLE.items() if rule.exit_code is not None
    }
    assert [int(code) for _, code, *_ in rows] == sorted(int(code) for _, code, *_ in rows)
    # Nobody is left without a word of what happened and what to do.
    assert all(what.endswith(".") and todo.endswith(".") for _, _, what, _, todo in rows)
