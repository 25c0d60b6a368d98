"""The document and the code say the same."""

from openapi_spec_validator import validate

from media_ingest.answer import answer
from media_ingest.app import ENDPOINTS
from media_ingest.edit import Edit
from media_ingest.errors import TYPE_PREFIX
from media_ingest.guard import UPLOADS
from media_ingest.listing import Filter
from media_ingest.routes.health import document
from media_ingest.settings import Settings
from mediaasset import keys, pointers
from mediaasset.catalogue import Ordering
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource, Source

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
#: These have no slash at their end; the others are documented with one.
BARE = {"/healthz", "/readyz", "/api/openapi.json", "/api/docs/{file}"}


def test_the_document_is_valid() -> None:
    validate(document())


def test_every_route_is_documented_and_every_documented_route_exists() -> None:
    routed = {
        (path if path in BARE else f"{path.replace(':path', '')}/", method)
        for path, endpoint in ENDPOINTS.items()
        for method in METHODS
        if hasattr(endpoint, method)
    }
    documented = {(path, method) for path, item in document()["paths"].items() for method in item if method in METHODS}
    assert documented == routed


def test_only_the_state_of_the_service_needs_no_token() -> None:
    # What tus clients ask with OPTIONS is the same for everybody.
    open_paths = {
        path
        for path, item in document()["paths"].items()
        for method in METHODS
        if method != "options" and item.get(method, {}).get("security") == []
    }
    # What comes in by webhooks is signed instead.
    assert open_paths == BARE | {"/api/docs/", "/webhooks/whatsapp/", "/webhooks/in/{source}/"}


def test_what_counts_as_an_upload_is_a_route() -> None:
    for method, path in UPLOADS:
        assert hasattr(ENDPOINTS[path], method.lower()), (method, path)


def test_all_fields_of_the_answer_are_required_and_documented() -> None:
    media = document()["components"]["schemas"]["Media"]
    spec = MediaAssetSpec(source=Source(object=ObjectSource(key="uploads/ns/m/x")))
    body = answer(MediaAsset(metadata=Metadata(namespace="ns", name="m"), spec=spec))
    assert set(body) == set(media["properties"]) == set(media["required"])


def test_bounds_are_those_of_the_code() -> None:
    schemas = document()["components"]["schemas"]
    for field in ("path", "collection"):
        assert schemas["Fields"]["properties"][field]["pattern"] == keys.PUBLIC_PATH_PATTERN
        assert schemas["Fields"]["properties"][field]["maxLength"] == keys.PUBLIC_PATH_MAX_LENGTH
    for fields in ("Fields", "JSONFields"):
        assert schemas[fields]["properties"]["stable_path"]["maxLength"] == pointers.STABLE_PATH_MAX_LENGTH
    assert schemas["Problem"]["properties"]["type"]["pattern"].startswith(f"^{TYPE_PREFIX}")
    parameters = {item["name"]: item for item in document()["paths"]["/api/media/"]["get"]["parameters"]}
    page_size = parameters["page_size"]["schema"]
    assert (page_size["default"], page_size["maximum"]) == (Settings().page_size, Settings().max_page_size)
    assert parameters["ordering"]["schema"]["enum"] == [ordering.value for ordering in Ordering]
    assert set(schemas["Filter"]["properties"]) == set(Filter.model_fields)
    assert set(schemas["Edit"]["properties"]) == set(schemas["EditForm"]["properties"]) == set(Edit.model_fields)
