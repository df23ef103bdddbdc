"""The page of video meetings as a customer follows it: switch, rule by the official client, statistic, certificate."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from alibabacloud_eventbridge20200401 import models as m
from msgspec.structs import replace

from e2e.hub import Hub
from e2e.pages import Terminal, blocks, values
from e2e.receiver import Arrival, Receiver, wait_until
from e2e.test_vendor_pages import happens
from e2e.vendors import avd
from independent_signatures import Signed, aliyun_cvc
from northbound.model.account import Account
from sdk.clients import eventbridge
from sdk.customer import Customer


def words(arrival: Arrival) -> dict[str, Any]:
    return json.loads(arrival.request.body)


def is_signed(hub: Hub, arrival: Arrival) -> bool:
    """Check by code that shares nothing with ours, with the certificate that the request names."""
    headers = {name.lower(): value for name, value in arrival.request.headers}
    url = headers["x-eventbridge-signature-url"]
    _, pem = hub.api("GET", url.partition(hub.config.listen)[2])
    return aliyun_cvc(Signed(arrival.request.url, headers, arrival.request.body, [("certificate", pem.encode())], {}))


def backdated(hub: Hub, account_id: str, days: int) -> None:
    """Let the account be on since *days* ago, so that days are over."""
    with hub.control() as control:
        revision, account = control.get(Account, account_id)
        since = datetime.now(UTC) - timedelta(days=days)
        control.put(
            replace(account, created_at=since, meeting_push_since=since), who="test", now=since, revision=revision
        )


def test_the_page_about_video_meetings_can_be_followed(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    setting_up, program, afterwards = blocks("aliyun_cvc")
    terminal = Terminal(hub, tmp_path, receiver.url("aliyun_cvc-page"))

    *told, arn = terminal.run(setting_up, program).splitlines()
    made, app, changed, pushed = values("\n".join(told))
    assert arn == f"acs:eventbridge:cn-hangzhou:{made['id']}:eventbus/default/rule/ruleAliyuncvc"

    happens(hub, app["id"], avd("open", "lesson-1"), avd("join", "lesson-1", "u1"))
    opened, joined = receiver.wait_for("aliyun_cvc-page", 2)
    assert (pushed["meeting_push"], pushed["grants"]) == (True, ["meeting_push"])
    assert [words(one)["data"]["action"] for one in (opened, joined)] == ["meeting_start", "member_join"]
    assert words(opened)["subject"] == f"acs:aliyuncvc:cn-hangzhou:{made['id']}:lesson-1"
    assert changed["options"]["subject"] == "acs:aliyuncvc:{region}:{account}:{room}"
    assert is_signed(hub, opened)

    backdated(hub, made["id"], 1)  # yesterday is over: the hub makes it up by itself
    statistic = receiver.wait_for("aliyun_cvc-page", 3, 20)[2]
    day = (datetime.now(ZoneInfo("Asia/Shanghai")) - timedelta(days=1)).date().isoformat()
    assert words(statistic)["id"] == f"st_{made['id']}_{day}"
    assert words(statistic)["type"] == "aliyuncvc:MeetingEvent:MeetingStatistic"
    counts = {name: words(statistic)["data"][f"meeting{name}"] for name in ("Count", "Time", "Member", "Concurrency")}
    assert counts == {"Count": 0, "Time": 0, "Member": 0, "Concurrency": 0}

    trace = m.QueryEventTracesRequest(event_bus_name="default", event_id=words(statistic)["id"])
    client = eventbridge(Customer(
        hub=hub, address=hub.config.listen, account_id=made["id"], access_key_id=made["access_key_id"],
        access_key_secret=made["access_key_secret"], app_id=app["id"], app_key=app["app_key"],
    ))  # fmt: skip
    wait_until(lambda: len(client.query_event_traces(trace).body.data) == 3, 10, "the search to catch up")
    steps = client.query_event_traces(trace).body.data
    assert [step.action for step in steps] == ["PutEvent", "FilterEvent", "PushEvent"]

    helpers = setting_up.partition("MADE=")[0]
    shown, sent, listed, rotated = values(terminal.run(helpers, afterwards, ACCOUNT=made["id"], DAY=day))
    again = receiver.wait_for("aliyun_cvc-page", 4)[3]
    assert (shown["differs"], shown["event_id"]) == ([], None)
    assert (sent["event_id"], sent["deliveries"]) == (words(statistic)["id"], 1)
    assert words(again) == words(statistic)
    assert [one["state"] for one in listed] == ["signing"]
    assert (rotated["state"], rotated["url"] != listed[0]["url"]) == ("signing", True)
    assert is_signed(hub, statistic)
