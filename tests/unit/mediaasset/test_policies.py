import re
from itertools import product
from pathlib import Path

import pytest

from mediaasset.policies import RIGHTS, Component, Right, bucket_policy, identity_policy

ARCHITECTURE = Path(__file__).parents[3] / "docs/architecture.md"


def documented() -> dict[tuple[str, str], set[str]]:
    """Return the cells of the table in the architecture page, by prefix and component."""
    section = ARCHITECTURE.read_text().partition("## Objects")[2]
    cells = {}
    for prefix, line in re.findall(r"^\| `([\w-]+)/(.*)\|$", section, re.MULTILINE):
        for component, cell in zip(Component, line.split("|")[2:], strict=True):
            cells[prefix, component.value] = set(re.findall(r"\w+", cell))
    return cells


def test_table_is_the_one_that_people_read() -> None:
    cells = documented()
    assert {prefix for prefix, _ in cells} == set(RIGHTS)
    for (prefix, component), rights in cells.items():
        stated = RIGHTS[prefix].get(Component(component), frozenset())
        assert {right.value for right in stated - {Right.LIST}} == rights, (prefix, component)


def test_whole_words_of_the_root_prefix_lie_before_every_resource() -> None:
    for root, expected in (("", ""), ("a/b", "a/b/"), ("/a/b/", "a/b/")):
        resources = {
            resource
            for statement in bucket_policy("media", root, {})["Statement"]
            for resource in statement["Resource"]
        }
        assert resources == {f"arn:aws:s3:::media/{expected}media/*"}


def test_nobody_is_named_but_who_was_given() -> None:
    statements = bucket_policy("media", "", {"ingest": "KEY"})["Statement"]
    assert {str(statement["Principal"]) for statement in statements} == {"*", "{'AWS': ['KEY']}"}
    with pytest.raises(ValueError, match="nobody"):
        bucket_policy("media", "", {"nobody": "KEY"})


def test_no_statement_reaches_beyond_one_prefix() -> None:
    for component, root in product(Component, ("", "root")):
        for statement in identity_policy(component, "media", root)["Statement"]:
            if statement["Action"] == ["s3:ListBucketMultipartUploads"]:
                assert component is Component.OPERATOR
                continue
            if statement["Action"] == ["s3:ListBucket"]:
                (patterns,) = statement["Condition"]["StringLikeIfExists"].values()
            else:
                patterns = [resource.removeprefix("arn:aws:s3:::media/") for resource in statement["Resource"]]
            start = f"{root}/" if root else ""
            assert {pattern.removeprefix(start) for pattern in patterns} <= {f"{prefix}/*" for prefix in RIGHTS}
            assert "Principal" not in statement


def test_anonymous_reads_what_is_public_and_does_nothing_else() -> None:
    (statement,) = identity_policy(Component.ANONYMOUS, "media", "root")["Statement"]
    assert statement["Action"] == ["s3:GetObject"]
    assert statement["Resource"] == ["arn:aws:s3:::media/root/media/*"]


def test_the_gateway_reads_what_is_private_only_where_it_answers_signed_urls() -> None:
    def readable(**given: bool) -> set[str]:
        statements = identity_policy(Component.GATEWAY, "media", "root", **given)["Statement"]
        assert {action for each in statements for action in each["Action"]} == {"s3:GetObject", "s3:ListBucket"}
        return {path for each in statements if "s3:GetObject" in each["Action"] for path in each["Resource"]}

    public, private = (f"arn:aws:s3:::media/root/{top}/*" for top in ("media", "private"))
    assert readable() == {public}
    assert readable(signed_urls=True) == {public, private}
    for component in set(Component) - {Component.GATEWAY}:
        plain, signed = (identity_policy(component, "media", "", signed_urls=each) for each in (False, True))
        assert plain == signed
