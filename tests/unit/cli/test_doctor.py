"""What holds for every check of media doctor, and what it takes from a release."""

import asyncio

from media_cli.doctor.installed import as_seen_here
from media_cli.doctor.registry import Check, Findings, Severity, ok, run
from media_cli.doctor.site import Site, not_known


async def well(_: Site) -> Findings:
    return [ok("a thing", "It is well."), ok("another", "It is, too.")]


async def never(_: Site) -> Findings:
    await asyncio.Event().wait()
    return []


async def broken(_: Site) -> Findings:
    message = "a bug"
    raise ZeroDivisionError(message)


async def unknown(_: Site) -> Findings:
    not_known("Give --something.")


async def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    checks = [
        Check("never", never, seconds=0.05),
        Check("broken", broken),
        Check("unknown", unknown),
        Check("well", well),
    ]
    found = await run(checks, Site())
    assert [(each.check, each.severity, each.fault) for each in found] == [
        ("never", Severity.ERROR, "timeout"),
        ("broken", Severity.ERROR, "internal"),
        ("unknown", Severity.SKIPPED, ""),
        ("well", Severity.OK, ""),
        ("well", Severity.OK, ""),
    ]
    assert "a bug" in found[1].found
    assert found[2].found == "Give --something."


def test_each_server_is_looked_at_once() -> None:
    environments = {
        "ingest": {"MEDIA_STORE_URL": "s3://media", "AWS_ENDPOINT": "https://s3.example.org"},
        "operator": {"MEDIA_STORE_URL": "s3://media", "AWS_ENDPOINT": "https://s3.example.org"},
    }
    site = Site(public_url="https://media.example.org", environments=environments)
    assert site.origins() == {"https://media.example.org": "publicBaseURL", "https://s3.example.org": "the store"}
    amazon = Site(environments={"ingest": {"MEDIA_STORE_URL": "s3://media", "AWS_REGION": "eu-central-1"}})
    assert amazon.origins() == {"https://s3.eu-central-1.amazonaws.com": "the store"}


def test_the_account_of_this_machine_is_never_taken_for_that_of_a_component() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    environment = {"MEDIA_STORE_URL": "s3://media", "AWS_ENDPOINT": "https://s3.example.org"}
    assert as_seen_here(environment | keys) == environment | keys
    assert as_seen_here(environment) == {"AWS_ENDPOINT": "https://s3.example.org"}
    assert as_seen_here(environment | {"AWS_ACCESS_KEY_ID": "a"}).keys() == {"AWS_ENDPOINT", "AWS_ACCESS_KEY_ID"}
