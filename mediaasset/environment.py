"""Settings from the environment, with errors that name the variable and never its value, which may be a secret."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from mediaasset.invalid import problems

S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S]) -> S:
    """Read settings. Raises ValueError with one line for people."""
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        wrong = problems(error, lambda parts: prefix + "_".join(parts).upper())
        raise ValueError("; ".join(wrong)) from None
