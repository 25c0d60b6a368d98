"""Items of a collection, as an API without an operator has them: uploaded, and finished by the test."""

from datetime import UTC, datetime
from typing import Any

from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import RenditionState
from uploading import BASE_URL, Api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
MP4 = b"\0\0\0\x18ftypisom" + bytes(1000)
PATH = "users/42/shelf"


async def upload(api: Api, content: bytes = PNG, user: str = "alice", **params: Any) -> str:
    response = await api.post(content=content, user=user, params={"path": PATH, **params})
    assert response.status_code == 201, response.text
    name: str = response.json()["id"]
    return name


async def finish(api: Api, name: str, kind: Kind = Kind.IMAGE) -> str:
    """Write the status of an asset that was made; return the URL of its picture."""
    asset = await api.assets.get("shop", name)
    generation, now = asset.metadata.generation, datetime.now(UTC)
    conditions = [
        condition(each, status=True, reason=Reason.READY, message="", generation=generation, now=now)
        for each in (ConditionType.READY, ConditionType.PUBLISHED)
    ]
    rendition = "medium" if kind is Kind.IMAGE else "thumbnail"
    url = f"{BASE_URL}/media/{name}/{rendition}.jpg"
    made = RenditionStatus(name=rendition, state=RenditionState.READY, key=f"media/{name}/{rendition}.jpg", url=url)
    info = SourceInfo(type=kind, mime_type="image/png", size_bytes=len(PNG), sha256="0" * 64)
    status = Status(observed_generation=generation, renditions=(made,), source_info=info).with_conditions(conditions)
    await api.assets.write_status(asset, status)
    return url
