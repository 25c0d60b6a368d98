"""Which assets a list is asked for: the words of the API, made into a Query."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from media_ingest.auth import Scope, Token
from media_ingest.errors import from_validation
from media_ingest.jsonbody import FileType
from mediaasset.catalogue import Ordering, Query, State


def _moment(value: object) -> object:
    """Give back the plus sign that a URL turns into a space where nobody escaped it."""
    return value.replace(" ", "+") if isinstance(value, str) and "T" in value else value


Text = Annotated[str, Field(max_length=256)]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


class Filter(BaseModel):
    """What assets are chosen by; the same for a list and for an action on many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: FileType | None = None
    status: State | None = None
    collection: Text | None = None
    is_public: bool | None = None
    message_id: Text | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    search: Text | None = None

    def query(self, token: Token, ordering: Ordering = Ordering.NEWEST) -> Query:
        """Return what of it the token may see."""
        return Query(
            user_id=visible_user(token),
            type=self.type,
            state=self.status,
            collection=self.collection,
            is_public=self.is_public,
            message_id=self.message_id,
            created_after=self.created_after,
            created_before=self.created_before,
            search=self.search,
            ordering=ordering,
        )


class Listing(Filter):
    """The parameters of a list."""

    # Others are none of ours: caches and proxies add some.
    model_config = ConfigDict(extra="ignore")

    ordering: Ordering = Ordering.NEWEST
    # The upper bound keeps the offset within what a database counts to.
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, Any]) -> Self:
        """Read query parameters; an empty one, as a form sends it, counts as absent. Raises Problem invalid-field."""
        paging = ("page", "page_size")
        try:
            return cls.model_validate({name: text for name, text in parameters.items() if text or name in paging})
        except ValidationError as error:
            raise from_validation(error, {}) from error


def visible_user(token: Token) -> str | None:
    """Return the user whose assets a token may see, None for everybody's."""
    return None if token.has(Scope.ADMIN) else token.user
