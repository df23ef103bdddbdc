"""One hub and one receiver for all end-to-end tests that do not need settings of their own."""

from collections.abc import Iterator

import pytest

from e2e.hub import Hub
from e2e.receiver import Receiver


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def hub(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub") / "data", allow_targets=[receiver.address]) as hub:
        yield hub.start()
