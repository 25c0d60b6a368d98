"""Before an upgrade: bring the CustomResourceDefinitions up to date, and never narrow one.

Helm creates what lies in the folder crds of a chart once, and never changes or deletes it. That is what a rollback
needs: the definitions of an older release would drop every field that is newer than it from assets that have it. So
this, and only this, changes them, and only to what knows all that the old one knew.
"""

from collections.abc import Iterator
from http import HTTPStatus

import structlog
import yaml

from media_operator.settings import DefinitionSettings
from mediaasset.kube import Api, Json, KubeError, connect, resource, translated

_LOG = structlog.get_logger(__name__)


async def upgrade(settings: DefinitionSettings) -> None:
    """Do it. Raises OSError, with a text for people, when the API server cannot be reached or refuses."""
    api = await connect()
    try:
        with translated(OSError):
            for file in sorted(settings.definitions.glob("*.yaml")):
                await _upgrade(api, yaml.safe_load(file.read_text(encoding="utf-8")))
    finally:
        await api.close()


async def _upgrade(api: Api, new: Json) -> None:
    name = new["metadata"]["name"]
    path = resource(new["apiVersion"], "customresourcedefinitions", name=name)
    try:
        old = await api.call("GET", path)
    except KubeError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        # An Argo CD runs this before it creates anything.
        _LOG.warning("The definition is not there; who installs the release has to create it.", definition=name)
        return
    if lost := sorted(narrowed(old["spec"], new["spec"])):
        _LOG.warning("The definition that is there knows more, and stays.", definition=name, lost=lost)
        return
    # The version that was read guards against a change of somebody else meanwhile.
    await api.call("PUT", path, {**old, "spec": new["spec"]})
    _LOG.info("The definition is up to date.", definition=name)


def narrowed(old: Json, new: Json) -> Iterator[str]:
    """Yield what the old spec of a definition has and the new one has not: versions, fields and values of enums."""
    schemas = {version["name"]: version["schema"]["openAPIV3Schema"] for version in new["versions"]}
    for version in old["versions"]:
        if version["name"] in schemas:
            yield from _narrowed(version["schema"]["openAPIV3Schema"], schemas[version["name"]], version["name"])
        else:
            yield version["name"]


def _narrowed(old: Json, new: Json, place: str) -> Iterator[str]:
    yield from (f"{place}: {value}" for value in old.get("enum", ()) if "enum" in new and value not in new["enum"])
    for name, schema in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from _narrowed(schema, new["properties"][name], f"{place}.{name}")
        else:
            yield f"{place}.{name}"
    if "items" in old:
        yield from _narrowed(old["items"], new.get("items", {}), f"{place}[]")
