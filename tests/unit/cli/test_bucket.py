"""How our settings go into those that are there."""

from typing import Any

from media_cli.bucket import wanted
from mediaasset.policies import Component


def test_a_mark_is_of_one_prefix_and_fits_into_a_sid() -> None:
    assert wanted.mark("a") != wanted.mark("b")
    assert wanted.mark("/a/") == wanted.mark("a/") == wanted.mark("a")
    assert wanted.mark("a/b").isalnum()


def test_what_servers_write_differently_is_the_same() -> None:
    ours = {"Sid": "x", "Action": ["s3:GetObject"], "Principal": {"AWS": ["one", "two"]}}
    assert wanted.is_same(ours, {"Principal": {"AWS": ["two", "one"]}, "Action": "s3:GetObject", "Sid": "x"})
    assert not wanted.is_same(ours, {**ours, "Action": ["s3:*"]})


def test_ours_replace_what_is_ours_alone() -> None:
    mark = wanted.mark("root")
    theirs, old = {"Sid": "Theirs", "Effect": "Deny"}, {"Sid": f"{mark}AnonymousOld", "Effect": "Allow"}
    kept = {"Sid": f"{mark}IngestUploads", "Effect": "Allow"}
    marks = wanted.replaced("root", [])
    own = wanted.statements("media", "root", {}, public=True)
    merged = wanted.merged([old, theirs, kept], own, marks, name="Sid")
    assert merged == [theirs, kept, *own]
    assert wanted.merged(merged, own, marks, name="Sid") == merged
    assert wanted.merged(merged, [], wanted.replaced("root", [Component.INGEST]), name="Sid") == [theirs]


def test_what_opens_more_than_media_is_found() -> None:
    def opens(action: str, resource: str, **more: Any) -> list[str]:
        each = {
            "Sid": "s",
            "Effect": "Allow",
            "Principal": "*",
            "Action": action,
            "Resource": f"arn:aws:s3:::{resource}",
        }
        return list(wanted.opened([{**each, **more}], "media", "root/"))

    assert opens("s3:GetObject", "media/*") == ["s"]
    assert opens("s3:Get*", "media/root/uploads/*", Principal={"AWS": ["*"]}) == ["s"]
    assert opens("s3:ListBucket", "media") == ["s"]
    assert opens("s3:PutObject", "media/root/media/*") == ["s"]
    assert opens("s3:GetObject", "media/root/media/*") == []
    assert opens("s3:GetObject", "media/backup/*") == []
    assert opens("s3:GetObject", "media/*", Principal={"AWS": "arn:aws:iam::1:root"}) == []
    assert opens("s3:GetObject", "media/*", Effect="Deny") == []
    assert opens("s3:GetObject", "media/*", Condition={"StringEquals": {"aws:SourceVpc": "v"}}) == []
