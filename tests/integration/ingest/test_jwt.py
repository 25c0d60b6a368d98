"""JWTs of an identity provider that really answers: its keys, what it may say, and what it may not."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from media_ingest.jwts import JwtSettings, Verifier, claim
from uploading import Api, running_api, serving

ISSUER, AUDIENCE = "https://login.example", "media"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@dataclass
class Issuer:
    """An identity provider: what it publishes, and how often it was asked."""

    keys: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    is_gone: bool = False
    url: str = ""

    def make(self, kid: str, algorithm: str = "RS256") -> None:
        """Make a key and publish it instead of the ones before."""
        key: Any
        match algorithm:
            case "RS256":
                key = rsa.generate_private_key(65537, 2048)
            case "ES256":
                key = ec.generate_private_key(ec.SECP256R1())
            case _:
                key = ed25519.Ed25519PrivateKey.generate()
        self.keys[kid] = key
        public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        self.published = [{**public, "kid": kid, "use": "sig"}]

    def sign(self, kid: str | None = "one", algorithm: str = "RS256", **changes: Any) -> str:
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": time.time() + 300,
            "sub": "42",
            "preferred_username": "Alice",
            "namespace": "shop",
            "scope": "openid read write delete",
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": kid} if kid else {}
        return jwt.encode(claims, self.keys[kid or "one"], algorithm, headers=headers)

    async def answer(self, _: Request) -> Response:
        self.asked += 1
        if self.is_gone:
            return Response(status_code=500)
        return JSONResponse({"keys": self.published})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    made.make("one")
    async with serving(Starlette(routes=[Route("/jwks", made.answer)])) as port:
        made.url = f"http://127.0.0.1:{port}/jwks"
        yield made


def settings(provider: Issuer, **changes: Any) -> JwtSettings:
    return JwtSettings(**{"jwks_url": provider.url, "issuer": ISSUER, "audience": AUDIENCE, **changes})


@asynccontextmanager
async def trusting(tmp_path: Path, issuer: Issuer, **changes: Any) -> AsyncIterator[Api]:
    verifier = Verifier(settings(issuer, **changes), ("shop",))
    async with running_api(tmp_path, parts={"verifier": verifier}, requests_per_token="1000/hour") as api:
        yield api


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_jwt_acts_for_its_user(tmp_path: Path, issuer: Issuer, algorithm: str) -> None:
    issuer.make("one", algorithm)
    async with trusting(tmp_path, issuer) as api:
        made = await api.post(user=issuer.sign(algorithm=algorithm), content=PNG)
        assert made.status_code == 201
        assert (made.json()["user"], made.json()["user_username"]) == ("42", "Alice")
        # The same user by a token of the file, and somebody else.
        assert (await api.get(made.headers["Location"])).status_code == 200
        other = issuer.sign(algorithm=algorithm, sub="43")
        assert (await api.get(made.headers["Location"], user=other)).status_code == 404
        # A renewed JWT has the budget of the one before.
        left = [
            (await api.get("/api/media/", user=issuer.sign(algorithm=algorithm, jti=n))).headers["RateLimit"]
            for n in ("a", "b")
        ]
        assert left[0] != left[1]
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": time.time() - 100}, "expired"),
        ({"exp": None}, "lacks one of the claims"),
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "lacks one of the claims"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"nbf": time.time() + 1000}, "not valid yet"),
        ({"sub": "../../etc"}, "user"),
        ({"sub": "x" * 64}, "user"),
        ({"sub": None}, "user"),
        ({"namespace": "Not A Label"}, "namespace"),
        ({"namespace": None}, "namespace"),
        ({"namespace": {"a": "b"}}, "namespace"),
        ({"namespace": "museum"}, "not served"),
        ({"scope": "openid email"}, "scopes"),
        ({"scope": None}, "scopes"),
        ({"scope": 7}, "scopes"),
        ({"preferred_username": "x" * 300}, "username"),
    ],
)
async def test_claims_out_of_bounds(tmp_path: Path, issuer: Issuer, changes: dict[str, Any], says: str) -> None:
    async with trusting(tmp_path, issuer) as api:
        answer = await api.get("/api/media/", user=issuer.sign(**changes))
    assert answer.status_code == 401
    assert says in answer.json()["detail"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert "etc" not in answer.text
    assert "evil" not in answer.text


async def test_what_was_not_signed_by_the_issuer(tmp_path: Path, issuer: Issuer) -> None:
    stranger = Issuer()
    stranger.make("one")
    good = issuer.sign()
    head, body, signature = good.split(".")
    public = issuer.keys["one"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    attempts = {
        "signature": [
            stranger.sign(),
            f"{head}.{body}.{signature[:-8]}AAAAAAAA",
            f"{head}.{body}.",
            f"{head}..{signature}",
            f"{head}.{jwt.utils.base64url_encode(b'{}').decode()}.{signature}",
        ],
        "algorithm": [
            jwt.encode({"sub": "42"}, "", "none"),
            # The public key as a shared secret.
            _hs256({"alg": "HS256", "kid": "one"}, {"sub": "42", "aud": AUDIENCE, "iss": ISSUER}, pem),
            _hs256({"alg": ["RS256"], "kid": "one"}, {"sub": "42"}, pem),
        ],
        "publish": [_with_kid(stranger, "two"), _with_kid(stranger, "x" * 500)],
        "read": ["..", "a.b.c"],
        "long": [f"{head}.{'A' * 20000}.{signature}"],
    }
    async with trusting(tmp_path, issuer) as api:
        assert (await api.get("/api/media/", user=good)).status_code == 200
        for says, tokens in attempts.items():
            for token in tokens:
                answer = await api.get("/api/media/", user=token)
                assert answer.status_code == 401, token
                assert says in answer.json()["detail"], (says, token, answer.text)
                assert token not in answer.text
    # Unknown keys were no reason to ask at each.
    assert issuer.asked == 1


async def test_static_tokens_stay(tmp_path: Path, issuer: Issuer) -> None:
    async with trusting(tmp_path, issuer) as api:
        assert (await api.get("/api/media/")).status_code == 200
        assert (await api.get("/api/media/", user="nobody")).status_code == 401
    assert issuer.asked == 0


async def test_changed_keys_are_found_and_old_ones_go(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_ingest.jwts._PAUSE_SECONDS", 0)
    async with trusting(tmp_path, issuer) as api:
        old = issuer.sign("one")
        assert (await api.get("/api/media/", user=old)).status_code == 200
        issuer.make("two")
        assert (await api.get("/api/media/", user=issuer.sign("two"))).status_code == 200
        assert (await api.get("/api/media/", user=old)).status_code == 401


async def test_an_issuer_that_is_gone(tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media_ingest.jwts._PAUSE_SECONDS", 0)
    issuer.is_gone = True
    async with trusting(tmp_path, issuer) as api:
        answer = await api.get("/api/media/", user=issuer.sign())
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:media-operator:problem:issuer-unavailable"
        assert "Retry-After" in answer.headers
        issuer.is_gone = False
        assert (await api.get("/api/media/", user=issuer.sign())).status_code == 200
        # The keys that are known stay good while it is gone, however old they are within a day.
        issuer.is_gone = True
        monkeypatch.setattr("media_ingest.jwts._FRESH_SECONDS", -1)
        assert (await api.get("/api/media/", user=issuer.sign())).status_code == 200
        monkeypatch.setattr("media_ingest.jwts._STALE_SECONDS", -1)
        assert (await api.get("/api/media/", user=issuer.sign())).status_code == 503


async def test_keys_of_a_file(tmp_path: Path, issuer: Issuer) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": issuer.published}))
    async with trusting(tmp_path, issuer, jwks_url=None, jwks_file=path) as api:
        assert (await api.get("/api/media/", user=issuer.sign())).status_code == 200
        assert (await api.get("/api/media/", user=issuer.sign(kid=None))).status_code == 200
    assert issuer.asked == 0


async def test_claims_as_the_provider_names_them(tmp_path: Path, issuer: Issuer) -> None:
    names = {
        "user_claim": "https://example.org/uid",
        "username_claim": "profile.name",
        "namespace": "shop",
        "scopes_claim": "realm_access.roles",
        "scope_prefix": "media:",
        "paths_claim": "media_paths",
    }
    async with trusting(tmp_path, issuer, **names) as api:
        claims: dict[str, Any] = {
            "https://example.org/uid": 7,
            "profile": {"name": "Eve"},
            "namespace": None,
            "realm_access": {"roles": ["offline", "admin", "media:write", "media:read"]},
            "media_paths": ["ads/*"],
        }
        token = issuer.sign(**claims)
        made = await api.post(user=token, content=PNG, params={"path": "ads/5"})
        assert made.status_code == 201
        assert (made.json()["user"], made.json()["user_username"]) == ("7", "Eve")
        assert (await api.post(user=token, content=PNG)).status_code == 403
        # `admin` without the prefix was a role of something else.
        assert (await api.delete(made.headers["Location"], user=token)).status_code == 403


async def test_no_token_is_logged(tmp_path: Path, issuer: Issuer) -> None:
    tokens = [issuer.sign(), issuer.sign(exp=1), _with_kid(issuer, "two")]
    with structlog.testing.capture_logs() as lines:
        async with trusting(tmp_path, issuer) as api:
            for token in tokens:
                await api.get("/api/media/", user=token)
    assert len(lines) >= 3
    for token in tokens:
        assert not any(part in str(lines) for part in token.split("."))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": None},
        {"audience": None},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"jwks_file": "/x"},
        {"leeway_seconds": 86400},
    ],
)
def test_settings_that_would_be_unsafe(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        settings(Issuer(url="https://login.example/jwks"), **changes)


@pytest.mark.parametrize(
    ("path", "found"), [("a.b", 1), ("a", {"b": 1}), ("c.d", 2), ("a.b.c", None), ("x", None), ("", None)]
)
def test_paths_of_claims(path: str, found: object) -> None:
    claims: Mapping[str, Any] = {"a": {"b": 1}, "c.d": 2}
    assert claim(claims, path) == found


def _with_kid(issuer: Issuer, kid: str) -> str:
    return jwt.encode({"sub": "42"}, next(iter(issuer.keys.values())), "RS256", headers={"kid": kid})


def _hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """Sign as no library does: with a public key as a secret."""
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims)]
    signed = b".".join(parts)
    algorithm = jwt.get_algorithm_by_name("HS256")
    return (signed + b"." + jwt.utils.base64url_encode(algorithm.sign(signed, secret))).decode()
