"""The registry as other processes read it: what is read bit by bit is what is read as a whole."""

import random  # noqa: TID251 - the same changes every time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from northbound.backends.sqlite import control as module
from northbound.backends.sqlite.control import SqliteControl, SqliteControlReader
from northbound.model.app import App, Endpoint, Subscription
from northbound.model.registry import Drop, Put
from northbound.testing.fakes import NOW, endpoint, subscription


def whole(path: Path) -> Any:
    reader = SqliteControlReader(path)
    try:
        return reader.load()
    finally:
        reader.close()


@pytest.mark.parametrize("most", [module.RELOADED_MOST, 3])
def test_what_changed_is_all_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Created, changed, deleted, made again, in any order and number between two looks."""
    monkeypatch.setattr(module, "RELOADED_MOST", most)
    path, dice = tmp_path / "control.db", random.Random(7)  # noqa: S311
    control = SqliteControl(path)
    control.put(App(id="app_1", name="a", created_at=NOW), who="t", now=NOW)
    reader = SqliteControlReader(path)
    kinds = {Endpoint: endpoint, Subscription: subscription}
    for _ in range(120):
        for _ in range(dice.randrange(4)):
            kind = dice.choice(list(kinds))
            identity = f"one_{dice.randrange(6)}"
            known = {one.id: (revision, one) for revision, one in control.find(kind)}
            if identity not in known:
                control.put(kinds[kind](identity), who="t", now=NOW)
            elif dice.random() < 0.5:
                control.change((), (Drop(kind=kind, id=identity),), who="t", now=NOW)
            else:
                revision, one = known[identity]
                control.put(replace(one, name=f"n{dice.random()}"), who="t", now=NOW, revision=revision)
        if dice.random() < 0.2:
            control.note("endpoint.revealed", "one_1", who="t", now=NOW)

        assert reader.load() == whole(path)
    reader.close()
    control.close()


def test_what_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    control = SqliteControl(tmp_path / "control.db")
    control.change([Put(one=endpoint("ep_1")), Put(one=endpoint("ep_2"))], (), who="t", now=NOW)
    reader = SqliteControlReader(tmp_path / "control.db")
    before = {one.id: one for one in reader.load().endpoints}
    control.put(replace(before["ep_2"], name="new"), who="t", now=NOW, revision=1)
    after = {one.id: one for one in reader.load().endpoints}

    assert after["ep_1"] is before["ep_1"]
    assert after["ep_2"].name == "new"
    reader.close()
    control.close()
