"""A client of boto3 for the bucket, told by the variables AWS_… that obstore is told by."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config

_CONNECTIONS = 32


def connect(
    bucket: str,
    environment: Mapping[str, str] = os.environ,
    *,
    endpoint: str | None = None,
    session: boto3.Session | None = None,
    anonymous: bool = False,
    connect_seconds: float = 5,
    read_seconds: float = 30,
    attempts: int = 4,
) -> Any:
    """Return a client; nothing is sent yet.

    environment holds AWS_ENDPOINT, AWS_REGION and so on; what it does not say of the account, boto3 looks for as it
    does everywhere. endpoint is used in place of AWS_ENDPOINT. An anonymous client signs nothing. The times are those
    of one of `attempts` tries. Without a session it has one of its own: that which boto3 shares keeps the credentials
    that it first saw.
    """
    url = endpoint or environment.get("AWS_ENDPOINT") or environment.get("AWS_ENDPOINT_URL") or None
    is_virtual = environment.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true"
    style = "virtual" if is_virtual else "path"
    return (session or boto3.Session()).client(
        "s3",
        endpoint_url=_without_bucket(url, bucket) if url and is_virtual else url,
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID") or None,
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY") or None,
        aws_session_token=environment.get("AWS_SESSION_TOKEN") or None,
        verify=authorities_of(environment),
        config=Config(
            signature_version=UNSIGNED if anonymous else "s3v4",
            # Without an endpoint it is AWS, which knows the bucket by its host.
            s3={"addressing_style": style if url else "auto"},
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # Other servers than AWS know only some of the checksums that boto3 would add on its own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def authorities_of(environment: Mapping[str, str]) -> str | None:
    """Return the file of the authorities that the store's certificate comes from; None for those of the machine."""
    return environment.get("AWS_CA_BUNDLE") or environment.get("SSL_CERT_FILE")


def _without_bucket(url: str, bucket: str) -> str:
    """Return the endpoint as boto3 takes it, which puts the bucket before the host; for obstore it is there already."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.removeprefix(f"{bucket}.")))
