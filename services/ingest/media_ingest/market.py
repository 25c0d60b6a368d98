"""What marketplaces ask for: the images of an ad, and the avatar of a user. Both are collections of fixed paths."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from media_ingest import intake
from media_ingest.auth import Scope, Token
from media_ingest.body import Body
from media_ingest.collection import MAX_ITEMS, item
from media_ingest.errors import Problem, Slug
from media_ingest.fields import Form
from media_ingest.service import Service
from mediaasset import keys, media
from mediaasset.catalogue import Query, state_of
from mediaasset.media import Kind


def ad_path(ad: str) -> str:
    """Return the path of an ad's images; raises Problem not-found for an id that cannot be one."""
    return _checked(f"ads/{ad}")


def avatar_path(user: str) -> str:
    """Return the path of a user's avatar; raises Problem not-found for an id that cannot be one."""
    return _checked(f"avatars/user_{user}")


def ad_image(body: Body, ad: str) -> "Image":
    """Return an upload as one of an ad's images."""
    path = ad_path(ad)
    return Image(body, {"path": path, "collection": path, "keep_latest": "false"})


def avatar(body: Body, user: str) -> "Image":
    """Return an upload as a user's avatar: it replaces the one that there is once it is ready."""
    path = avatar_path(user)
    return Image(body, {"path": path, "collection": path, "keep_latest": "true"})


def acting_for(token: Token, user: str) -> Token:
    """Return the token to touch a user with: that user's own, or an admin's as if it were.

    Raises Problem not-found for a user whom the token may not see.
    """
    if user == token.user:
        return token
    if not token.has(Scope.ADMIN):
        raise Problem(Slug.NOT_FOUND, "There is no user of this id: check it.")
    # The rule for the users of tokens.
    _checked(f"users/{user}")
    return token.model_copy(update={"user": user})


async def user_of(service: Service, token: Token) -> dict[str, Any]:
    """Return the JSON answer for the user of a token.

    Shown is the newest avatar that can be loaded, which while a newer one is made is the one before it.
    """
    query = Query(user_id=token.user, collection=avatar_path(token.user))
    newest = (await service.assets.list(token.namespace, query, limit=MAX_ITEMS)).items
    shown: dict[str, Any] = {"id": None, "image_url": None}
    for asset in newest:
        found = await item(service, asset)
        if found["image_url"]:
            shown = found
            break
    return {
        "id": token.user,
        "avatar": shown["image_url"],
        "avatar_url": shown["image_url"],
        "avatar_id": shown["id"],
        "latest": {"id": newest[0].metadata.name, "status": state_of(newest[0])} if newest else None,
    }


class Image:
    """An upload that must be an image, and whose place the path of the request decides."""

    def __init__(self, body: Body, place: Mapping[str, str]) -> None:
        """Take the upload, and the fields that nobody can send."""
        self._body = body
        self._place = place
        self.length = body.length

    @property
    def form(self) -> Form:
        """Return what was read until now, with the place."""
        return Form({**self._body.form.fields, **self._place}, self._body.form.file)

    async def open(self) -> None:
        """Read up to the first byte of the file."""
        await self._body.open()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the file. Raises Problem unsupported-type when they are no image's."""
        head, is_known = b"", False
        async for chunk in self._body.chunks():
            if is_known:
                yield chunk
                continue
            head += chunk
            if len(head) >= media.SNIFF_BYTES:
                self._check(head)
                is_known = True
                yield head
        if head and not is_known:
            self._check(head)
            yield head

    async def finish(self) -> None:
        """Read what follows the file."""
        await self._body.finish()

    def _check(self, head: bytes) -> None:
        file = self._body.form.file
        if intake.recognise(head, file) is Kind.IMAGE:
            return
        found = media.sniff(head)
        raise Problem(
            Slug.UNSUPPORTED_TYPE,
            "Only an image is taken here: send JPEG, PNG, GIF, WebP or BMP.",
            declared=file.content_type or None,
            detected=found.mime if found else None,
        )


def _checked(path: str) -> str:
    if not keys.is_public_path(path):
        raise Problem(Slug.NOT_FOUND, "There is nothing of this id: check it.")
    return path
