"""Uploads that are taken: what becomes an object, an asset and an answer."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from media_ingest.routes import health
from mediaasset.media import Kind
from mediaasset.names import USER_NAME_ANNOTATION
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.task import Queue
from uploading import Api

PHOTO = (Path(__file__).parents[2] / "data" / "photo.jpg").read_bytes()
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
FIELDS = {
    "is_public": "false",
    "alt_text": "Ein Apfel 🍎",
    "caption": "Line one\r\nline two",
    "order": "7",
    "path": "users/42/fruit",
    "collection": "fruit/apples",
    "profile": "web",
    "queue": "batch",
    "metadata": json.dumps({"sku": "A-1", "farbe": "grün"}),
}


def key_of(asset: MediaAsset) -> str:
    assert asset.spec.source.object
    return asset.spec.source.object.key


async def stored(api: Api, name: str) -> tuple[MediaAsset, bytes | None]:
    asset = await api.assets.get("shop", name)
    return asset, await api.store.read(key_of(asset), max_bytes=1 << 24)


@pytest.mark.parametrize("field", ["file", "image", "avatar"])
async def test_a_form_becomes_an_object_and_an_asset(api: Api, field: str) -> None:
    response = await api.post(files={field: ("apple.jpg", PHOTO, "image/jpeg")}, data=FIELDS)
    assert response.status_code == 201
    answer = response.json()
    asset, content = await stored(api, answer["id"])
    assert response.headers["Location"] == f"/api/media/{answer['id']}/"
    assert content == PHOTO
    assert key_of(asset).startswith(f"uploads/shop/{answer['id']}/")
    assert asset.spec.source.object
    assert asset.spec.source.object.size_bytes == len(PHOTO) == answer["file_size"]
    assert asset.spec.type is Kind.IMAGE
    assert asset.spec.profile_name == "web"
    assert asset.spec.public_path == "users/42/fruit"
    assert asset.spec.visibility is Visibility.PRIVATE
    assert asset.spec.queue is Queue.BATCH
    assert asset.spec.user_id == "42"
    assert asset.metadata.annotations[USER_NAME_ANNOTATION] == "Alice"
    assert answer["status"] == "processing"
    assert answer["progress"] == {"stage": "render", "percent": 50.0}
    assert answer["urls"] == dict.fromkeys(("thumbnail", "small", "medium", "large", "webp", "original"))
    for name in ("alt_text", "caption", "collection"):
        assert answer[name] == FIELDS[name]
    assert answer["order"] == 7
    assert answer["is_public"] is False
    assert answer["metadata"] == {"sku": "A-1", "farbe": "grün"}
    assert answer["original_name"] == "apple.jpg"
    assert (await api.get(response.headers["Location"])).json() == answer


async def test_a_bare_body_takes_its_fields_from_the_query_and_its_name_from_the_disposition(api: Api) -> None:
    response = await api.post(
        content=PHOTO,
        params=FIELDS,
        headers={
            "Content-Type": "image/jpeg",
            "Content-Disposition": "attachment; filename=\"plain.jpg\"; filename*=UTF-8''%C3%84pfel%20%26%20Birnen.jpg",
        },
    )
    assert response.status_code == 201
    asset, content = await stored(api, response.json()["id"])
    assert content == PHOTO
    assert asset.spec.original_file_name == "Äpfel & Birnen.jpg"
    assert asset.spec.caption == FIELDS["caption"]
    assert asset.spec.metadata == {"sku": "A-1", "farbe": "grün"}
    assert asset.spec.collection == "fruit/apples"


async def test_defaults(api: Api) -> None:
    answer = (await api.post(content=PNG)).json()
    asset, _ = await stored(api, answer["id"])
    assert asset.spec.public_path == "users/42"
    assert asset.spec.visibility is Visibility.PUBLIC
    assert asset.spec.profile_name is None
    assert answer["is_public"] is True
    assert answer["collection"] == "users/42"
    assert answer["original_name"] is None
    assert answer["error"] is None


async def test_empty_fields_of_a_form_count_as_absent(api: Api) -> None:
    empty = dict.fromkeys(("alt_text", "caption", "order", "path", "collection", "profile", "metadata"), "")
    response = await api.post(files={"file": ("a.png", PNG)}, data=empty)
    assert response.status_code == 201
    assert response.json()["order"] is None


@pytest.mark.parametrize("position", [0, 10, 20], ids=["first", "middle", "last"])
async def test_twenty_fields_in_any_order_around_the_file(api: Api, position: int) -> None:
    fields = list({**FIELDS, **{f"other_{number}": "x" * number for number in range(12)}}.items())
    random.Random(position).shuffle(fields)  # noqa: S311 - an order that can be repeated, no secret
    parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in fields]
    parts.insert(position, ("file", ("apple.jpg", PHOTO, "image/jpeg")))
    response = await api.post(files=parts)
    assert response.status_code == 201
    asset, content = await stored(api, response.json()["id"])
    assert content == PHOTO
    assert asset.spec.caption == FIELDS["caption"]
    assert asset.spec.public_path == FIELDS["path"]


async def test_bytes_that_look_like_boundaries_come_through(api: Api) -> None:
    hostile = b"\r\n" * 40_000 + b"\r\n--" * 20_000 + b"\r\n--boundar" + b"\r" * 9_999
    response = await api.post(
        content=b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        + PNG
        + hostile
        + b"\r\n--boundary--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=boundary"},
    )
    assert response.status_code == 201
    _, content = await stored(api, response.json()["id"])
    assert content == PNG + hostile


NAMES = {
    "traversal": ("../../etc/passwd.png", "../../etc/passwd.png"),
    "separators": ("a/b\\c.png", "a/b\\c.png"),
    "unicode": ("Ünïcödé 漢字 🍎 \u202egnp.png", "Ünïcödé 漢字 🍎 \u202egnp.png"),
    "long": ("n" * 996 + ".png", "n" * 996 + ".png"),
    "too-long": ("n" * 3000, "n" * 1024),
    "long-unicode": ("漢" * 1000, "漢" * 1000),
}


@pytest.mark.parametrize(("sent", "kept"), NAMES.values(), ids=NAMES)
async def test_a_file_name_is_display_only(api: Api, sent: str, kept: str) -> None:
    response = await api.post(files={"file": (sent, PNG, "image/png")})
    assert response.status_code == 201
    assert response.json()["original_name"] == kept
    asset, content = await stored(api, response.json()["id"])
    assert content == PNG
    # What the key is made of holds nothing of the name.
    assert key_of(asset).rpartition("/")[2].isalnum()
    assert all(api.directory in path.resolve().parents for path in api.objects())


@pytest.mark.parametrize(
    ("disposition", "kept"),
    [
        ("attachment; filename*=UTF-8''a%00b%2F..%2Fc.png", "ab/../c.png"),
        ('attachment; filename="a;b.png"', "a;b.png"),
        ("attachment; filename*=ISO-8859-1'en'%A3.png", "£.png"),
        ("attachment; filename*=utf-8''%FF%FE.png", "\ufffd\ufffd.png"),
        ("attachment", None),
    ],
)
async def test_names_of_a_bare_body(api: Api, disposition: str, kept: str | None) -> None:
    response = await api.post(content=PNG, headers={"Content-Disposition": disposition})
    assert response.status_code == 201
    assert response.json()["original_name"] == kept


async def test_a_nul_in_the_name_of_a_form_is_dropped(api: Api) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a\x00b.png"\r\n\r\n' + PNG + b"\r\n--b--\r\n"
    response = await api.post(content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert response.json()["original_name"] == "ab.png"


async def test_within_one_kind_the_content_wins(api: Api) -> None:
    response = await api.post(files={"file": ("photo.png", PHOTO, "image/webp")})
    assert response.status_code == 201
    assert response.json()["file_type"] == "image"


@pytest.mark.parametrize("declared", ["application/octet-stream", "x/unknown", "", "application/x-www-form-urlencoded"])
async def test_types_that_declare_nothing(api: Api, declared: str) -> None:
    response = await api.post(content=PNG, headers={"Content-Type": declared})
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("name", "declared"), [("a.txt", ""), ("a", "text/plain; charset=utf-8"), ("a.csv", "text/plain")]
)
async def test_declared_text_is_a_document(api: Api, name: str, declared: str) -> None:
    response = await api.post(files={"file": (name, "Grüße\n".encode(), declared)})
    assert response.status_code == 201
    assert response.json()["file_type"] == "document"


async def test_sound_in_a_container_is_taken_as_declared(api: Api) -> None:
    content = b"\0\0\0\x18ftypisom" + bytes(5000)
    for declared, kind in (("audio/mp4", "audio"), ("video/mp4", "video"), ("", "video")):
        response = await api.post(content=content, headers={"Content-Type": declared})
        assert response.json()["file_type"] == kind


async def test_a_body_exactly_at_the_limit_passes(api: Api) -> None:
    limit = await api.image_limit()
    body = PNG.ljust(limit, b"x")
    for response in (await api.post(content=body), await api.post(files={"file": ("a.png", body)})):
        assert response.status_code == 201
        assert response.json()["file_size"] == limit


CONTENT = {
    Kind.IMAGE: PNG[:100],
    Kind.VIDEO: b"\0\0\0\x18ftypisom" + bytes(100),
    Kind.AUDIO: b"ID3" + bytes(100),
    Kind.DOCUMENT: b"%PDF-1.7\n" + bytes(100),
}


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.AUDIO, Kind.VIDEO, Kind.DOCUMENT])
@pytest.mark.parametrize("form", [True, False], ids=["form", "bare"])
async def test_each_limit_to_the_byte(api: Api, kind: Kind, extra: int, *, form: bool) -> None:
    limit = (await api.assets.profile("web")).spec.limits.of(kind).max_bytes
    assert limit is not None
    content = CONTENT[kind].ljust(limit + extra, b"x")
    response = await (api.post(files={"file": ("", content)}) if form else api.post(content=content))
    if extra > 0:
        assert (response.status_code, response.json()["limit"]) == (413, limit)
        assert limit < response.json()["received"] <= len(content)
        assert await api.nothing_exists()
    else:
        assert (response.status_code, response.json()["file_size"]) == (201, len(content))


async def test_paths_without_the_slash_answer_the_same(api: Api) -> None:
    response = await api.client.post("/api/media/upload", content=PNG, headers=api.auth())
    assert response.status_code == 201
    location = response.headers["Location"]
    assert (await api.get(location.rstrip("/"))).json() == response.json()


async def test_the_document_names_all_fields(api: Api) -> None:
    named = health.document()["components"]["schemas"]["Fields"]["properties"]
    assert set(named) == {*FIELDS, "keep_latest", "stable_path"}
