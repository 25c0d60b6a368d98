"""What pydantic finds wrong, for people: where it is and what, never what was given, which may be a secret."""

from collections.abc import Callable, Iterable

from pydantic import ValidationError


def problems(error: ValidationError, path: Callable[[Iterable[str]], str] = ".".join) -> list[str]:
    """Return one line for each problem, such as "spec.type: Field required"; path makes one of the parts of a place."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{path(map(str, each['loc']))}: {each['msg']}" for each in found]
