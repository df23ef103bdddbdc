"""Hold what a soak left behind against what must be: the log, the rooms, the deliveries, and what really arrived."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from e2e.folding import folded, read_log, routed
from e2e.hub import Hub
from e2e.receiver import Arrival, Receiver
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.model.app import Endpoint
from northbound.model.log import Logged, Origin


class Run(Protocol):
    """What a soak remembers."""

    hub: Hub
    receiver: Receiver
    endpoints: list[Endpoint]
    acked: dict[tuple[str, str], int]  # (source, id on the wire) -> times answered 2xx
    made: list[str]  # names of apps whose creation was answered
    failures: list[str]


class Proof:
    """What the run left behind, held against what must be."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.hub = run.hub
        self.wrong: list[str] = []
        self.entries = read_log(self.hub)
        self.folded = folded(self.hub, self.entries)
        self.routed = routed(self.folded)

    def violations(self) -> list[str]:
        for check in (self._log, self._receipts, self._conclusions, self._rooms, self._deliveries, self._arrivals):
            check()
        self._databases()
        self._made()
        return [*self.run.failures, *self.wrong]

    def expect(self, wanted: Any, found: Any, what: str) -> None:
        if wanted != found:
            self.wrong.append(f"{what}: expected {str(wanted)[:300]}, found {str(found)[:300]}")

    def _log(self) -> None:
        self.expect(list(range(len(self.entries))), [one.offset for one in self.entries], "offsets without holes")
        observed = [one for one in self.entries if one.origin is Origin.OBSERVED]
        times = Counter((one.source_id, wire_id(one)) for one in observed)
        lost = [key for key in self.run.acked if key not in times]
        self.expect([], lost, f"answered 2xx and not in the log ({len(lost)})")
        self.expect([], [key for key, count in times.items() if count > 1], "in the log more than once")
        self.expect([], [key for key in times if key not in self.run.acked], "in the log and never answered 2xx")
        reader = SqliteLogReader(self.hub.folder.events)
        self.expect((len(self.entries), None), reader.verify_chain(), "the chain of digests")
        reader.close()

    def _receipts(self) -> None:
        rows = self.hub.rows("events", "SELECT id FROM receipts ORDER BY id")
        self.expect(list(range(1, len(rows) + 1)), [row[0] for row in rows], "receipts without holes")
        bare = self.hub.rows(
            "events",
            "SELECT id FROM receipts WHERE id NOT IN (SELECT receipt_id FROM log WHERE receipt_id IS NOT NULL)"
            " AND id NOT IN (SELECT receipt_id FROM repeats)",
        )
        self.expect([], bare, "receipts without entry and without the entry they repeat")
        orphans = self.hub.rows(
            "events", "SELECT offset FROM log WHERE origin = 'observed' AND receipt_id NOT IN (SELECT id FROM receipts)"
        )
        self.expect([], orphans, "entries without receipt")
        unseen = self.hub.rows("events", "SELECT offset FROM log WHERE offset NOT IN (SELECT offset FROM seen)")
        self.expect([], unseen, "entries whose id is not remembered")

    def _conclusions(self) -> None:
        derived = [one.id for one in self.entries if one.origin is Origin.DERIVED]
        self.expect(sorted(one.id for one in self.folded.concluded), sorted(derived), "conclusions, each once")

    def _rooms(self) -> None:
        live = dict(self.hub.rows("deliveries", "SELECT key, state FROM rooms ORDER BY key"))
        folded = {key: msgspec.json.encode(room) for key, room in self.folded.rooms.items()}
        self.expect(sorted(folded), sorted(live), "rooms")
        self.expect([], [key for key in folded if live.get(key) != folded[key]], "rooms that differ from a refold")

    def _deliveries(self) -> None:
        for endpoint in self.run.endpoints:
            found: dict[str, list[str]] = defaultdict(list)
            for identity, state, _, _, key, reason in self.hub.deliveries(endpoint):
                found[key].append(identity)
                if state != "delivered":
                    self.wrong.append(f"{identity} is {state}: {reason}")
            self.expect(self.routed[endpoint.id], dict(found), f"what was routed to {endpoint.id}")
        rows = self.hub.rows("deliveries", "SELECT number FROM deliveries ORDER BY number")
        self.expect(list(range(1, len(rows) + 1)), [row[0] for row in rows], "deliveries without holes")
        odd = self.hub.rows(
            "deliveries",
            "SELECT deliveries.id FROM deliveries LEFT JOIN attempts ON attempts.delivery = deliveries.number"
            " AND attempts.accepted = 1 GROUP BY deliveries.number HAVING count(attempts.id) <> 1",
        )
        self.expect([], odd, "deliveries without exactly one accepted try")

    def _arrivals(self) -> None:
        places = {one.id: one for one in self.folded.deliveries}
        for endpoint in self.run.endpoints:
            arrivals = self.run.receiver.at(endpoint.dialect)
            bad = [(one.delivery, why) for one in arrivals if (why := refused(one, endpoint))]
            self.expect([], bad, f"signatures at {endpoint.id}")
            by_delivery = self.run.receiver.by_delivery(endpoint.dialect)
            for identity, tries in by_delivery.items():
                if len({wire_name(one) for one in tries}) != 1:
                    self.wrong.append(f"{identity} did not keep its id on the wire over its tries")
            for key, ids in self.routed[endpoint.id].items():
                where = f"at {endpoint.id} in {key}"
                missing = [one for one in ids if not any(each.status == 200 for each in by_delivery.get(one, []))]
                self.expect([], missing, f"never accepted {where}")
                if missing:
                    continue
                firsts = [by_delivery[one][0] for one in ids]
                told = [(one.seq, one.prev) for one in firsts]
                self.expect([(places[one].seq, places[one].prev) for one in ids], told, f"places {where}")
                self.expect([None, *[seq for seq, _ in told[:-1]]], [prev for _, prev in told], f"chain {where}")
                self.expect(sorted(one.at for one in firsts), [one.at for one in firsts], f"first arrivals {where}")

    def _databases(self) -> None:
        for name in ("events", "deliveries", "control", "index"):
            self.expect([("ok",)], self.hub.rows(name, "PRAGMA integrity_check"), f"{name}.db")

    def _made(self) -> None:
        rows = self.hub.rows("control", "SELECT json_extract(body, '$.name') FROM objects WHERE kind = 'app'")
        times = Counter(row[0] for row in rows)
        self.expect([], [name for name in self.run.made if times[name] != 1], "apps that were made, each once")


def wire_id(entry: Logged) -> str:
    words = msgspec.json.decode(entry.event.vendor)
    return str(words.get("trace_id") or words.get("noticeId"))


def wire_name(arrival: Arrival) -> str:
    """Return the event's id as the receiver of that wire knows it."""
    named = arrival.request.header("webhook-id")
    if named is not None:
        return named
    (event,) = all_dialects()[arrival.name].decode(arrival.request, {})
    return event.dedupe_key or ""


def refused(arrival: Arrival, endpoint: Endpoint) -> str:
    """Return why a customer would refuse the arrival; empty when it would not."""
    try:
        # Checked long after the try: the clock of the check is the one the wire tells, where it tells one.
        stamp = arrival.request.header("webhook-timestamp")
        moment = datetime.fromtimestamp(int(stamp), UTC) if stamp else datetime.now(UTC)
        all_dialects()[endpoint.dialect].verify(arrival.request, endpoint.keys, moment, endpoint.options)
    except Exception as error:
        return str(error)
    return ""
