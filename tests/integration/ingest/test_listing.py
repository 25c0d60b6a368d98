"""Lists by filter and in order, and the counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType, Status, condition
from uploading import Api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
PDF = b"%PDF-1.7\n" + bytes(2000)


async def upload(api: Api, name: str, content: bytes = PNG, user: str = "alice", **params: str) -> str:
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    response = await api.post(content=content, user=user, params=params, headers=headers)
    assert response.status_code == 201
    asset: str = response.json()["id"]
    return asset


async def end(api: Api, name: str, kind: ConditionType) -> None:
    reason = Reason.READY if kind is ConditionType.READY else Reason.UNDECODABLE
    final = condition(kind, status=True, reason=reason, message="", generation=1, now=datetime.now(UTC))
    await api.assets.write_status(
        await api.assets.get("shop", name), Status(observed_generation=1, conditions=(final,))
    )


async def listed(api: Api, query: str, user: str = "alice") -> list[str]:
    page = (await api.get(f"/api/media/?{query}", user=user)).json()
    names = [item["original_name"] for item in page["results"]]
    assert page["count"] == len(names)
    return names


async def test_filters(api: Api) -> None:
    cat = await upload(api, "cat.png", alt_text="Ein Käse", collection="ads/1", is_public="false")
    report = await upload(api, "report.pdf", PDF, caption="for 2025")
    await upload(api, "dog.png")
    await end(api, cat, ConditionType.READY)
    await end(api, report, ConditionType.STALLED)
    for query, expected in {
        "type=image": ["dog.png", "cat.png"],
        "type=document": ["report.pdf"],
        "type=video": [],
        "status=ready": ["cat.png"],
        "status=failed": ["report.pdf"],
        "status=processing": ["dog.png"],
        "collection=ads/1": ["cat.png"],
        "collection=users/42": ["dog.png", "report.pdf"],
        "is_public=false": ["cat.png"],
        "is_public=true": ["dog.png", "report.pdf"],
        "message_id=x": [],
        "search=K%C3%84SE": ["cat.png"],
        "search=REPORT": ["report.pdf"],
        "search=2025": ["report.pdf"],
        "search=.png&type=image&status=ready": ["cat.png"],
        "type=&search=&collection=": ["dog.png", "report.pdf", "cat.png"],
        "unknown=1": ["dog.png", "report.pdf", "cat.png"],
        "ordering=created_at": ["cat.png", "report.pdf", "dog.png"],
        "ordering=-file_size": ["report.pdf", "dog.png", "cat.png"],
        "ordering=original_name": ["cat.png", "dog.png", "report.pdf"],
    }.items():
        assert await listed(api, query) == expected, query


async def test_media_of_a_message_are_found_by_its_id(api: Api) -> None:
    source = {"accountName": "shop", "mediaID": "1", "messageID": "wamid.HBg=", "timestamp": "2025-01-01T00:00:00Z"}
    spec = {"source": {"whatsapp": source}, "userID": "42", "originalFileName": "voice.ogg"}
    await api.assets.create(MediaAsset.model_validate({"metadata": {"namespace": "shop", "name": "w"}, "spec": spec}))
    await upload(api, "cat.png")
    assert await listed(api, "message_id=wamid.HBg%3D") == ["voice.ogg"]
    assert await listed(api, "message_id=wamid.HBg%3D", user="bob") == []


async def test_created_between(api: Api) -> None:
    name = await upload(api, "cat.png")
    created = datetime.fromisoformat((await api.get(f"/api/media/{name}/")).json()["created_at"])
    before, after = created - timedelta(seconds=1), created + timedelta(seconds=1)
    assert await listed(api, f"created_after={before.isoformat().replace('+00:00', 'Z')}") == ["cat.png"]
    # A plus sign that was not escaped is a space on arrival.
    assert await listed(api, f"created_after={before.isoformat()}") == ["cat.png"]
    assert await listed(api, f"created_after={after.isoformat()}") == []
    assert await listed(api, f"created_before={after.isoformat()}&created_after={before.isoformat()}") == ["cat.png"]
    assert await listed(api, f"created_before={created.isoformat()}") == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("type=Image", "image, video, audio, document"),
        ("status=done", "'processing', 'ready' or 'failed'"),
        ("is_public=maybe", "boolean"),
        ("created_after=yesterday", "datetime"),
        ("created_after=2025-01-01T00:00:00", "timezone"),
        ("ordering=size", "'-file_size'"),
        (f"search={'x' * 257}", "256"),
    ],
)
async def test_wrong_values_are_named_with_what_is_allowed(api: Api, query: str, said: str) -> None:
    response = await api.get(f"/api/media/?{query}")
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == query.partition("=")[0]
    assert said in error["detail"]


async def test_links_keep_the_filters(api: Api) -> None:
    for number in range(3):
        await upload(api, f"{number}.png")
    await upload(api, "x.pdf", PDF)
    seen: list[str] = []
    url = f"{api.client.base_url}/api/media/?type=image&ordering=created_at&page_size=1&search=.png"
    previous = None
    while url:
        page = (await api.get(url)).json()
        assert page["count"] == 3
        seen += [item["original_name"] for item in page["results"]]
        previous, url = page["previous"], page["next"]
    assert seen == ["0.png", "1.png", "2.png"]
    assert "type=image" in str(previous)
    assert "page=2" in str(previous)


async def test_a_filter_shows_nothing_of_others(api: Api) -> None:
    await upload(api, "cat.png", user="bob", collection="ads/1", alt_text="secret")
    for query in ("", "collection=ads/1", "search=secret", "type=image", "ordering=order"):
        assert await listed(api, query) == []
        assert await listed(api, query, user="other") == []
        assert await listed(api, query, user="admin") == ["cat.png"]


async def stats(api: Api, user: str = "alice") -> dict[str, Any]:
    response = await api.get("/api/media/stats/", user=user)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


async def test_stats(api: Api) -> None:
    nothing = {"image": 0, "video": 0, "audio": 0, "document": 0}
    assert await stats(api) == {
        "total": 0,
        "by_type": nothing,
        "by_status": {"processing": 0, "ready": 0, "failed": 0},
        "total_size": 0,
    }
    cat = await upload(api, "cat.png")
    await upload(api, "x.pdf", PDF, user="bob")
    await end(api, cat, ConditionType.READY)
    assert await stats(api) == {
        "total": 1,
        "by_type": {**nothing, "image": 1},
        "by_status": {"processing": 0, "ready": 1, "failed": 0},
        "total_size": len(PNG),
    }
    everything = await stats(api, "admin")
    assert (everything["total"], everything["total_size"]) == (2, len(PNG) + len(PDF))
    assert everything["by_type"] == {**nothing, "image": 1, "document": 1}
    await api.delete(f"/api/media/{cat}/")
    assert (await stats(api))["total"] == 0


async def test_stats_need_a_token(api: Api) -> None:
    assert (await api.client.get("/api/media/stats/")).status_code == 401
