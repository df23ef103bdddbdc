"""The search of a hub whose index.db was damaged while nobody looked."""

from pathlib import Path

import pytest

from e2e.hub import Hub
from e2e.objects import new_app, new_source
from e2e.receiver import wait_until
from e2e.vendors import avd, callback
from northbound.backends.sqlite.database import PAGE
from northbound.model.app import Source
from northbound.model.wire import Key

pytestmark = pytest.mark.e2e


def found(hub: Hub, source: Source) -> int:
    """Return how many openings the search finds; -1 while it is being made anew."""
    status, answer = hub.api("GET", f"/api/v1/events?source_id={source.id}&type=room.opened&limit=500")
    return len(answer["items"]) if status == 200 else -1


def open_rooms(hub: Hub, source: Source, first: int, count: int) -> None:
    for number in range(first, first + count):
        assert hub.post(callback(hub, source, avd("open", f"room-{number}"))).status == 200


def figure(hub: Hub, name: str) -> float:
    _, text = hub.api("GET", "/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


@pytest.mark.parametrize("damage", ["middle", "whole"])
def test_a_damaged_search_is_made_anew_from_the_log(tmp_path: Path, damage: str) -> None:
    """Old and new events are found again without anybody's hand, and a metric tells how far it is."""
    with Hub(tmp_path / "data") as hub:
        app = new_app("search")
        source = new_source(app, "avd", keys=(Key(secret=b"k3y"),))
        hub.start()
        hub.set_up(app, source)
        open_rooms(hub, source, 0, 60)
        wait_until(lambda: found(hub, source) == 60, 20, "the search to have everything")
        hub.stop()

        path = hub.folder.index
        pages = path.stat().st_size // PAGE
        with path.open("r+b") as file:
            file.seek(0 if damage == "whole" else pages // 4 * PAGE)
            file.write(b"\xa5" * PAGE * (pages if damage == "whole" else pages // 2))

        hub.start()
        open_rooms(hub, source, 60, 5)
        wait_until(lambda: found(hub, source) == 65, 20, lambda: f"the search to be made anew\n{hub.tail()}")

        assert path.with_name("index.db.damaged").exists()
        assert "index.damaged" in hub.logs()
        assert figure(hub, "northbound_index_lag") == 0
