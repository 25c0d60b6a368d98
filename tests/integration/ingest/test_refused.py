"""Uploads that are refused: the problem says why, and nothing exists afterwards."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from media_ingest.errors import TYPE_PREFIX
from mediaasset.assets import AssetsError
from mediaasset.media import MEDIA_TYPES
from mediaasset.spec import MediaAsset
from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(10_000)
MIB = 1024 * 1024


async def refused(api: Api, response: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["type"]) == (status, TYPE_PREFIX + slug)
    assert response.headers["Content-Type"] == "application/problem+json"
    await api.quiet()
    return problem


async def test_an_empty_file(api: Api) -> None:
    await refused(api, await api.post(content=b""), 400, "empty-source")
    await refused(api, await api.post(files={"file": ("a.png", b"")}), 400, "empty-source")


async def test_a_text_named_jpg(api: Api) -> None:
    problem = await refused(
        api, await api.post(files={"file": ("a.jpg", b"Hello\n" * 1000, "image/jpeg")}), 415, "unsupported-type"
    )
    assert (problem["declared"], problem["detected"]) == ("image/jpeg", None)


async def test_an_unknown_type_names_those_that_are_known(api: Api) -> None:
    response = await api.post(files={"file": ("a.bin", b"\x7fELF" + bytes(5000), "application/octet-stream")})
    await refused(api, response, 415, "unsupported-type")
    assert set(response.headers["Accept"].split(", ")) == {media.mime for media in MEDIA_TYPES}


@pytest.mark.parametrize(
    ("name", "declared", "content", "detected"),
    [
        ("a.pdf", "", PNG, "image/png"),
        ("a", "application/pdf", PNG, "image/png"),
        ("a.jpg", "image/jpeg", b"%PDF-1.7" + bytes(5000), "application/pdf"),
        ("a.txt", "text/plain", PNG, "image/png"),
        ("a.jpg", "text/plain", b"Hello\n", "text/plain"),
        ("a.mp4", "video/mp4", b"ID3" + bytes(5000), "audio/mpeg"),
    ],
)
async def test_a_declaration_of_another_kind(api: Api, name: str, declared: str, content: bytes, detected: str) -> None:
    response = await api.post(files={"file": (name, content, declared)})
    problem = await refused(api, response, 415, "type-mismatch")
    assert problem["detected"] == detected
    assert problem["declared"] != detected


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "counted"])
@pytest.mark.parametrize("form", [True, False], ids=["form", "bare"])
async def test_one_byte_over_the_limit(api: Api, *, announced: bool, form: bool) -> None:
    limit = await api.image_limit()
    head = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' if form else b""
    tail = b"\r\n--b--\r\n" if form else b""
    body = head + PNG.ljust(limit + 1, b"x") + tail

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), MIB):
            yield body[start : start + MIB]

    content_type = "multipart/form-data; boundary=b" if form else "image/png"
    response = await api.post(content=body if announced else chunks(), headers={"Content-Type": content_type})
    problem = await refused(api, response, 413, "source-too-large")
    assert problem["limit"] == limit
    # How much of the last chunk was counted depends on the network; it is never less than one byte too many.
    assert limit < problem["received"] <= limit + 1


async def test_a_profile_after_the_file_counts_too(api: Api) -> None:
    response = await api.post(files=[("file", ("a.png", PNG)), ("profile", (None, "no-such-profile"))])
    await refused(api, response, 422, "profile-not-found")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PNG, "closing boundary"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PNG + b"\r\n--b\r\n", "closing boundary"),
        (b'--b\r\nContent-Disposition: form-data; name="caption"\r\n\r\nx\r\n--b--\r\n', "no file part"),
        (b"--b--\r\n", "no file part"),
        (b"", "closing boundary"),
        (b"no form at all", "not well formed"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            + PNG
            + b'\r\n--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--b--\r\n',
            "two file parts",
        ),
        (b"--b\r\nContent-Type: image/png\r\n\r\n" + PNG + b"\r\n--b--\r\n", "Content-Disposition"),
        (
            b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n' + PNG + b"\r\n--b--\r\n",
            "must be named file",
        ),
        (b"--b\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n", "header size"),
        (b"--b\r\n" + b"X-Many: x\r\n" * 20 + b"\r\n", "header count"),
        (
            b'--b\r\nContent-Disposition: form-data; name="caption"\r\n\r\n\xff\xff\r\n--b--\r\n',
            "UTF-8",
        ),
        (b'--b\r\nContent-Disposition: form-data; name="order"\r\n\r\n1\r\n' * 2 + b"--b--\r\n", "comes twice"),
    ],
)
async def test_forms_that_are_none(api: Api, body: bytes, says: str) -> None:
    response = await api.post(content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    problem = await refused(api, response, 400, "malformed-request")
    assert says in problem["detail"]


async def test_a_form_without_a_boundary(api: Api) -> None:
    response = await api.post(content=PNG, headers={"Content-Type": "multipart/form-data"})
    problem = await refused(api, response, 400, "malformed-request")
    assert "boundary" in problem["detail"]


async def test_a_query_parameter_that_comes_twice(api: Api) -> None:
    response = await api.post(content=PNG, params=[("order", "1"), ("order", "2")])
    await refused(api, response, 400, "malformed-request")


async def test_too_much_beside_the_file(api: Api) -> None:
    file = ("file", ("a.png", PNG))
    for parts in (
        [file, ("caption", (None, "x" * 70_000))],
        [*((f"f{number}", (None, "x")) for number in range(70)), file],
        [*((f"f{number}", (None, "x" * 30_000)) for number in range(10)), file],
    ):
        problem = await refused(api, await api.post(files=parts), 413, "form-too-large")
        assert problem["limit"] > 0


async def test_an_epilogue_without_an_end(api: Api) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PNG + b"\r\n--b--\r\n" + bytes(MIB)
    response = await api.post(content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    await refused(api, response, 413, "form-too-large")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_public", "perhaps"),
        ("is_public", ""),
        ("order", "-1"),
        ("order", "first"),
        ("path", "users/42/../43"),
        ("path", "/users/42"),
        ("path", "users/42/" + "x" * 200),
        ("collection", "a b"),
        ("profile", "Not A Name"),
        ("metadata", "[1]"),
        ("metadata", '{"a": 1}'),
        ("metadata", "{"),
        ("metadata", '{"' + "k" * 129 + '": "v"}'),
        ("alt_text", "x" * 2049),
        ("caption", "a\0b"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
async def test_a_field_that_is_invalid(api: Api, field: str, value: str, *, first: bool) -> None:
    file, text = ("file", ("a.png", PNG)), (field, (None, value))
    problem_of = "profile-not-found" if field == "profile" else "invalid-field"
    problem = await refused(api, await api.post(files=[text, file] if first else [file, text]), 422, problem_of)
    if field != "profile":
        assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_profile_that_does_not_exist(api: Api) -> None:
    problem = await refused(api, await api.post(content=PNG, params={"profile": "none"}), 422, "profile-not-found")
    assert "none" in problem["detail"]


@pytest.mark.parametrize("path", ["users/43", "users/420", "users", "ads/1"])
async def test_a_path_of_somebody_else(api: Api, path: str) -> None:
    problem = await refused(api, await api.post(content=PNG, params={"path": path}), 403, "forbidden")
    assert path in problem["detail"]


async def test_without_a_token_or_with_a_wrong_one(api: Api) -> None:
    for headers, says in (
        ({}, "Bearer realm"),
        ({"Authorization": "Basic YTpi"}, "Bearer realm"),
        ({"Authorization": "Bearer"}, "Bearer realm"),
        ({"Authorization": "Bearer wrong"}, "invalid_token"),
    ):
        for method, path in (("POST", "/api/media/upload/"), ("GET", "/api/media/"), ("GET", "/api/media/x/")):
            response = await api.client.request(
                method, path, headers=headers, content=PNG if method == "POST" else None
            )
            await refused(api, response, 401, "unauthorized")
            assert says in response.headers["WWW-Authenticate"]


async def test_without_the_scope(api: Api) -> None:
    response = await api.post(content=PNG, user="reader")
    await refused(api, response, 403, "forbidden")
    assert 'scope="write"' in response.headers["WWW-Authenticate"]
    await refused(api, await api.delete("/api/media/x/", user="reader"), 403, "forbidden")


async def test_an_asset_that_cannot_be_created_leaves_no_object(api: Api) -> None:
    await api.database._connection.execute("DROP TABLE counter")
    response = await api.post(content=PNG)
    assert response.status_code == 503
    assert response.json()["type"].endswith("assets-unavailable")
    assert response.headers["Retry-After"] == "5"
    assert not api.objects()


async def test_an_asset_that_was_created_although_the_answer_was_lost_keeps_its_object(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API server that stores the asset and whose answer does not arrive; no server here can be made to do so."""
    create = api.assets.create

    async def lose(asset: MediaAsset) -> MediaAsset:
        await create(asset)
        message = "timed out"
        raise AssetsError(message)

    monkeypatch.setattr(api.assets, "create", lose)
    assert (await api.post(content=PNG)).status_code == 503
    (asset,) = (await api.assets.list("shop", limit=2)).items
    assert asset.spec.source.object is not None
    assert api.objects() == [api.directory / asset.spec.source.object.key]


async def test_a_store_that_cannot_write(api: Api) -> None:
    # A file stands where the directory of all uploads belongs: the fault holds for root too.
    (api.directory / "uploads").write_bytes(b"")
    response = await api.post(content=PNG)
    assert response.status_code == 503
    assert response.json()["type"].endswith("store-unavailable")
    assert (await api.assets.list("shop", limit=1)).total == 0


async def test_an_error_that_nobody_expected_says_nothing_of_itself(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        message = "secret detail"
        raise RuntimeError(message)

    # No input is known that ends here; were one known, it would be corrected.
    monkeypatch.setattr("media_ingest.routes.items.own_url", explode)
    response = await api.get("/api/media/")
    assert response.status_code == 500
    assert response.json()["type"] == TYPE_PREFIX + "internal"
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/media/a/b/", "/healthz/x", "/api/media/%2e%2e/", "/api/media/a%00b/"]
)
async def test_everything_else_is_not_found(api: Api, path: str) -> None:
    problem = await refused(api, await api.get(path), 404, "not-found")
    assert problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/media/upload/", {"POST", "PUT"}),
        ("DELETE", "/api/media/upload/", {"POST", "PUT"}),
        ("POST", "/api/media/", {"GET", "HEAD"}),
        ("PUT", "/api/media/x/", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("PUT", "/healthz", {"GET", "HEAD"}),
    ],
)
async def test_other_methods(api: Api, method: str, path: str, allowed: set[str]) -> None:
    response = await api.client.request(method, path, headers=api.auth())
    await refused(api, response, 405, "method-not-allowed")
    assert set(re.split(", *", response.headers["Allow"])) == allowed


async def test_the_settings_bound_a_form(tmp_path: Path) -> None:
    async with running_api(tmp_path, max_fields=8, max_form_bytes=2048, max_field_bytes=1024) as api:
        response = await api.post(files=[("caption", (None, "x" * 1100)), ("file", ("a.png", PNG))])
        problem = await refused(api, response, 413, "form-too-large")
        assert problem["limit"] == 1024
