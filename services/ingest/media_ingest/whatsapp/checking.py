"""Whether a WhatsApp account is set up: each thing that must be so, asked where it is known."""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx2

from media_ingest.whatsapp.accounts import Account
from media_ingest.whatsapp.graph import Graph, GraphError

_TIMEOUT = httpx2.Timeout(15)


@dataclass(frozen=True, slots=True)
class Check:
    """One line: ok is None where it could not be found out. detail says what was found, cure what to do."""

    name: str
    ok: bool | None
    detail: str
    cure: str = ""


async def check(graph: Graph, account: Account, webhook_url: str | None) -> list[Check]:
    """Look at an account from Meta's side; webhook_url is where Meta reaches us, None if nobody has said so."""
    return [
        await _asked(
            "token",
            lambda: _token(graph, account),
            "Make a token of a system user with whatsapp_business_messaging and whatsapp_business_management, and put"
            " it into the key token.",
        ),
        await _asked(
            "app secret",
            lambda: _app_secret(graph, account),
            "Copy the App Secret of the token's app (Meta for Developers, App settings, Basic) into the key appSecret.",
        ),
        await _asked(
            "phone number",
            lambda: _phone_number(graph, account),
            "Copy the Phone number ID (WhatsApp Manager, API setup) into phoneNumberID, and assign the WhatsApp account"
            " to the system user.",
        ),
        await _subscribed(graph, account),
        await _webhook(account, webhook_url),
    ]


async def _asked(name: str, ask: Callable[[], Awaitable[str]], cure: str) -> Check:
    try:
        return Check(name, ok=True, detail=await ask())
    except GraphError as error:
        if not error.status or error.status >= 500:  # noqa: PLR2004 - Graph's own trouble
            return Check(name, None, str(error), "Try again later, or correct whatsapp.graphURL.")
        return Check(name, ok=False, detail=str(error), cure=cure)


async def _token(graph: Graph, account: Account) -> str:
    found = await graph.get(account, "me", fields="id,name")
    return f"valid, of {found.get('name') or found.get('id')}"


async def _app_secret(graph: Graph, account: Account) -> str:
    token, secret = (value.get_secret_value().encode() for value in (account.token, account.app_secret))
    # Graph compares it, with any request: https://developers.facebook.com/docs/graph-api/guides/secure-requests
    proof = hmac.new(secret, token, hashlib.sha256).hexdigest()
    await graph.get(account, "me", fields="id", appsecret_proof=proof)
    return "belongs to the app of the token"


async def _phone_number(graph: Graph, account: Account) -> str:
    found = await graph.get(account, account.phone_number_id, fields="display_phone_number,verified_name")
    return f"{found.get('display_phone_number')} ({found.get('verified_name')})"


async def _subscribed(graph: Graph, account: Account) -> Check:
    name = "subscription"
    if account.business_account_id is None:
        cure = "Put the WhatsApp Business Account ID into the key businessAccountID to have it checked."
        return Check(name, None, "unknown, for the account does not say its business account", cure)
    business = account.business_account_id
    cure = f"Subscribe the app: POST /{business}/subscribed_apps with the token."
    found = await _asked(name, lambda: _apps(graph, account, business), cure)
    return found if found.detail else Check(name, ok=False, detail="no app gets its webhooks", cure=cure)


async def _apps(graph: Graph, account: Account, business: str) -> str:
    data = (await graph.get(account, f"{business}/subscribed_apps")).get("data")
    apps = [item.get("whatsapp_business_api_data") for item in data if isinstance(item, dict)] if data else []
    return ", ".join(str(app.get("name") or app.get("id")) for app in apps if isinstance(app, dict))


async def _webhook(account: Account, url: str | None) -> Check:
    """Do what Meta does when the webhook is entered there."""
    name = "webhook"
    if url is None:
        cure = "Set ingest.publicURL (standalone: --public-url) to the https:// address that Meta has."
        return Check(name, None, "unknown, for our own public address is not set", cure)
    challenge = secrets.token_hex(16)
    query = {
        "hub.mode": "subscribe",
        "hub.challenge": challenge,
        "hub.verify_token": account.verify_token.get_secret_value(),
    }
    try:
        async with httpx2.AsyncClient(timeout=_TIMEOUT) as client:
            answer = await client.get(url, params=query)
    except httpx2.HTTPError as error:
        cure = "Check the name, the certificate and the route of the public address."
        return Check(name, ok=False, detail=f"{url} cannot be reached: {type(error).__name__}", cure=cure)
    if answer.is_success and answer.text == challenge:
        return Check(name, ok=True, detail=f"{url} answers the handshake")
    cure = "Lead this address to ingest; no proxy may answer, redirect or ask for a login."
    return Check(name, ok=False, detail=f"{url} answered {answer.status_code}, not the challenge", cure=cure)
