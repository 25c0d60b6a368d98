"""The serving suite through the Ingress: what it knows lies in the bucket of the release."""

import pytest

from installed import Installed
from media_transcoder import publish
from mediaasset.media import by_file_name
from served import DOCUMENT, HIDDEN, IMAGE, PRIVATE, VIDEO, Served


@pytest.fixture(scope="session")
def served(media: Installed) -> Served:
    client = media.s3.client()
    for known in (IMAGE, VIDEO, DOCUMENT, PRIVATE):
        found = by_file_name(known.key)
        assert found is not None
        attributes = publish._attributes(known.key, found.mime, found.kind)
        named = {name.replace("-", ""): value for name, value in attributes.items()}
        client.put_object(Bucket=media.bucket, Key=media.key(known.key), Body=known.body, **named)
    for key, body in HIDDEN.items():
        media.put(key, body)
    return Served(media.base_url, is_behind_ingress=True)
