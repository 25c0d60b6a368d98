"""`media doctor` on a real S3 server: each fault of a bucket, of an account and of what is served is named rightly."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import awsserver
import s3server
import webserver
from mediaasset.policies import bucket_policy
from mediacommand import answer, environment_of
from s3server import Account, S3Server
from served import IMAGE, JPEG
from servers import free_port

#: Shifts the clock of a process, as a machine whose clock is wrong: what signs, and what compares, asks for the time.
SHIFT = """
import datetime, time
seconds = {seconds}
real_time, real = time.time, datetime.datetime
time.time = lambda: real_time() + seconds
class Shifted(real):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(real_time() + seconds, tz)
    @classmethod
    def utcnow(cls):
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)
datetime.datetime = Shifted
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def accounts(server: S3Server, name: str) -> dict[str, Account]:
    return {each: server.create_account(f"{each}-{name}") for each in ("ingest", "operator", "transcoder")}


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    # Short: it stands many times in a policy, and the server keeps no more than 4 KB of one.
    return f"b-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"


@pytest.fixture
def operator(server: S3Server, name: str, accounts: dict[str, Account]) -> dict[str, str]:
    """Return the environment of the operator, in a bucket where all is well."""
    keys = {each: account.access_key for each, account in accounts.items()}
    server.create_bucket(name, bucket_policy(name, "root", keys))
    return server.environment(name, prefix="root", account=accounts["operator"])


def doctor(home: Path, code: int, *arguments: str, **environment: str) -> list[Any]:
    found: list[Any] = answer("doctor", "--component", "operator", *arguments, home=home, code=code, **environment)
    return found


def faults(found: list[Any]) -> set[tuple[str, str, str]]:
    return {(each["check"], each["fault"], each["severity"]) for each in found if each["fault"]}


def test_a_sound_bucket_is_well_and_nothing_is_left_in_it(
    server: S3Server, operator: dict[str, str], name: str, tmp_path: Path
) -> None:
    found = doctor(tmp_path, 0, **operator)
    assert not faults(found)
    assert {each["check"] for each in found if each["severity"] == "ok"} >= {"store", "clock", "rights", "storage"}
    rights = {each["about"]: each["found"] for each in found if each["check"] == "rights"}
    assert rights["operator"] == "It may do what it needs, and nothing else."
    assert set(rights) == {"operator", "everybody"}
    assert "Contents" not in server.client().list_objects_v2(Bucket=name)
    assert "Uploads" not in server.client().list_multipart_uploads(Bucket=name)


def test_a_wrong_secret_key(operator: dict[str, str], tmp_path: Path) -> None:
    found = doctor(tmp_path, 2, **operator | {"AWS_SECRET_ACCESS_KEY": "x" * 32})
    assert ("store", "wrong-key", "error") in faults(found)
    assert "SignatureDoesNotMatch" in json.dumps(found)


def test_an_unknown_access_key(operator: dict[str, str], tmp_path: Path) -> None:
    found = doctor(tmp_path, 2, **operator | {"AWS_ACCESS_KEY_ID": "nobody"})
    assert ("store", "wrong-key", "error") in faults(found)
    assert "InvalidAccessKeyId" in json.dumps(found)


def test_a_missing_bucket(server: S3Server, tmp_path: Path) -> None:
    found = doctor(tmp_path, 2, **server.environment("missing"))
    assert ("store", "no-bucket", "error") in faults(found)


def test_a_server_that_is_down(operator: dict[str, str], tmp_path: Path) -> None:
    found = doctor(tmp_path, 2, **operator | {"AWS_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    assert ("store", "store-unreachable", "error") in faults(found)
    assert all(each["severity"] != "ok" for each in found if each["check"] in ("store", "rights", "storage"))


def test_a_bucket_that_is_not_public(
    server: S3Server, operator: dict[str, str], accounts: dict[str, Account], name: str, tmp_path: Path
) -> None:
    policy = bucket_policy(name, "root", {each: account.access_key for each, account in accounts.items()})
    policy["Statement"] = [each for each in policy["Statement"] if each["Principal"] != "*"]
    server.put_policy(name, policy)
    found = doctor(tmp_path, 2, **operator)
    assert {each for each in faults(found) if each[2] == "error"} == {("rights", "not-public", "error")}
    [cure] = [each["cure"] for each in found if each["fault"] == "not-public"]
    assert "media bucket apply" in cure


def test_a_bucket_that_is_too_public(
    server: S3Server, operator: dict[str, str], accounts: dict[str, Account], name: str, tmp_path: Path
) -> None:
    policy = bucket_policy(name, "root", {each: account.access_key for each, account in accounts.items()})
    everything = {"Sid": "Wide", "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"]}
    policy["Statement"].append({**everything, "Resource": [f"arn:aws:s3:::{name}/*"]})
    server.put_policy(name, policy)
    found = doctor(tmp_path, 2, **operator)
    [finding] = [each for each in found if each["fault"] == "too-public"]
    assert "read private/" in finding["found"]


def test_an_account_that_lacks_rights_and_one_that_has_too_many(
    server: S3Server, operator: dict[str, str], accounts: dict[str, Account], name: str, tmp_path: Path
) -> None:
    wrong = operator | {
        "AWS_ACCESS_KEY_ID": accounts["transcoder"].access_key,
        "AWS_SECRET_ACCESS_KEY": accounts["transcoder"].secret_key,
    }
    [lacks] = [each for each in doctor(tmp_path, 2, **wrong) if each["fault"] == "rights"]
    assert "delete uploads/" in lacks["found"]
    assert "media bucket iam operator" in lacks["cure"]
    root = server.environment(name, prefix="root")
    [excess] = [each for each in doctor(tmp_path, 1, **root) if each["fault"] == "too-many-rights"]
    assert "write uploads/" in excess["found"]


@pytest.mark.parametrize(("seconds", "code", "severity"), [(3600, 2, "error"), (120, 1, "warning")])
def test_a_clock_that_is_wrong(
    operator: dict[str, str], tmp_path: Path, seconds: int, code: int, severity: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHIFT.format(seconds=seconds))
    environment = environment_of(tmp_path, **operator, PYTHONPATH=os.pathsep.join((str(tmp_path), *sys.path)))
    command = [sys.executable, "-m", "media_cli", "doctor", "--component", "operator", "--output", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert ("clock", "clock", severity) in faults(found)
    if severity == "error":
        # S3 itself says so, too: this is its own refusal, not our arithmetic.
        assert ("store", "clock", "error") in faults(found)
        assert "RequestTimeTooSkewed" in json.dumps(found)


def test_a_file_whose_url_is_empty_and_one_that_is_empty_itself(
    server: S3Server, operator: dict[str, str], name: str, tmp_path: Path
) -> None:
    empty = IMAGE.key.replace("medium", "small")
    server.client().put_object(Bucket=name, Key=f"root/{IMAGE.key}", Body=JPEG, ContentType="image/jpeg")
    server.client().put_object(Bucket=name, Key=f"root/{empty}", Body=b"", ContentType="image/jpeg")
    port = free_port()
    # A cache that has kept an answer which broke off.
    block = f"server {{ listen 127.0.0.1:{port}; location /media/ {{ types {{ image/jpeg jpg; }} return 200 ''; }} }}"
    with webserver.started(tmp_path / "nginx", block, port):
        base = f"http://127.0.0.1:{port}"
        found = doctor(tmp_path, 2, "--public-url", base, **operator)
    media = {each["fault"]: each for each in found if each["check"] == "media"}
    assert media["empty"]["about"] == f"{base}/{IMAGE.key}"
    assert f"0 bytes, and the file has {len(JPEG)}" in media["empty"]["found"]
    assert media["empty-object"]["about"] == f"s3://{name}/root/{empty}"


def test_media_that_are_served_are_well(server: S3Server, operator: dict[str, str], name: str, tmp_path: Path) -> None:
    server.client().put_object(Bucket=name, Key=f"root/{IMAGE.key}", Body=JPEG, ContentType="image/jpeg")
    port = free_port()
    block = f"""server {{ listen 127.0.0.1:{port}; location /media/ {{
      add_header Cache-Control "public, max-age=31536000"; proxy_pass {server.endpoint}/{name}/root/media/; }} }}"""
    with webserver.started(tmp_path / "nginx", block, port):
        found = doctor(tmp_path, 2, "--public-url", f"http://127.0.0.1:{port}", **operator)
    assert [each["found"] for each in found if each["check"] == "media"] == ["1 URLs answer with their files."]
    # It is not the gateway that answers: what does not exist is no problem+json there.
    assert [each["fault"] for each in found if each["check"] == "route"] == ["route-media"]


def test_media_in_an_archive_class_and_a_rule_that_moves_them_there(name: str, tmp_path: Path) -> None:
    # versitygw has neither classes nor rules.
    with awsserver.start() as aws:
        aws.create_bucket(name)
        s3, environment = aws.client(), aws.environment(name, prefix="root")
        rule = {"ID": "old", "Status": "Enabled", "Transitions": [{"Days": 90, "StorageClass": "GLACIER"}]}

        def looked(prefix: str) -> list[tuple[str, str]]:
            rules = [{**rule, "Filter": {"Prefix": prefix}}]
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
            # Its accounts may do everything there: that is said too.
            found = doctor(tmp_path, 2, **environment)
            return [(each["fault"], each["severity"]) for each in found if each["check"] == "storage"]

        assert looked("root/work/") == [("", "ok")]
        assert looked("root/media/shop/") == [("storage-class", "warning")]
        assert looked("") == [("storage-class", "warning")]
        s3.put_object(Bucket=name, Key=f"root/{IMAGE.key}", Body=JPEG, StorageClass="DEEP_ARCHIVE")
        assert looked("root/work/") == [("storage-class", "error")]
