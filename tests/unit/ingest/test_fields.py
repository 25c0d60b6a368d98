"""Which places the fields of an upload may name."""

import pytest

from media_ingest.auth import Scope, Token
from media_ingest.errors import Problem
from media_ingest.fields import Fields, FileHead
from mediaasset.media import Kind

SOURCE = {"url": "https://example.org/a.jpg"}


def token(*paths: str) -> Token:
    scopes = frozenset({Scope.WRITE})
    return Token(sha256="0" * 64, user="7", username="Ada", namespace="shop", scopes=scopes, paths=paths)


@pytest.mark.parametrize(
    ("stable_path", "allowed"),
    [
        ("users/7/avatar.jpg", True),
        ("users/7/deep/avatar.jpg", True),
        ("users/8/avatar.jpg", False),
        ("product_images/a.jpg", False),
        ("avatar.jpg", False),
    ],
)
def test_the_folder_of_a_stable_path_is_one_that_the_token_may_write_to(stable_path: str, allowed: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    fields = Fields.read({"stable_path": stable_path})
    who = token("users/{user}", "users/{user}/*")
    if allowed:
        assert fields.to_spec(who, FileHead(), source=SOURCE, kind=Kind.IMAGE).stable_path == stable_path
    else:
        with pytest.raises(Problem, match="may not write"):
            fields.to_spec(who, FileHead(), source=SOURCE, kind=Kind.IMAGE)
