"""What the adapters of the cluster share, without a cluster."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mediaasset.kube import merge_patch

LEAVES = st.one_of(st.integers(), st.text(max_size=2), st.lists(st.integers(), max_size=2))
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)


def applied(target: Any, patch: Any) -> Any:
    """Apply a patch as RFC 7386, section 2, writes it down."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@given(VALUES, VALUES)
def test_merge_patch_makes_the_old_value_the_new_one(old: Any, new: Any) -> None:
    assert applied(old, merge_patch(old, new)) == new
