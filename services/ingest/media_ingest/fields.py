"""The fields of an upload: the same for a form and, as query parameters, for a raw body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Json, ValidationError

from media_ingest.auth import Token
from media_ingest.errors import Problem, Slug, from_validation, invalid
from mediaasset.media import Kind
from mediaasset.spec import CollectionPolicy, MediaAssetSpec, Visibility
from mediaasset.task import Queue

#: The part of a form that is the file has one of these names.
FILE_FIELDS = frozenset({"file", "image", "avatar"})

#: What a file name is cut at; it is display only.
FILE_NAME_LENGTH = 1024

#: The fields of the API by the members of the spec that they become.
_NAMES = {
    "publicPath": "path",
    "stablePath": "stable_path",
    "profileName": "profile",
    "altText": "alt_text",
    "originalFileName": "file",
    "userID": "user",
}


@dataclass(frozen=True, slots=True)
class FileHead:
    """What the sender says about the file, which decides nothing but a mismatch. content_type is empty if absent."""

    name: str = ""
    content_type: str = ""


@dataclass(slots=True)
class Form:
    """What was read until now beside the bytes of the file."""

    fields: dict[str, str] = field(default_factory=dict)
    file: FileHead = field(default_factory=FileHead)


class Fields(BaseModel):
    """The text fields as values. Bounds are those of MediaAssetSpec, which is made from them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    is_public: bool = True
    alt_text: str | None = None
    caption: str | None = None
    order: int | None = None
    path: str | None = None
    stable_path: str | None = None
    collection: str | None = None
    keep_latest: bool = False
    queue: Literal["interactive", "batch"] = "interactive"
    profile: str | None = None
    metadata: Json[dict[str, str]] | None = None

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Self:
        """Read text; an empty field counts as absent, except is_public. Raises Problem invalid-field."""
        try:
            return cls.model_validate({name: text for name, text in fields.items() if text or name == "is_public"})
        except ValidationError as error:
            raise from_validation(error, _NAMES) from error

    def to_spec(self, token: Token, file: FileHead, *, source: Mapping[str, Any], kind: Kind | None) -> MediaAssetSpec:
        """Make the spec of the asset for this token's user; `source` is the member of the spec.

        Raises Problem: invalid-field where a bound is broken, forbidden for a path that the token may not write.
        """
        path = self.path or f"users/{token.user}"
        try:
            spec = MediaAssetSpec.model_validate(
                {
                    "source": source,
                    "type": kind,
                    "profileName": self.profile,
                    "publicPath": path,
                    "stablePath": self.stable_path,
                    "collection": self.collection,
                    "collectionPolicy": self._collection_policy(),
                    "queue": Queue(self.queue.capitalize()),
                    "order": self.order,
                    "visibility": Visibility.PUBLIC if self.is_public else Visibility.PRIVATE,
                    "userID": token.user,
                    "originalFileName": file.name.replace("\0", "")[:FILE_NAME_LENGTH] or None,
                    "altText": self.alt_text,
                    "caption": self.caption,
                    "metadata": self.metadata or {},
                }
            )
        except ValidationError as error:
            raise from_validation(error, _NAMES) from error
        if not token.may_write(path):
            raise Problem(
                Slug.FORBIDDEN, f"The token may not write to the path {path}: use one that may, or another path."
            )
        if self.stable_path and not token.may_write(folder := self.stable_path.rpartition("/")[0]):
            raise Problem(Slug.FORBIDDEN, f"The token may not write to {folder or 'the top'}: use another stable_path.")
        return spec

    def _collection_policy(self) -> CollectionPolicy:
        if self.keep_latest and self.collection is None:
            raise invalid({"keep_latest": "needs the field collection: what is replaced must be named"})
        return CollectionPolicy.KEEP_LATEST if self.keep_latest else CollectionPolicy.KEEP_ALL


def text_of(raw: bytes) -> str:
    """Decode what a client wrote into a header: UTF-8, or else Latin-1, which cannot fail."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
