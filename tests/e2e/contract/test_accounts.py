"""The WhatsApp accounts of a cluster, read from the Secrets of a real API server."""

import pytest
import structlog

from media_ingest.whatsapp.accounts import Account, Accounts
from media_ingest.whatsapp.secrets import labelled, named
from mediaasset.assets import AssetsError
from mediaasset.kube import Api, Json, resource
from mediaasset.names import WHATSAPP_ACCOUNT_LABEL
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, Source, WhatsAppSource
from messages import APP_SECRET, NUMBER, VERIFY_TOKEN


async def secret(api: Api, account: str, *, name: str = "", label: bool = True, **texts: str) -> None:
    """Make a Secret as a person does; what is there is replaced."""
    name = name or f"whatsapp-{account}"
    said = {"token": "EAAtoken\n", "namespace": "shop", "appSecret": APP_SECRET, "verifyToken": VERIFY_TOKEN, **texts}
    metadata: Json = {"name": name, "labels": {WHATSAPP_ACCOUNT_LABEL: account} if label else {}}
    path = resource("v1", "secrets", namespace="default")
    await remove(api, name)
    await api.call("POST", path, {"metadata": metadata, "stringData": said})


async def remove(api: Api, name: str) -> None:
    secrets = resource("v1", "secrets", namespace="default")
    page = await api.call("GET", secrets, query={"fieldSelector": f"metadata.name={name}"})
    if page["items"]:
        await api.call("DELETE", resource("v1", "secrets", namespace="default", name=name))


async def read(accounts: Accounts) -> list[Account]:
    return list(await accounts.all())


async def test_accounts_by_their_names_and_by_their_label(api: Api) -> None:
    await secret(api, "support", phoneNumberID=NUMBER)
    await secret(api, "sales", phoneNumberID="4711", label=False)
    # A tenant's account that pretends to be another's, and one that lacks its number.
    await secret(api, "fake", phoneNumberID="4712", name="whatsapp-other")
    await secret(api, "empty")
    with structlog.testing.capture_logs() as lines:
        found = await read(labelled(api, "default"))
        assert [(each.name, each.namespace, each.phone_number_id) for each in found] == [("support", "shop", NUMBER)]
        assert found[0].token.get_secret_value() == "EAAtoken"
        found = await read(named(api, "default", ["support", "sales", "empty", "missing"]))
        assert sorted(each.name for each in found) == ["sales", "support"]
    assert {line["account"] for line in lines} == {"empty"}
    assert "EAAtoken" not in str(lines)


async def test_accounts_are_read_again_after_seconds(api: Api) -> None:
    await secret(api, "support", phoneNumberID=NUMBER)
    accounts = named(api, "default", ["support"])
    assert (await read(accounts))[0].phone_number_id == NUMBER
    await secret(api, "support", phoneNumberID="4711")
    assert (await read(accounts))[0].phone_number_id == NUMBER
    accounts._until = 0.0
    assert (await read(accounts))[0].phone_number_id == "4711"


async def test_secrets_that_may_not_be_read(api: Api) -> None:
    # A path that no API server has stands for one that does not answer as it should.
    with pytest.raises(AssetsError):
        await read(labelled(api, "no/../such namespace"))


@pytest.mark.parametrize("failure", [None, "131051 Message type unknown"])
async def test_a_message_with_or_without_its_media_is_taken(api: Api, failure: str | None) -> None:
    sent = WhatsAppSource.model_validate(
        {
            "accountName": "support",
            "messageID": "wamid.A",
            "timestamp": "2026-01-01T00:00:00Z",
            **({"failure": failure} if failure else {"mediaID": "1"}),
        }
    )
    asset = MediaAsset(
        metadata=Metadata(namespace="default", name="a"), spec=MediaAssetSpec(source=Source(whatsapp=sent))
    )
    path = resource("media-operator.io/v1alpha1", "mediaassets", namespace="default")
    body = {key: value for key, value in asset.to_dict().items() if key != "status"}
    body["metadata"] = {"name": f"message-{bool(failure)}".lower()}
    stored = await api.call("POST", path, body)
    assert MediaAsset.model_validate(stored).spec.source.whatsapp == sent
