"""The WhatsApp accounts of a cluster: Secrets in the work namespace."""

import base64
from collections.abc import Sequence

from media_ingest.whatsapp.accounts import Accounts, Texts
from mediaasset.assets import AssetsError
from mediaasset.kube import Api, Json, KubeError, resource, translated
from mediaasset.names import WHATSAPP_ACCOUNT_LABEL, whatsapp_secret


def named(api: Api, namespace: str, names: Sequence[str]) -> Accounts:
    """Return the accounts of these names, each read on its own, so that no right to any other Secret is needed."""

    async def read() -> Texts:
        found = {}
        for name in names:
            with translated(AssetsError):
                try:
                    found[name] = _texts(await api.call("GET", _path(namespace, whatsapp_secret(name))))
                except KubeError as error:
                    if error.reason != "NotFound":
                        raise
        return found

    return Accounts(read)


def labelled(api: Api, namespace: str) -> Accounts:
    """Return the accounts of all Secrets with the label, which takes the right to list the Secrets of the namespace."""

    async def read() -> Texts:
        found = {}
        with translated(AssetsError):
            async for page in api.pages(_path(namespace), {"labelSelector": WHATSAPP_ACCOUNT_LABEL}):
                for secret in page["items"]:
                    name = secret["metadata"]["labels"][WHATSAPP_ACCOUNT_LABEL]
                    # The transcoder gets it mounted by its name.
                    if secret["metadata"]["name"] == whatsapp_secret(name):
                        found[name] = _texts(secret)
        return found

    return Accounts(read)


def _path(namespace: str, name: str = "") -> str:
    return resource("v1", "secrets", namespace=namespace, name=name)


def _texts(secret: Json) -> dict[str, str]:
    data: dict[str, str] = secret.get("data") or {}
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
