"""Whatever the OpenAPI document allows, and what it does not, is answered and never breaks.

For longer: ``SEARCHX_CONTRACT_EXAMPLES=300 python -m pytest tests/test_contract.py``.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web.app import create_app

EXAMPLES = int(os.environ.get("SEARCHX_CONTRACT_EXAMPLES", "6"))  # of each route


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    folder, place = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("library")
    for colour in ("red", "green", "blue"):
        paint(folder / f"{colour}.png", colour)
    (folder / "notes.txt").write_text("The red bus.")
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(place, encoder=ColourEncoder()) as library:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(library))


def test_no_request_breaks_the_server(document: schemathesis.BaseSchema) -> None:
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 15
    for one in operations:
        _ask(one)


def _ask(operation: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        operation.as_strategy(GenerationMode.POSITIVE)
        | operation.as_strategy(GenerationMode.NEGATIVE)
    )
    def asked(case: Any) -> None:
        answer = case.call(headers={"host": "localhost"})
        case.validate_response(answer, checks=[not_a_server_error])

    asked()
