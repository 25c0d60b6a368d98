"""The bucket: the way there, the accounts, the clock, the settings, and what lies in it."""

import asyncio
import functools
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from media_cli.doctor.registry import Finding, Findings, error, ok, skipped, warning
from media_cli.doctor.site import Environment, Site, UnknownError, is_in_cluster_only, is_in_pod, not_known
from mediaasset import keys

T = TypeVar("T")

#: Seconds. S3 refuses signatures that are 15 minutes off; JWTs and signed URLs suffer from less.
SKEW_REFUSED, SKEW_NOTED = 900, 30
#: Classes from which an object must be restored before anybody can read it.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_WRONG_KEY = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken"})


def client(environment: Environment, *, anonymous: bool = False) -> Any:
    """Return a client that gives up soon; raises UnknownError without boto3 or where only pods reach the store.

    To be called in a thread: what boto3 reads for a client takes long enough for others to miss their time.
    """
    host = urlsplit(environment.get("AWS_ENDPOINT", "")).hostname or ""
    if host and is_in_cluster_only(host) and not is_in_pod():
        not_known(f"Only pods reach {host}: run the doctor in the cluster (docs/operations/doctor.md).")
    with _LOCK:
        return _client(frozenset(environment.items()), anonymous=anonymous)


#: One after the other, so that each is made once; a client may be used by several threads.
_LOCK = threading.Lock()


@functools.cache
def _client(environment: frozenset[tuple[str, str]], *, anonymous: bool) -> Any:
    try:
        from mediaasset.s3client import connect  # noqa: PLC0415 - boto3 is an extra of its own
    except ModuleNotFoundError as missing:
        text = f"{missing.name} is not installed: pip install 'media-operator[platform]'."
        raise UnknownError(text) from missing
    variables = dict(environment)
    bucket, _ = keys.place(variables["MEDIA_STORE_URL"])
    return connect(bucket, variables, anonymous=anonymous, connect_seconds=4, read_seconds=8, attempts=1)


async def asked(call: Callable[[], T]) -> T:
    """Run what blocks in a thread."""
    return await asyncio.to_thread(call)


async def reach(site: Site) -> Findings:
    """See whether each account gets to the bucket."""
    stores = site.stores()
    return [
        *await asyncio.gather(*(_reach(name, each) for name, each in stores.items())),
        *(skipped(name, _ELSEWHERE) for name in site.environments if name not in stores and name in _SIGNING),
    ]


#: Those that cannot do without an account.
_SIGNING = ("ingest", "operator", "transcoder")
_ELSEWHERE = "Its account is an identity of the cloud, which only its pods have: run the doctor in one."


async def _reach(name: str, environment: Environment) -> Finding:
    url = environment["MEDIA_STORE_URL"]
    about = f"{url} as {name}"
    try:
        s3 = await asked(lambda: client(environment))
    except UnknownError as why:
        return skipped(about, str(why))
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra of its own

    try:
        bucket, prefix = keys.place(url)
        # Reading is refused by name, a HEAD only by its status. What lies nowhere needs no right to be refused.
        await asked(lambda: s3.get_object(Bucket=bucket, Key=f"{prefix}doctor/none"))
    except ClientError as problem:
        return _answered(about, bucket, problem)
    except BotoCoreError as problem:
        return error(
            "store-unreachable",
            about,
            f"No answer: {problem}",
            "The endpoint is wrong, the server is down, its certificate is not trusted, or a firewall is in between.",
            "Correct s3.endpoint, s3.region or s3.caBundle; see the findings of dns and tls.",
        )
    return ok(about, "The store answers, and knows the account.")


def _answered(about: str, bucket: str, problem: Any) -> Finding:
    code = str(problem.response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket":
        cause = "It was never made, is in another region or at another endpoint, or the name is misspelt."
        cure = "Make the bucket, or correct s3.bucket, s3.region and s3.endpoint."
        return error("no-bucket", about, f"There is no bucket {bucket}.", cause, cure)
    if code in _WRONG_KEY:
        cause = "The key in the Secret is not that of the account: mistyped, rotated, deleted, or with a line break."
        cure = "Write AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the Secret anew, and restart the pods."
        return error("wrong-key", about, f"The store does not take the account's key ({code}).", cause, cure)
    if code == "RequestTimeTooSkewed":
        return _skewed(about, "The store refuses signatures of this time (RequestTimeTooSkewed).")
    if code in ("AuthorizationHeaderMalformed", "PermanentRedirect"):
        cause = "The bucket is in another region than requests are signed for."
        return error("wrong-region", about, f"The store refuses the region ({code}).", cause, "Correct s3.region.")
    # Not found, or forbidden to read: the account is known, and `rights` tells what it may do.
    if code in ("NoSuchKey", "AccessDenied", "404", "403"):
        return ok(about, "The store answers, and knows the account.")
    cause = "The server is no S3, is not ready, or a proxy answers for it."
    return error("store-error", about, f"The store answers {code or 'nothing that S3 would'}.", cause, "See its log.")


def _skewed(about: str, found: str) -> Finding:
    return error(
        "clock",
        about,
        found,
        "The clock of this machine or of the store is wrong.",
        "Set both by NTP (chrony, systemd-timesyncd); in a cluster, those of all nodes.",
    )


async def clock(site: Site) -> Findings:
    """Compare this machine's clock with that of each store; pods have the clock of their node."""
    import httpx2  # noqa: PLC0415 - it stands with its only use

    found: Findings = []
    endpoints = {each.get("AWS_ENDPOINT") or "https://s3.amazonaws.com" for each in site.stores().values()}
    async with httpx2.AsyncClient(timeout=8) as http:
        for endpoint in sorted(endpoints):
            if is_in_cluster_only(urlsplit(endpoint).hostname or "") and not is_in_pod():
                found.append(skipped(endpoint, "Only pods reach it."))
                continue
            try:
                before = datetime.now(UTC)
                answer = await http.get(endpoint)
                after = datetime.now(UTC)
                theirs = parsedate_to_datetime(answer.headers["Date"])
            except (httpx2.HTTPError, KeyError, ValueError) as problem:
                found.append(skipped(endpoint, f"It tells no time: {problem!r}."))
                continue
            skew = abs((theirs - (before + (after - before) / 2)).total_seconds())
            text = f"The clocks differ by {skew:.0f} s."
            if skew >= SKEW_REFUSED:
                found.append(_skewed(endpoint, text))
            elif skew >= SKEW_NOTED:
                cure = "Set both by NTP."
                found.append(warning("clock", endpoint, text, "One of the two clocks is not set.", cure))
            else:
                found.append(ok(endpoint, text))
    return found


async def settings(site: Site) -> Findings:
    """Compare the settings of the bucket with what `media bucket apply` would make of them."""
    stores = site.stores()
    name, environment = next(iter(stores.items()))
    s3 = await asked(lambda: client(environment))
    from media_cli.bucket import settings as bucket  # noqa: PLC0415 - boto3 is an extra of its own

    place, prefix = keys.place(environment["MEDIA_STORE_URL"])
    wish = bucket.Wish(bucket=place, prefix=prefix, public="gateway" not in stores)
    try:
        found = await asked(lambda: bucket.look(s3, wish))
    except bucket.BucketError as problem:
        return [skipped(place, f"{problem} See `store`.")]
    return [_setting(f"{place}: {each.name}, as {name}", each) for each in found]


def _setting(about: str, each: Any) -> Finding:
    if each.state == "same" and not each.note:
        return ok(about, "It is as it should be.")
    if each.state in ("unsupported", "forbidden"):
        return skipped(about, each.note)
    cure = "Run `media bucket check` with an account that may change it, and `media bucket apply`."
    text = each.note or "It is not what `media bucket apply` makes."
    if each.name == "policy":
        # Whether media are readable is tried by `rights`; here it is only that the policy is another one.
        return warning("policy", about, text, "The policy was written by hand, or changed since.", cure)
    return warning(each.name.replace(" ", "-").lower(), about, text, "It was never set, or changed since.", cure)


async def storage(site: Site) -> Findings:
    """Look for media in classes that nobody can read at once, and for rules of the bucket that move them there."""
    lister = listing(site)
    bucket, prefix = keys.place(lister["MEDIA_STORE_URL"])
    s3 = await asked(lambda: client(lister))
    objects = await listed(s3, bucket, f"{prefix}{keys.PUBLIC}/")
    archived = [each["Key"] for each in objects if each.get("StorageClass") in _ARCHIVES]
    if archived:
        return [
            error(
                "storage-class",
                f"s3://{bucket}/{archived[0]}",
                f"{len(archived)} of {len(objects)} media lie in an archive class.",
                "A lifecycle rule of the bucket moves them there; reading them answers 403 until they are restored.",
                "Leave media/ and private/ out of that rule, and restore what it has moved.",
            )
        ]
    served = tuple(f"{prefix}{top}/" for top in (keys.PUBLIC, keys.PRIVATE))
    for rule in await asked(lambda: _rules(s3, bucket)):
        where = _prefix_of(rule)
        classes = {each.get("StorageClass") for each in rule.get("Transitions", ())} & _ARCHIVES
        if rule.get("Status") == "Enabled" and classes and any(_overlap(where, each) for each in served):
            name = rule.get("ID") or "without a name"
            text = f"Its lifecycle rule {name} moves media to {min(classes)}."
            cause = "It is for the whole bucket or for media: what it has moved answers 403 until it is restored."
            cure = f"Give it another prefix than {' and '.join(served)}; GLACIER_IR is read at once."
            return [warning("storage-class", f"s3://{bucket}", text, cause, cure)]
    return [ok(f"s3://{bucket}/{prefix}media/", f"{len(objects)} objects looked at: all can be read at once.")]


def _rules(s3: Any, bucket: str) -> list[dict[str, Any]]:
    """Return the lifecycle rules of a bucket: none where there are none, or they may not be seen."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - an extra of its own

    try:
        rules: list[dict[str, Any]] = s3.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    except ClientError:
        return []
    return rules


def _prefix_of(rule: dict[str, Any]) -> str:
    found = rule.get("Filter", {})
    return str(found.get("And", found).get("Prefix", "") or rule.get("Prefix", ""))


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def listing(site: Site) -> Environment:
    """Return the environment of who may list media; raises UnknownError when nobody is known who may."""
    stores = site.stores()
    found = next((stores[name] for name in ("operator", "gateway", "this account") if name in stores), None)
    return found or not_known("Only the operator's account may list media: --namespace, or --component operator.")


async def listed(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """Return up to 1,000 objects below a prefix; raises UnknownError where that is refused."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra of its own

    try:
        page = await asked(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=prefix))
    except (BotoCoreError, ClientError) as problem:
        text = f"{prefix} cannot be listed: {problem}"
        raise UnknownError(text) from problem
    found: list[dict[str, Any]] = page.get("Contents", [])
    return found
