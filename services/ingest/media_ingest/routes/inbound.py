"""POST /webhooks/in/{source}/."""

from http import HTTPStatus

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import delivered, inbound
from media_ingest.delivered import Outcome
from media_ingest.errors import Problem, Slug
from media_ingest.routes.upload import location
from media_ingest.service import service_of
from mediaasset.assets import NotFoundError


class Inbound(HTTPEndpoint):
    """Where senders announce media by signed webhooks."""

    async def post(self, request: Request) -> Response:
        """Make the asset of a delivery; 200 with the same asset for one that was delivered before."""
        service = service_of(request)
        sources: inbound.Sources = request.app.state.sources
        source = sources.find(request.path_params["source"])
        raw = await delivered.read_payload(request, inbound.MAX_BYTES)
        delivery = source.verify(raw, request.headers)
        body = delivered.parse(raw)
        if not isinstance(body, dict):
            raise Problem(Slug.MALFORMED_REQUEST, "The payload must be a JSON object.")
        wanted = source.asset_of(delivery, body)
        await service.profile(wanted.spec.profile_name)
        outcome, asset = await delivered.create_once(service, wanted)
        if outcome is Outcome.KNOWN:
            try:
                asset = await service.assets.get(*asset.key)
            except NotFoundError:
                outcome = Outcome.DELETED
        if outcome is Outcome.DELETED or asset.deleted_at is not None:
            # An error would make the sender try again.
            return Response(status_code=HTTPStatus.NO_CONTENT)
        status = HTTPStatus.CREATED if outcome is Outcome.CREATED else HTTPStatus.OK
        headers = {"Location": location(request, asset.metadata.name)}
        return JSONResponse(await service.answer(asset), status, headers)
