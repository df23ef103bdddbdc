"""The Describe actions of RTC 2018-01-11: rooms, people, recordings and apps as the clients' models read them."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alibabacloud_rtc20180111 import models as m
from aliyunsdkrtc.request.v20180111.DescribeAppKeyRequest import DescribeAppKeyRequest
from aliyunsdkrtc.request.v20180111.DescribeAppsRequest import DescribeAppsRequest
from aliyunsdkrtc.request.v20180111.DescribeChannelParticipantsRequest import DescribeChannelParticipantsRequest
from aliyunsdkrtc.request.v20180111.DescribeChannelUsersRequest import DescribeChannelUsersRequest
from aliyunsdkrtc.request.v20180111.DescribeRecordFilesRequest import DescribeRecordFilesRequest
from darabonba.exceptions import DaraException

from e2e.vendors import avd, message
from sdk.asked import RTC
from sdk.clients import LEGACY, SIGNATURES, code_of, legacy, rtc
from sdk.customer import Customer
from sdk.table import Record

BEGAN = int(time.time()) - 3600  # seconds, of the recordings


def recorded(room: str, number: int, *, length: int = 60) -> Iterator[dict[str, Any]]:
    """A recording from its start to its two files."""
    at = (BEGAN + number * 100) * 1000
    named = {"exporter_id": f"task-{number}", "exporter_type": "hls", "event_type": "success", "start_time": at}
    names = [f"{number}-{part}.m3u8" for part in "ab"]
    files = [{"name": name, "url": f"https://files.test/{name}", "duration_ms": length * 500} for name in names]
    yield avd("start_record", room, **named)
    yield avd("stop_record", room, **named, stop_time=at + length * 1000, options=json.dumps(files))


@pytest.fixture(scope="module")
def busy(new_customer: Any) -> Customer:
    """A customer with five open rooms, one that is over, one with an audience, and recordings."""
    customer = new_customer()
    box = customer.vendor("avd")
    for room in ("r1", "r2", "r3", "r4"):
        box.tells(avd("open", room))
    box.tells(*(avd("join", "r1", f"u{number}") for number in range(12)), avd("leave", "r1", "u3"))
    box.tells(avd("open", "over"), avd("join", "over", "gone"), avd("leave", "over", "gone"), avd("close", "over"))
    box.tells(*recorded("over", 1), *recorded("r1", 2))
    live = customer.vendor("aliyun_rtc", options={"unsigned": "accept"})
    live.tells(message("Open", "live"), message("Join", "live", "star", Role=1), message("Join", "live", "fan", Role=2))
    customer.hub.wait_idle()
    return customer


def ago(text: str) -> timedelta:
    return datetime.now(UTC) - datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_open_channels(record: Record, busy: Customer, signature: str) -> None:
    with record("DescribeChannels", sdk=RTC, signature=signature):
        client = rtc(busy, signature)
        pages = [
            client.describe_channels(m.DescribeChannelsRequest(app_id=busy.app_id, page_no=number, page_size=2)).body
            for number in (1, 2, 3, 4)
        ]
        assert [(one.page_no, one.page_size, one.total_cnt) for one in pages] == [(n, 2, 5) for n in (1, 2, 3, 4)]
        assert sorted(name for page in pages for name in page.records or []) == ["live", "r1", "r2", "r3", "r4"]
        whole = client.describe_channels(m.DescribeChannelsRequest(app_id=busy.app_id)).body
        assert (whole.page_no, whole.page_size, len(whole.records)) == (1, 10, 5)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_who_is_in_a_channel(record: Record, busy: Customer, signature: str) -> None:
    def users(channel: str) -> Any:
        asked = m.DescribeChannelUsersRequest(app_id=busy.app_id, channel_id=channel)
        return rtc(busy, signature).describe_channel_users(asked).body

    with record("DescribeChannelUsers", sdk=RTC, signature=signature):
        talk, show, over, none = (users(name) for name in ("r1", "live", "over", "never"))
        assert (talk.is_channel_exist, talk.channel_profile, talk.comm_total_num) == (True, 1, 11)
        assert sorted(talk.user_list) == sorted({f"u{number}" for number in range(12)} - {"u3"})
        assert (talk.interactive_user_num, talk.interactive_user_list or []) == (0, [])
        assert abs(talk.timestamp - time.time()) < 60
        assert (show.channel_profile, show.interactive_user_list, show.live_user_list) == (2, ["star"], ["fan"])
        assert (show.interactive_user_num, show.live_user_num, show.comm_total_num) == (1, 1, 0)
        for one in (over, none):
            assert (one.is_channel_exist, one.comm_total_num, one.user_list or []) == (False, 0, [])


@pytest.mark.parametrize("signature", SIGNATURES)
def test_participants_page_by_page(record: Record, busy: Customer, signature: str) -> None:
    def page(number: int, **other: Any) -> Any:
        asked = m.DescribeChannelParticipantsRequest(
            app_id=busy.app_id, channel_id="r1", page_num=number, page_size=4, **other
        )
        return rtc(busy, signature).describe_channel_participants(asked).body

    with record("DescribeChannelParticipants", sdk=RTC, signature=signature):
        pages = [page(number) for number in (1, 2, 3, 4)]
        assert {(one.total_num, one.total_page) for one in pages} == {(11, 3)}
        assert [len(one.user_list.user or []) for one in pages] == [4, 4, 3, 0]
        newest_first = [name for one in pages for name in one.user_list.user or []]
        assert len(set(newest_first)) == 11
        assert page(1, order="asc").user_list.user == newest_first[::-1][:4]
        assert abs(pages[0].timestamp - time.time()) < 60


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_sessions_of_a_day(record: Record, busy: Customer, signature: str) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}T00:00:00Z"

    def sessions(**other: Any) -> Any:
        given = {"page_no": 1, "page_size": 10, "time_point": today, **other}
        return rtc(busy, signature).describe_rtc_channel_list(m.DescribeRtcChannelListRequest(**given)).body

    def names(**other: Any) -> list[str]:
        return [one.channel_id for one in sessions(**other).channel_list.channel_list or []]

    with record("DescribeRtcChannelList", sdk=RTC, signature=signature):
        found = sessions(app_id=busy.app_id)
        assert (found.page_no, found.page_size, found.total_cnt) == (1, 10, 6)
        by_name = {one.channel_id: one for one in found.channel_list.channel_list}
        assert sorted(by_name) == ["live", "over", "r1", "r2", "r3", "r4"]
        over, talk = by_name["over"], by_name["r1"]
        assert (over.total_user_cnt, talk.total_user_cnt, talk.end_time) == (1, 12, None)
        assert timedelta() <= ago(over.end_time) <= ago(over.start_time) < timedelta(minutes=10)
        assert over.call_area.call_area == ["cn"]
        starts = [one.start_time for one in found.channel_list.channel_list]
        assert starts == sorted(starts, reverse=True)
        assert names(sort_type="asc") == names()[::-1] or len(set(starts)) < len(starts)
        assert (names(channel_id="over"), names(user_id="u3")) == (["over"], ["r1"])
        assert (names(user_id="gone"), names(user_id="nobody")) == (["over"], [])
        assert (names(service_area="us"), len(names(service_area="cn"))) == ([], 6)
        assert [len(names(page_size=4, page_no=number)) for number in (1, 2, 3)] == [4, 2, 0]
        assert sessions(page_size=4, page_no=3).total_cnt == 6
        assert names(time_point="2020-01-01T00:00:00Z") == []


@pytest.mark.parametrize("signature", SIGNATURES)
def test_recorded_files(record: Record, busy: Customer, signature: str) -> None:
    def files(**other: Any) -> Any:
        asked = m.DescribeRecordFilesRequest(app_id=busy.app_id, **other)
        return rtc(busy, signature).describe_record_files(asked).body

    with record("DescribeRecordFiles", sdk=RTC, signature=signature):
        found = files()
        assert (found.total_num, found.total_page) == (4, 1)
        assert {one.app_id for one in found.record_files} == {busy.app_id}
        first = next(one for one in found.record_files if one.url == "https://files.test/1-a.m3u8")
        began = datetime.fromtimestamp(BEGAN + 100, UTC)
        assert (first.channel_id, first.task_id, first.duration) == ("over", "task-1", 30)
        assert first.start_time == f"{began:%Y-%m-%dT%H:%M:%SZ}"
        assert first.stop_time == f"{began + timedelta(seconds=30):%Y-%m-%dT%H:%M:%SZ}"
        assert first.create_time == f"{began + timedelta(seconds=60):%Y-%m-%dT%H:%M:%SZ}"
        assert {one.task_id for one in files(channel_id="r1").record_files} == {"task-2"}
        assert {one.task_id for one in files(task_ids=["task-1", "none"]).record_files} == {"task-1"}
        later = f"{began + timedelta(seconds=50):%Y-%m-%dT%H:%M:%SZ}"
        assert {one.task_id for one in files(start_time=later).record_files} == {"task-2"}
        assert {one.task_id for one in files(end_time=later).record_files} == {"task-1"}
        pages = [files(page_size=3, page_num=number) for number in (1, 2)]
        assert [(len(one.record_files), one.total_num, one.total_page) for one in pages] == [(3, 4, 2), (1, 4, 2)]
        assert files(channel_id="never").total_num == 0


@pytest.mark.parametrize("signature", SIGNATURES)
def test_apps_and_keys(record: Record, customer: Customer, signature: str) -> None:
    client = rtc(customer, signature)
    other = customer.another_app("<!ENTITY x 'y'> & 名")
    with record("DescribeApps", sdk=RTC, signature=signature):
        found = client.describe_apps(m.DescribeAppsRequest()).body
        apps = {one.app_id: one for one in found.app_list.app}
        assert (found.total_num, found.total_page) == (3, 1)  # with the app that stands for the account
        assert {customer.app_id, other} < set(apps)
        assert apps[other].app_name == "<!ENTITY x 'y'> & 名"
        assert (apps[other].status, apps[other].service_areas.service_area) == (1, ["CN"])
        assert ago(apps[other].create_time) < timedelta(minutes=5)
        ascending = client.describe_apps(m.DescribeAppsRequest(order="asc", page_size=2, page_num=2)).body
        assert [one.app_id for one in ascending.app_list.app] == [other]
        assert client.describe_apps(m.DescribeAppsRequest(status="2")).body.total_num == 0
        assert client.describe_apps(m.DescribeAppsRequest(app_id=other)).body.total_num == 1
    with record("DescribeApps", sdk=RTC, signature=signature, case="a Status that there is not") as row:
        with pytest.raises(DaraException) as refused:
            client.describe_apps(m.DescribeAppsRequest(status="9"))
        row.result = code_of(refused.value)
        assert row.result == "InvalidStatus.Malformed"
    with record("DescribeAppKey", sdk=RTC, signature=signature):
        told = client.describe_app_key(m.DescribeAppKeyRequest(app_id=customer.app_id)).body
        assert told.app_key == customer.app_key
    newest = customer.hub.api("GET", "/api/v1/audit?limit=1")[1]["items"][0]
    assert (newest["what"], newest["who"], newest["object"]) == (
        "app.revealed", customer.access_key_id, customer.app_id,
    )  # fmt: skip


def test_the_older_client_reads_the_same(record: Record, busy: Customer) -> None:
    def asked(kind: Any, **given: str) -> Any:
        request = kind()
        for name, value in {"AppId": busy.app_id, **given}.items():
            getattr(request, f"set_{name}")(value)
        return legacy(busy, request)

    with record("DescribeChannelUsers", sdk=LEGACY, signature="V1"):
        assert asked(DescribeChannelUsersRequest, ChannelId="live")["LiveUserList"] == ["fan"]
    with record("DescribeChannelParticipants", sdk=LEGACY, signature="V1"):
        found = asked(DescribeChannelParticipantsRequest, ChannelId="r1", PageSize="3")
        assert (found["TotalNum"], found["TotalPage"], len(found["UserList"]["User"])) == (11, 4, 3)
    with record("DescribeRecordFiles", sdk=LEGACY, signature="V1"):
        assert asked(DescribeRecordFilesRequest)["TotalNum"] == 4
    with record("DescribeApps", sdk=LEGACY, signature="V1"):
        assert [one["AppId"] for one in asked(DescribeAppsRequest)["AppList"]["App"]] == [busy.app_id]
    with record("DescribeAppKey", sdk=LEGACY, signature="V1"):
        assert asked(DescribeAppKeyRequest)["AppKey"] == busy.app_key


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("describe_channels", {"page_size": 101}, "InvalidParameter"),
        ("describe_channels", {"page_no": 0}, "InvalidParameter"),
        ("describe_channel_users", {}, "MissingChannelId"),
        ("describe_channel_participants", {"channel_id": "r1", "order": "up"}, "InvalidParameter"),
        ("describe_rtc_channel_list", {"page_no": 1, "page_size": 1}, "MissingTimePoint"),
        ("describe_rtc_channel_list", {"page_no": 1, "page_size": 1, "time_point": "today"}, "InvalidParameter"),
        ("describe_record_files", {"task_ids": ["t"] * 11}, "InvalidParameter"),
        ("describe_record_files", {"start_time": "2026-13-01T00:00:00Z"}, "InvalidParameter"),
    ],
)
def test_what_is_not_as_documented_is_refused(
    record: Record, busy: Customer, method: str, given: dict[str, Any], code: str
) -> None:
    name = "".join(word.title() for word in method.split("_"))
    with record(name, sdk=RTC, signature="V3", case=f"{' '.join(given) or 'nothing'} not as documented") as row:
        request = getattr(m, f"{name}Request")(app_id=busy.app_id, **given)
        with pytest.raises(DaraException) as refused:
            getattr(rtc(busy), method)(request)
        row.result = code_of(refused.value)
        assert row.result == code


def test_a_foreign_app_is_not_found_in_the_same_words_as_none(
    record: Record, busy: Customer, customer: Customer
) -> None:
    """T1: whether it exists is not told."""
    told: set[tuple[str, str]] = set()
    for name in ("describe_channels", "describe_app_key", "describe_record_files"):
        action = "".join(word.title() for word in name.split("_"))
        with record(action, sdk=RTC, signature="V3", case="another account's AppId") as row:
            for app_id in (busy.app_id, "nowhere"):
                with pytest.raises(DaraException) as refused:
                    getattr(rtc(customer), name)(getattr(m, f"{action}Request")(app_id=app_id))
                row.result = code_of(refused.value)
                told.add((row.result, refused.value.message.partition("request id")[0]))
    assert {code for code, _ in told} == {"ResourceNotExist"}
    assert len(told) == 1
