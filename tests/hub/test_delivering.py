"""What the delivery process says of what happened to it."""

import asyncio
from pathlib import Path

import prometheus_client as prometheus
import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.config import Config
from northbound.hub.delivering import Delivering
from northbound.hub.system import SystemClock
from northbound.model.log import NotFolded
from northbound.stages.alarms import Alarms
from northbound.testing.fakes import app, endpoint, registry, source


@pytest.mark.parametrize(("source_id", "app_id"), [("src_1", "app_1"), ("src_gone", "")])
def test_an_entry_that_is_set_aside_raises_an_alarm_that_names_it(tmp_path: Path, source_id: str, app_id: str) -> None:
    """In the app's list, or in that of the admin alone where the source is gone."""
    one = NotFolded(offset=7, event_id="ev_7", source_id=source_id, part="fold", reason="KeyError in project.apply")
    alarms = Alarms(kept := MemoryDeliveries(), SystemClock())
    store = SqliteDeliveries(tmp_path / "deliveries.db")
    hub = Delivering(Config(), store, alarms)
    hub.on_registry(registry(app(), source()))

    hub.on_not_folded(one)
    asyncio.run(alarms.flush())
    store.close()

    (told,) = kept.alarms
    assert (told.app_id, told.source_id, told.what) == (app_id, source_id, "ev_7")
    assert f"Event ev_7 of source {source_id} was set aside" in told.en
    assert "(fold: KeyError in project.apply)" in told.en
    assert "ev_7" in told.zh
    figures = prometheus.generate_latest(hub.registry).decode()
    assert 'northbound_alarms_total{kind="not_folded",process="delivery"} 1.0' in figures


def test_a_registry_that_cannot_be_taken_over_takes_no_endpoint_away(tmp_path: Path) -> None:
    """What waits for an endpoint that is not there is cancelled: half a registry would lose events."""
    store = SqliteDeliveries(tmp_path / "deliveries.db")
    hub = Delivering(Config(), store, Alarms(MemoryDeliveries(), SystemClock()))
    sound = registry(app(), source(), endpoint())
    hub.on_registry(sound)

    with pytest.raises(KeyError, match="uninstalled"):
        hub.on_registry(replace(sound, endpoints=(endpoint("ep_0", dialect="uninstalled"), *sound.endpoints)))
    store.close()

    assert hub.endpoint("ep_1") is not None
    assert list(hub.table.endpoints) == ["ep_1"]
