"""Names and keys: equal arguments give equal names, and no input leads out of its place."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mediaasset import keys, names

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SEGMENT = st.text("abc.-_/\\ \0é", max_size=12)


@given(st.text(), st.text(), st.text())
def test_keyed_names_are_labels_and_tell_their_parts_apart(namespace: str, user: str, key: str) -> None:
    name = names.keyed_asset_name(namespace, user, key)
    assert DNS_LABEL.fullmatch(name)
    assert name == names.keyed_asset_name(namespace, user, key)
    assert name != names.keyed_asset_name(namespace + "x", user, key)
    if user:
        assert name != names.keyed_asset_name(namespace + user[0], user[1:], key)


@given(st.text(), st.text(), st.integers(0, 10**6))
def test_job_names_depend_on_uid_inputs_and_attempt(uid: str, inputs: str, attempt: int) -> None:
    name = names.job_name(uid, inputs, attempt)
    assert DNS_LABEL.fullmatch(name)
    assert name != names.job_name(uid, inputs, attempt + 1)


def test_random_names_are_labels_and_differ() -> None:
    made = {names.random_asset_name() for _ in range(100)}
    assert len(made) == 100
    assert all(DNS_LABEL.fullmatch(name) for name in made)


@given(SEGMENT)
def test_a_public_path_has_no_way_out(path: str) -> None:
    if keys.is_public_path(path):
        assert all(part and not part.startswith(".") for part in path.split("/"))
        assert not set(path) & set("\\ \0é")


@given(st.lists(st.sampled_from(["uploads", "shop", "other", "..", ".", "", "a"]), max_size=6))
def test_a_source_lies_under_the_uploads_of_its_namespace(parts: list[str]) -> None:
    key = "/".join(parts)
    if keys.may_read_source(key, "shop"):
        assert parts[:2] == ["uploads", "shop"]
        assert not {"..", ".", ""} & set(parts)


def test_foreign_prefixes_open_what_they_name_and_no_more() -> None:
    assert keys.may_read_source("legacy/a.jpg", "shop", ["legacy/"])
    assert not keys.may_read_source("legacy2/a.jpg", "shop", ["legacy/"])
    assert not keys.may_read_source("anything/a.jpg", "shop", [""])


def test_prefixes_with_and_without_a_tenant() -> None:
    assert keys.asset_prefix(public=True, tenant="shop", public_path="ads/1", uid="u") == "media/shop/ads/1/u/"
    assert keys.asset_prefix(public=False, tenant="", public_path="ads/1", uid="u") == "private/ads/1/u/"


def test_a_move_changes_the_prefix_only() -> None:
    assert keys.move("media/a/b.jpg", source="media/a/", target="private/a/") == "private/a/b.jpg"


def test_attempts_are_read_from_keys_under_work() -> None:
    assert keys.attempt_of(keys.result("u", 3)) == 3
    assert keys.attempt_of(keys.failure("u", 12, "pod")) == 12
    assert keys.attempt_of("work/u/x/result.json") is None
    assert keys.attempt_of("media/u/3/result.json") is None
