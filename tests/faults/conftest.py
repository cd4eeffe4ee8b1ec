"""The nurseries that all tests of faults share: one a processor, two at most."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.driver import Nursery, Ward


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with ExitStack() as stack:
        rooms = [tmp_path_factory.mktemp("nursery") for _ in range(2)]
        yield Ward([stack.enter_context(Nursery(room)) for room in rooms])


@pytest.fixture
def nursery(ward: Ward) -> Nursery:
    return ward.nurseries[0]
