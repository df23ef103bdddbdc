"""Alarms in the API: of both databases in one list, each tenant its own, in both languages."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from api_site import NOW, Site, tenant

from northbound.model.alarm import Alarm, AlarmKind
from northbound.web.resources.system import grouped

SECOND = timedelta(seconds=1)


def raised(site: Site, kind: AlarmKind, at: datetime = NOW, **fields: Any) -> None:
    store = site.log if "source_id" in fields else site.store
    site.runner.run(store.raise_alarms([Alarm(kind=kind, first_at=at, last_at=at, **fields)]))


def test_a_list_pages_through_both_databases(site: Site):
    """Alarms that began at the same moment are each on one page, whatever the size of the pages."""
    for number in range(4):
        moment = NOW + (number // 2) * SECOND
        raised(site, AlarmKind.ID_CONFLICT, moment, app_id="app_1", source_id=f"src_{number}")
        raised(site, AlarmKind.DEAD_LETTERS, moment, app_id="app_1", endpoint_id=f"ep_{number}")

    whole = site.call("GET", "alarms").json["items"]

    assert len({one["id"] for one in whole}) == 8
    assert [one["first_at"] for one in whole] == sorted((one["first_at"] for one in whole), reverse=True)
    for limit in (1, 3):
        items: list[Any] = []
        cursor = ""
        while cursor is not None:
            page = site.call("GET", f"alarms?limit={limit}" + (f"&cursor={cursor}" if cursor else "")).json
            items += page["items"]
            cursor = page["next_cursor"]
        assert items == whole


def test_alarms_are_found_by_what_they_concern(site: Site):
    raised(site, AlarmKind.ID_CONFLICT, app_id="app_1", source_id="src_1", what="id 7")
    raised(site, AlarmKind.DEAD_LETTERS, NOW + SECOND, app_id="app_1", endpoint_id="ep_1", facts={"reason": "500"})

    def kinds(query: str) -> list[str]:
        return [one["kind"] for one in site.call("GET", f"alarms?{query}").json["items"]]

    assert kinds("source_id=src_1") == ["id_conflict"]
    assert kinds("endpoint_id=ep_1") == ["dead_letters"]
    assert kinds("kind=dead_letters") == ["dead_letters"]
    assert kinds(f"since={quote((NOW + SECOND).isoformat())}") == ["dead_letters"]
    one = site.call("GET", "alarms?kind=dead_letters").json["items"][0]
    assert (one["en"], one["count"], one["is_over"]) == (
        "Endpoint ep_1: deliveries became dead letters, the last one because: 500.",
        1,
        True,
    )
    assert one["zh"] == "端点 ep_1：有投递成为死信，最近原因：500。"


def test_a_tenant_sees_its_own_alarms_only(site: Site):
    ours, theirs = tenant(site, "ours"), tenant(site, "theirs")
    for one in (ours, theirs):
        raised(site, AlarmKind.ID_CONFLICT, app_id=one.app["id"], source_id=one.source["id"])
    key = site.key_for(theirs.app["id"], "reader")

    found = site.call("GET", "alarms", key=key).json["items"]

    assert [one["app_id"] for one in found] == [theirs.app["id"]]
    assert site.call("GET", f"alarms?app_id={ours.app['id']}", key=key).status == 404


def test_a_cursor_of_another_list_is_refused(site: Site):
    reply = site.call("GET", "alarms?cursor=LTE")

    assert (reply.status, reply.json["field"]) == (422, "cursor")


def test_a_metric_of_two_processes_is_named_once():
    """Prometheus refuses a page that names a metric twice."""
    text = (
        '# HELP a_total x\n# TYPE a_total counter\na_total{process="one"} 1\n# HELP b y\n# TYPE b gauge\nb 2\n'
        '# HELP a_total x\n# TYPE a_total counter\na_total{process="two"} 3\n'
    )

    assert grouped(text).splitlines() == [
        "# HELP a_total x",
        "# TYPE a_total counter",
        'a_total{process="one"} 1',
        'a_total{process="two"} 3',
        "# HELP b y",
        "# TYPE b gauge",
        "b 2",
    ]
