"""The webhook of WhatsApp, and /api/whatsapp/{accountName}/…."""

from dataclasses import asdict, dataclass

from pydantic import ValidationError
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import delivered, intake
from media_ingest.auth import Scope, authorize
from media_ingest.errors import Problem, Slug, from_validation
from media_ingest.service import service_of
from media_ingest.whatsapp import checking, once, sending, webhook
from media_ingest.whatsapp.accounts import Account, Accounts
from media_ingest.whatsapp.graph import Graph

PATH = "/webhooks/whatsapp"
_MAX_ORDER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class WhatsApp:
    """What the endpoints here need beside the service."""

    accounts: Accounts
    graph: Graph


class Webhook(HTTPEndpoint):
    """Where Meta delivers messages."""

    async def get(self, request: Request) -> Response:
        """Answer the handshake with its challenge; it carries no signature."""
        query = request.query_params
        accounts = await _of(request).accounts.all()
        if query.get("hub.mode") != "subscribe" or not webhook.knows(accounts, query.get("hub.verify_token", "")):
            raise Problem(Slug.FORBIDDEN, "The verify token is that of no account: correct it, here or at Meta.")
        return Response(query.get("hub.challenge", ""), headers={"X-Content-Type-Options": "nosniff"}, media_type=_TEXT)

    async def post(self, request: Request) -> Response:
        """Make an asset of each message with media; 200 once all of them exist."""
        body = await delivered.read_payload(request, webhook.MAX_BYTES)
        signature = request.headers.get("X-Hub-Signature-256")
        accounts = await webhook.all_signers(_of(request).accounts, body, signature)
        outcomes = await webhook.deliver(service_of(request), accounts, delivered.parse(body))
        return JSONResponse({"messages": dict(outcomes)})


class Send(HTTPEndpoint):
    """Messages that go out."""

    async def post(self, request: Request) -> Response:
        """Send an asset; with an Idempotency-Key once, however often it is asked for."""
        service, whatsapp = service_of(request), _of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        key = intake.idempotency_key(request.headers.get("Idempotency-Key"))
        account = await sending.account_of(whatsapp.accounts, token, _name(request))
        payload = delivered.parse(await delivered.read_payload(request, _MAX_ORDER_BYTES))
        try:
            order = sending.Order.model_validate(payload)
        except ValidationError as error:
            raise from_validation(error, {}) from error
        sent = await once.send(service, whatsapp.graph, account, token, order, key=key)
        return JSONResponse(sent.answer, headers={"Idempotency-Replayed": "true"} if sent.replayed else None)


class Check(HTTPEndpoint):
    """Whether an account is set up."""

    async def get(self, request: Request) -> Response:
        """Ask Meta, and ourselves as Meta would."""
        service, whatsapp = service_of(request), _of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        account: Account = await sending.account_of(whatsapp.accounts, token, _name(request))
        base = service.settings.public_url
        checks = await checking.check(whatsapp.graph, account, f"{base.rstrip('/')}{PATH}/" if base else None)
        body = {"account": account.name, "ok": all(each.ok for each in checks), "checks": [asdict(c) for c in checks]}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})


_TEXT = "text/plain"


def _of(request: Request) -> WhatsApp:
    whatsapp: WhatsApp = request.app.state.whatsapp
    return whatsapp


def _name(request: Request) -> str:
    name: str = request.path_params["account"]
    return name
