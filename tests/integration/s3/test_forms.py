"""Which forms versitygw takes from an account whose rights come from a bucket policy: what docs/api/uploads.md says."""

from pathlib import Path
from typing import Any

import httpx2

import s3server
from mediaasset.policies import Component, bucket_policy

BUCKET = "media"


def posted(client: Any, key: str) -> int:
    form = client.generate_presigned_post(BUCKET, key, Conditions=[["content-length-range", 3, 3]])
    return httpx2.post(form["url"], data=form["fields"], files={"file": ("a", b"abc")}).status_code


def test_versitygw_asks_for_the_bucket_where_aws_asks_for_the_key(tmp_path: Path) -> None:
    with s3server.start(tmp_path) as server:
        server.create_bucket(BUCKET)
        account = server.create_account("ingest")
        policy = bucket_policy(BUCKET, "root", {Component.INGEST: account.access_key})
        server.put_policy(BUCKET, policy)
        client = server.client(account)
        client.put_object(Bucket=BUCKET, Key="root/uploads/shop/a/b", Body=b"abc")
        assert posted(client, "root/uploads/shop/a/b") == 403
        writing = next(each for each in policy["Statement"] if "s3:PutObject" in each["Action"])
        writing["Resource"] = [*writing["Resource"], f"arn:aws:s3:::{BUCKET}"]
        server.put_policy(BUCKET, policy)
        assert posted(client, "root/uploads/shop/a/b") == 204
        # The key of a form is not asked for: this is why our policies do not have that.
        assert posted(client, "root/media/shop/a/b.jpg") == 204
