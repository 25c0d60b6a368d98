"""`media bucket` on two servers: versitygw, and one with the semantics of AWS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import awsserver
import s3server
from media_cli.bucket.wanted import mark
from mediaasset.policies import Component, identity_policy
from mediacommand import answer, media
from s3server import S3Server

FOREIGN: dict[str, Any] = {
    "Sid": "TheirBackup",
    "Effect": "Allow",
    "Principal": "*",
    "Action": ["s3:GetObject"],
    "Resource": ["arn:aws:s3:::BUCKET/backup/*"],
}


@pytest.fixture(scope="module")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[S3Server]:
    with awsserver.start() as server:
        yield server


@pytest.fixture(params=["versity", "aws"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("_", "-").replace("[", "-").replace("]", "")[-50:].strip("-")


def policy_of(server: S3Server, bucket: str) -> list[Any]:
    found = server.client().get_bucket_policy(Bucket=bucket)["Policy"]
    statements: list[Any] = json.loads(found)["Statement"]
    return statements


def states(document: Any) -> dict[str, str]:
    return {each["name"]: each["state"] for each in document["settings"]}


def test_apply_adds_to_what_others_have_put_there_and_is_idempotent(
    server: S3Server, name: str, tmp_path: Path
) -> None:
    foreign = json.loads(json.dumps(FOREIGN).replace("BUCKET", name))
    server.create_bucket(name, {"Version": "2012-10-17", "Statement": [foreign]})
    theirs = {"ID": "theirs", "AllowedMethods": ["GET"], "AllowedOrigins": ["https://example.org"]}
    server.client().put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [theirs]})
    environment = server.environment(name, prefix="root")

    before = answer("bucket", "check", home=tmp_path, code=1, **environment)
    assert states(before)["policy"] == states(before)["CORS"] == "differs"
    [policy] = [each for each in before["settings"] if each["name"] == "policy"]
    assert f'+    "Sid": "{mark("root/")}AnonymousMedia"' in policy["diff"]
    dry = answer("bucket", "apply", "--dry-run", home=tmp_path, code=1, **environment)
    assert dry == before
    assert policy_of(server, name) == [foreign]

    done = answer("bucket", "apply", home=tmp_path, code=0, **environment)
    assert states(done)["policy"] == states(done)["CORS"] == "applied"
    first, ours = policy_of(server, name)
    assert first == foreign
    assert ours["Resource"] == [f"arn:aws:s3:::{name}/root/media/*"]
    assert server.client().get_bucket_cors(Bucket=name)["CORSRules"][0]["ID"] == "theirs"

    again = answer("bucket", "apply", home=tmp_path, code=0, **environment)
    assert set(states(again).values()) <= {"same", "unsupported"}
    assert policy_of(server, name) == [first, ours]


def test_two_installs_share_a_bucket_and_a_private_one_is_closed_again(
    server: S3Server, name: str, tmp_path: Path
) -> None:
    server.create_bucket(name)
    for prefix in ("one", "two"):
        answer("bucket", "apply", home=tmp_path, code=0, **server.environment(name, prefix=prefix))
    assert [each["Sid"] for each in policy_of(server, name)] == [f"{mark(p)}AnonymousMedia" for p in ("one", "two")]

    media("bucket", "apply", "--private", home=tmp_path, **server.environment(name, prefix="one"))
    assert [each["Sid"] for each in policy_of(server, name)] == [f"{mark('two')}AnonymousMedia"]
    media("bucket", "apply", "--private", home=tmp_path, **server.environment(name, prefix="two"))
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        policy_of(server, name)


def test_accounts_get_rights_and_keep_them(versity: S3Server, name: str, tmp_path: Path) -> None:
    versity.create_bucket(name)
    accounts = {each: versity.create_account(f"{each}-{name}") for each in ("ingest", "operator")}
    named = [f"--principal={each}={account.access_key}" for each, account in accounts.items()]
    answer("bucket", "apply", *named, home=tmp_path, code=0, **versity.environment(name))
    # The next run names only one of them.
    answer("bucket", "apply", named[0], home=tmp_path, code=0, **versity.environment(name))
    for account in accounts.values():
        versity.client(account).delete_object(Bucket=name, Key="uploads/x/y/z")
    with pytest.raises(ClientError, match="AccessDenied"):
        versity.client(accounts["ingest"]).delete_object(Bucket=name, Key="private/x")


def test_what_the_server_does_not_know_is_named_and_not_fatal(versity: S3Server, name: str, tmp_path: Path) -> None:
    versity.create_bucket(name)
    done = answer("bucket", "apply", home=tmp_path, code=0, **versity.environment(name))
    assert states(done) | {"CORS": "applied", "policy": "applied"} == states(done)
    notes = {each["name"]: each["note"] for each in done["settings"]}
    assert states(done)["lifecycle"] == states(done)["public access block"] == "unsupported"
    assert "GetBucketLifecycleConfiguration (NotImplemented)" in notes["lifecycle"]


def test_lifecycle_goes_beside_the_rules_of_others(aws: S3Server, name: str, tmp_path: Path) -> None:
    aws.create_bucket(name)
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "backup/"}, "Expiration": {"Days": 1}}
    aws.client().put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [theirs]})
    answer("bucket", "apply", home=tmp_path, code=0, **aws.environment(name, prefix="root"))
    rules = aws.client().get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rules[0] == theirs
    expiring = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules[1:] if "Expiration" in rule}
    assert expiring == {"root/work/": 30, "root/tombstones/": 90}
    aborted = {rule["Filter"]["Prefix"] for rule in rules[1:] if "AbortIncompleteMultipartUpload" in rule}
    assert {"root/uploads/", "root/media/"} <= aborted


def test_blocks_and_versions_are_named_and_changed_only_on_demand(aws: S3Server, name: str, tmp_path: Path) -> None:
    aws.create_bucket(name)
    client, environment = aws.client(), aws.environment(name)
    block = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
    client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(block, True))
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    named = answer("bucket", "check", home=tmp_path, code=1, **environment)
    assert states(named)["public access block"] == states(named)["versioning"] == "noted"
    assert "--unblock" in named["settings"][0]["note"]

    done = answer("bucket", "apply", "--unblock", home=tmp_path, code=1, **environment)
    assert states(done)["public access block"] == states(done)["policy"] == "applied"
    found = client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert found == dict(zip(block, (True, True, False, False), strict=True))
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    # A private install wants all of them on, and says so.
    private = answer("bucket", "check", "--private", home=tmp_path, code=1, **environment)
    assert "all four public access blocks" in private["settings"][0]["note"]


def test_a_policy_that_opens_more_is_named_and_left_alone(server: S3Server, name: str, tmp_path: Path) -> None:
    wide = FOREIGN | {"Sid": "Everything", "Resource": [f"arn:aws:s3:::{name}/*"]}
    server.create_bucket(name, {"Version": "2012-10-17", "Statement": [wide]})
    answer("bucket", "apply", home=tmp_path, code=0, **server.environment(name))
    checked = answer("bucket", "check", home=tmp_path, code=1, **server.environment(name))
    [policy] = [each for each in checked["settings"] if each["name"] == "policy"]
    assert (policy["state"], policy["diff"]) == ("noted", "")
    assert "by Everything" in policy["note"]
    assert policy_of(server, name)[0] == wide


def test_what_the_account_may_not_see_is_named(versity: S3Server, name: str, tmp_path: Path) -> None:
    versity.create_bucket(name)
    nobody = versity.create_account(f"nobody-{name}")
    done = answer("bucket", "check", home=tmp_path, code=1, **versity.environment(name, account=nobody))
    assert states(done)["policy"] == "forbidden"
    assert "s3:GetBucketPolicy" in json.dumps(done)


def test_no_bucket_no_server_no_url(versity: S3Server, tmp_path: Path) -> None:
    done = media("bucket", "check", home=tmp_path, **versity.environment("missing"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "There is no bucket missing" in done.stderr
    away = versity.environment("x") | {"AWS_ENDPOINT": "http://127.0.0.1:9"}
    done = media("bucket", "check", home=tmp_path, **away)
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr
    for arguments in (
        ["check"],
        ["check", "media"],
        ["apply", "s3://media", "--principal=anonymous=x"],
        ["iam", "root"],
    ):
        assert media("bucket", *arguments, home=tmp_path).returncode == 2


@pytest.mark.parametrize("component", [each for each in Component if each is not Component.ANONYMOUS])
def test_iam_prints_the_policy_of_an_account(component: Component, tmp_path: Path) -> None:
    done = media("bucket", "iam", component, "s3://media/root", home=tmp_path)
    assert json.loads(done.stdout) == identity_policy(component, "media", "root")
