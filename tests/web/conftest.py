"""One shared server for the tests that leave no trace in it, and a site of its own for each that does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_site import Site
from serving import Hub, running


@pytest.fixture(scope="module")
def shared() -> Iterator[Hub]:
    with running() as hub:
        yield hub


@pytest.fixture
def hub(shared: Hub) -> Hub:
    shared.calls.clear()
    return shared


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path / "data")
    yield one
    one.close()
