import json
from pathlib import Path

import pytest

from media_ingest.auth import Scope, Token, Tokens, digest

ENTRY = {"sha256": digest("secret"), "user": "42", "username": "Alice", "namespace": "shop", "scopes": ["read"]}


def token(**changes: object) -> Token:
    return Token.model_validate({**ENTRY, **changes})


def load(tmp_path: Path, text: str) -> Tokens:
    path = tmp_path / "tokens.yaml"
    path.write_text(text)
    return Tokens.load(path)


def find(tokens: Tokens, presented: str) -> Token:
    found = tokens.find(presented)
    assert found
    return found


def test_only_the_token_itself_is_found(tmp_path: Path) -> None:
    tokens = load(tmp_path, json.dumps([ENTRY, {**ENTRY, "sha256": digest("other"), "user": "43"}]))
    assert find(tokens, "secret").user == "42"
    assert find(tokens, "other").user == "43"
    assert tokens.find(digest("secret")) is None
    assert tokens.find("") is None
    assert tokens.namespaces == {"shop"}


def test_yaml(tmp_path: Path) -> None:
    tokens = load(
        tmp_path,
        f"- {{sha256: {digest('secret')}, user: 42, username: Alice, namespace: shop, scopes: [read, write]}}\n",
    )
    assert find(tokens, "secret").user == "42"
    assert find(tokens, "secret").scopes == {Scope.READ, Scope.WRITE}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": "secret"}, "sha256"),
        ({"user": "a b"}, "user"),
        ({"user": "../x"}, "user"),
        ({"namespace": "No"}, "namespace"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["fly"]}, "scopes"),
        ({"extra": 1}, "extra"),
        ({"username": None}, "username"),
    ],
)
def test_an_error_names_the_entry_and_shows_no_value(tmp_path: Path, change: dict[str, object], says: str) -> None:
    bad = {**ENTRY, "sha256": digest("2"), "name": "robot", **change}
    with pytest.raises(ValueError, match=r"tokens.yaml: entry 2 \(robot\): ") as raised:
        load(tmp_path, json.dumps([ENTRY, bad]))
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tokens: []", "a list"),
        ("", "a list"),
        ("[secret", "line 1"),
        ("- secret", "entry 1"),
        (json.dumps([ENTRY, ENTRY]), "same sha256"),
    ],
)
def test_a_file_that_is_no_list_of_tokens(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        load(tmp_path, text)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("patterns", "path", "allowed"),
    [
        (None, "users/42", True),
        (None, "users/42/a", True),
        (None, "users/42/a/b", False),
        (None, "users/43", False),
        (None, "users/421", False),
        (["ads/*"], "ads/1", True),
        (["ads/*"], "ads", False),
        (["ads/*"], "ads/1/2", False),
        (["ads/**"], "ads", True),
        (["ads/**"], "ads/1/2/3", True),
        (["ads/**/end"], "ads/1/2/end", True),
        (["ads/**/end"], "ads/1/2", False),
        (["**"], "any/thing", True),
        (["ads/ad_*"], "ads/ad_12", True),
        (["ads/ad_*"], "ads/ad_12/x", False),
        (["ADS/*"], "ads/1", False),
        ([], "users/42", False),
    ],
)
def test_paths(patterns: list[str] | None, path: str, *, allowed: bool) -> None:
    changes = {} if patterns is None else {"paths": patterns}
    assert token(**changes).may_write(path) is allowed


def test_admin_is_all_of_it() -> None:
    admin = token(scopes=["admin"], paths=[])
    assert admin.may_write("any/thing")
    assert admin.may_see("somebody")
    assert admin.may_see(None)
    assert all(admin.has(scope) for scope in Scope)


def test_others_have_what_they_were_given() -> None:
    reader = token()
    assert [scope for scope in Scope if reader.has(scope)] == [Scope.READ]
    assert reader.may_see("42")
    assert not reader.may_see("43")
    assert not reader.may_see(None)


def test_a_service_of_one_token() -> None:
    found = find(Tokens.of("one"), "one")
    assert found.namespace == "default"
    assert found.has(Scope.DELETE)
    assert found.may_write(f"users/{found.user}")
