"""One shared server for the tests that leave no trace in it."""

from collections.abc import Iterator

import pytest
from serving import Hub, running


@pytest.fixture(scope="module")
def shared() -> Iterator[Hub]:
    with running() as hub:
        yield hub


@pytest.fixture
def hub(shared: Hub) -> Hub:
    shared.calls.clear()
    return shared
