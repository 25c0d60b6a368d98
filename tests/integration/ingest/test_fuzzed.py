"""The OpenAPI document thrown at the running service: nothing that it allows, or nearly allows, ends in a 500."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS, load_all_checks

from media_ingest.routes.health import document
from standalone import Standalone, started

SCHEMA = schemathesis.openapi.from_dict(document())
load_all_checks()
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

#: What the document cannot say: that a file must be of a known type, what a token may write, that fields of other names
#: are ignored, and that tus answers 412 to a request without its version.
UNSAID: list[Any] = CHECKS.get_by_names(
    ["positive_data_acceptance", "negative_data_rejection", "missing_required_header"]
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with started(tmp_path_factory.mktemp("fuzzed") / "data") as running:
        yield running


@SCHEMA.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_the_service_answers_as_its_document_says(case: schemathesis.Case[Any], server: Standalone) -> None:
    case.call_and_validate(
        base_url=server.base_url, headers={"Authorization": f"Bearer {server.token}"}, excluded_checks=UNSAID
    )
