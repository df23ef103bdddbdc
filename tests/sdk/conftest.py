"""A hub that serves, customers who call it with the vendors' own clients, and the table of what became of each call."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from darabonba.core import DaraCore

from e2e.hub import Hub
from e2e.receiver import Receiver
from sdk import plane_client
from sdk.customer import NUMBERS, Customer, customer_of
from sdk.driver import Driver
from sdk.table import Record, recorded


@pytest.fixture
def record() -> Record:
    """Note what became of an action with a client: see `sdk/table.py`."""
    return recorded


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session", autouse=True)
def _connections_closed() -> Iterator[None]:
    """Close what the modern clients keep open for as long as a program lives."""
    yield
    for session in DaraCore._sessions.values():
        session.close()
    DaraCore._sessions.clear()


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    """The data plane's client."""
    with Driver(plane_client.interpreter(), plane_client.PROGRAM) as driver:
        yield driver


@pytest.fixture(scope="session")
def late_clients() -> Iterator[Driver]:
    """The RPC clients where the clock is wrong."""
    with Driver(Path(sys.executable), "rpc_driver.py") as driver:
        yield driver


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def hub(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("sdk-hub") / "data", allow_targets=[receiver.address]) as hub:
        yield hub.start()


@pytest.fixture(scope="session")
def new_customer(hub: Hub) -> Callable[[], Customer]:
    """Return what makes a customer of its own, so that no test counts another's calls."""

    def make() -> Customer:
        return customer_of(hub, f"customer {next(NUMBERS)}")

    return make


@pytest.fixture
def customer(new_customer: Callable[[], Customer]) -> Customer:
    return new_customer()
