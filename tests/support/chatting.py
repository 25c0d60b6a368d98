"""Sending by WhatsApp, over the real application and a stand-in for Graph that knows its account."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

import graph
from graph import Graph
from media_ingest.whatsapp.accounts import in_directory
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource, Source
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import RenditionState
from messages import APP_SECRET, NUMBER, TOKEN, account
from uploading import Api, running_api

SEND = "/api/whatsapp/support/send/"
TO = "+16505551234"
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 8000


@contextmanager
def graph_of_account() -> Iterator[Graph]:
    """Run Graph for the account `support`."""
    with graph.serving() as running:
        running.tokens.add(TOKEN)
        running.numbers[NUMBER] = "+1 555-078-3881"
        running.businesses["8856996819413533"] = ["media"]
        running.app_secret = APP_SECRET
        yield running


@asynccontextmanager
async def api_of_account(tmp_path: Path) -> AsyncIterator[Api]:
    """Run the application with the account `support`, which is alice's; MEDIA_GRAPH_URL says where Graph is."""
    account(tmp_path / "accounts", userID="42", businessAccountID="8856996819413533")
    async with running_api(tmp_path, parts={"accounts": in_directory(tmp_path / "accounts")}) as running:
        yield running


async def ready(
    api: Api,
    *made: tuple[str, str, bytes],
    kind: Kind = Kind.IMAGE,
    profile: str = "whatsapp",
    name: str = "photo",
    user: str = "42",
    file_name: str | None = None,
) -> str:
    """Make an asset with these renditions: name, type and content."""
    renditions = []
    for rendition, mime_type, content in made:
        key = f"private/shop/{name}/{rendition}"
        await api.store.create(key, content)
        renditions.append(
            RenditionStatus(
                name=rendition,
                state=RenditionState.READY,
                key=key,
                mime_type=mime_type,
                size_bytes=len(content),
                sha256="0" * 64,
            )
        )
    spec = MediaAssetSpec(
        source=Source(object=ObjectSource(key="uploads/shop/x/y")),
        profile_name=profile,
        user_id=user,
        original_file_name=file_name,
    )
    asset = await api.assets.create(MediaAsset(metadata=Metadata(namespace="shop", name=name), spec=spec))
    now = datetime.now(UTC)
    conditions = [
        condition(each, status=True, reason=Reason.READY, message="", generation=1, now=now)
        for each in (ConditionType.READY, ConditionType.PUBLISHED)
    ]
    info = SourceInfo(type=kind, mime_type="image/jpeg", size_bytes=1, sha256="0" * 64)
    status = Status(observed_generation=1, renditions=tuple(renditions), source_info=info)
    await api.assets.write_status(asset, status.with_conditions(conditions))
    return name


async def send(
    api: Api, asset: str, *, user: str = "alice", path: str = SEND, key: str | None = None, **said: Any
) -> httpx2.Response:
    """Send an asset; key is its Idempotency-Key."""
    headers = {**api.auth(user), **({} if key is None else {"Idempotency-Key": key})}
    return await api.client.post(path, json={"to": TO, "media_id": asset, **said}, headers=headers)
