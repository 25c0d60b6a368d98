"""The serving suite through the Ingress: what it knows lies in the bucket of the release."""

import pytest

from installed import Installed
from media_transcoder import publish
from served import HIDDEN, POINTERS, PUBLISHED, UNPUBLISHED, Served


@pytest.fixture(scope="session")
def served(media: Installed) -> Served:
    client = media.s3.client()
    for known in (*PUBLISHED, *UNPUBLISHED):
        attributes = publish._attributes(known.key, known.mime)
        named = {name.replace("-", ""): value for name, value in attributes.items()}
        client.put_object(Bucket=media.bucket, Key=media.key(known.key), Body=known.body, **named)
    for key, body in {**HIDDEN, **POINTERS}.items():
        media.put(key, body)

    def delete(key: str) -> None:
        client.delete_object(Bucket=media.bucket, Key=media.key(key))

    return Served(media.base_url, media.put, delete, is_behind_ingress=True)
