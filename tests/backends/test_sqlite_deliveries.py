"""What deliveries.db does beside the laws of storages: who may read the file, and what is forgotten."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from northbound.backends.sqlite.database import open_writer
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.model.delivery import Attempt, Done, Exchange, Lane, Verdict
from northbound.model.wire import Request, Response
from northbound.testing.conformance.storage import delivery

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("schema", ["events", "deliveries", "control", "index", "nonces"])
def test_a_database_is_its_owners_alone(tmp_path: Path, schema: str) -> None:
    """Keys and people are in it, and the folder may be one that others made."""
    tmp_path.chmod(0o755)

    with closing(open_writer(tmp_path / f"{schema}.db", schema)):
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}

    assert set(modes.values()) == {0}, modes


def test_tries_are_forgotten_in_turns_until_none_is_too_old(tmp_path: Path) -> None:
    """A turn forgets a bounded number and says how many, so that whoever calls can go on; younger ones stay."""
    with closing(SqliteDeliveries(tmp_path / "deliveries.db")) as store:
        (number,) = store.add([delivery(1)])
        for hour in range(7):
            settle(store, number, NOW - timedelta(hours=7 - hour))

        turns = [store.trim(NOW - timedelta(hours=2), limit=2) for _ in range(4)]

        assert turns == [2, 2, 1, 0]
        assert store.trim(NOW, limit=10) == 2


def settle(store: SqliteDeliveries, number: int, started_at: datetime) -> None:
    exchange = Exchange(
        request=Request(method="POST", url="http://r.test/"),
        outcome=Response(status=200),
        started_at=started_at,
        duration_ms=1,
    )
    attempt = Attempt(delivery_id="dl_1", number=1, exchange=exchange, verdict=Verdict(accepted=True))
    store.settle([(number, attempt, Done(), Lane.LIVE, 1)])
