"""Number 6: what a rule costs an event, with 10,000 rules over 200 event buses of 4 accounts.

An event is looked at by the rules of its bus that name its type; all others must cost it nothing. Two curves show it:
the CPU of one event while all rules grow, and while those grow that could match it. Beside them what a change of the
rules costs: the first load of the registry, and one after a single rule changed. In one process, without I/O but
SQLite's; run it by hand with `python bench/rules.py`, or as part of `make bench`.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import msgspec
from measure import Number

from northbound.backends.sqlite.control import SqliteControl, SqliteControlReader
from northbound.dialects import all_dialects
from northbound.logic.derive import Step
from northbound.logic.project import apply
from northbound.logic.route import RoutingTable, build_table, route
from northbound.model.account import Account, Bus, Maker
from northbound.model.app import App, Endpoint, Registry, Source, Subscription, Target
from northbound.model.event import Event, EventType
from northbound.model.log import Logged, Origin
from northbound.model.registry import Put
from northbound.model.room import Room
from northbound.model.wire import Proof

ACCOUNTS, BUSES, RULES = 4, 50, 50  # buses of an account, rules of a bus
ALL = ACCOUNTS * BUSES * RULES
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTED = "aliyuncvc:MeetingEvent:MeetingStateEvent"
CALLS = 2_000
GOAL = 1.5  # with 10 times the rules of others, an event may cost so much more: noise, not growth
GOAL_RELOAD_MS = 150.0


def registry_of(buses: int, rules: int, could_match: int) -> Registry:
    """Return *buses* buses of each account with *rules* rules each; on the first one *could_match* name the type."""
    apps, accounts, made, sources, endpoints, subscriptions = [], [], [], [], [], []
    for account in range(ACCOUNTS):
        owner, app_id = f"{account:016d}", f"app_{account}"
        apps.append(App(id=app_id, name="a", created_at=NOW, account_id=owner))
        accounts.append(Account(id=owner, name="a", created_at=NOW, app_id=app_id))
        for number in range(buses):
            bus = Bus(
                id=f"bus_{account}_{number}", account_id=owner, name=f"b{number}", created_at=NOW,
                source_id=f"src_{account}_{number}",
            )  # fmt: skip
            made.append(bus)
            sources.append(
                Source(id=bus.source_id, app_id=app_id, name="s", dialect="aliyun_cvc", token="t", created_at=NOW)
            )
            for rule in range(rules):
                is_near = account == number == 0 and rule < could_match
                one = _rule(bus, app_id, rule, STARTED if is_near else f"other:type:{rule}")
                subscriptions.append(one)
                target = one.targets[0].endpoint_id
                endpoints.append(
                    Endpoint(
                        id=target, app_id=app_id, url="http://receiver.test/", created_at=NOW, dialect="aliyun_cvc"
                    )
                )
    return Registry(
        version=1, apps=tuple(apps), accounts=tuple(accounts), buses=tuple(made), sources=tuple(sources),
        endpoints=tuple(endpoints), subscriptions=tuple(subscriptions),
    )  # fmt: skip


def _rule(bus: Bus, app_id: str, number: int, kind: str) -> Subscription:
    pattern = {
        "source": ["acs.aliyuncvc"],
        "type": [kind],
        "data": {"meetingUUID": [{"prefix": f"no-{bus.id}-{number}"}], "action": ["meeting_start", "meeting_end"]},
    }
    return Subscription(
        id=f"rule_{bus.id}_r{number:02d}", app_id=app_id, created_at=NOW, name=f"r{number}", view="aliyun_cvc",
        pattern=msgspec.json.encode(pattern).decode(), bus_id=bus.id, made_by=Maker.EVENTBRIDGE,
        targets=(Target(endpoint_id=f"ep_{bus.id}_{number}", id="t"),),
    )  # fmt: skip


def step_of() -> Step:
    """Return a meeting's beginning, put on the first bus."""
    words = msgspec.json.encode(
        {
            "id": "e", "source": "acs.aliyuncvc", "specversion": "1.0", "type": STARTED,
            "data": {"meetingUUID": "m", "meetingName": "n", "action": "meeting_start", "time": 1},
        }
    )  # fmt: skip
    event = Event(type=EventType.ROOM_OPENED, dialect="aliyun_cvc", room_id="m", vendor=msgspec.Raw(words))
    logged = Logged(
        id="ev_1", partition=0, offset=1, source_id="src_0_0", recorded_at=NOW, proof=Proof.FRESH,
        origin=Origin.OBSERVED, event=event,
    )  # fmt: skip
    before = Room(source_id="src_0_0", id="m")
    return Step(key="src_0_0//m", logged=logged, before=before, after=apply(before, logged))


def cost_us(table: RoutingTable) -> float:
    """Return the CPU microseconds of routing one event, the median of five runs."""
    step, app, dialects = step_of(), table.apps["app_0"], all_dialects()
    runs: list[float] = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(CALLS):
            route(step, app, table, dialects, lambda _: None)
        runs.append((time.process_time() - begun) / CALLS * 1e6)
    return statistics.median(runs)


def reload_ms(say: Callable[[str], None]) -> tuple[float, float]:
    """Return the CPU milliseconds of the first load and table, and of one more after a single rule changed."""
    registry = registry_of(BUSES, RULES, 5)
    with tempfile.TemporaryDirectory() as folder:
        control = SqliteControl(Path(folder) / "control.db")
        parts = (*registry.apps, *registry.accounts, *registry.buses, *registry.sources)
        control.change([Put(one=one) for one in (*parts, *registry.endpoints)], (), who="bench", now=NOW)
        control.change([Put(one=one) for one in registry.subscriptions], (), who="bench", now=NOW)
        reader = SqliteControlReader(Path(folder) / "control.db")
        begun = time.process_time()
        build_table(reader.load())
        first = (time.process_time() - begun) * 1e3
        later: list[float] = []
        for number in range(9):
            one = msgspec.structs.replace(registry.subscriptions[number], name=f"changed {number}")
            control.put(one, who="bench", now=NOW, revision=1)
            begun = time.process_time()
            build_table(reader.load())
            later.append((time.process_time() - begun) * 1e3)
        reader.close()
        control.close()
    say(f"  load of {ALL:,} rules {first:.0f} ms; again after one changed {statistics.median(later):.0f} ms")
    return first, statistics.median(later)


def measure(rounds: int, say: Callable[[str], None]) -> list[Number]:
    all_rules: dict[int, float] = {}
    for buses in (5, 10, 20, 30, 40, 50):
        all_rules[ACCOUNTS * buses * RULES] = cost_us(build_table(registry_of(buses, RULES, 5)))
    near: dict[int, float] = {}
    for could in (1, 2, 5, 10, 20, 50):
        near[could] = cost_us(build_table(registry_of(BUSES, RULES, could)))
    say("  all rules, 5 of which could match: " + _curve(all_rules))
    say(f"  rules that could match, of {ALL:,}: " + _curve(near))
    first, again = reload_ms(say)
    growth = all_rules[ALL] / all_rules[ALL // 10]
    each = (near[50] - near[1]) / 49
    return [
        Number(
            name=f"an event's matching with {ALL:,} rules / with {ALL // 10:,}, 5 of which could match",
            goal=f"< {GOAL:.2f}",
            value=f"{growth:.2f}",
            verdict="met" if growth < GOAL else "missed",
            notes=f"CPU us by all rules: {_curve(all_rules)}",
        ),
        Number(
            name="each rule that could match an event",
            goal="-",
            value=f"{each:.1f} us",
            verdict="-",
            notes=f"CPU us by rules that could match: {_curve(near)}",
        ),
        Number(
            name=f"{ALL:,} rules taken over after one changed",
            goal=f"< {GOAL_RELOAD_MS:.0f} ms",
            value=f"{again:.0f} ms",
            verdict="met" if again < GOAL_RELOAD_MS else "missed",
            notes=f"the first time {first:.0f} ms",
        ),
    ]


def _curve(costs: dict[int, float]) -> str:
    return ", ".join(f"{rules:,}: {cost:.0f}" for rules, cost in costs.items())


if __name__ == "__main__":
    for one in measure(1, print):
        print(f"{one.name}: {one.value} (goal {one.goal}, {one.verdict}); {one.notes}")
