"""The RTC page tells a customer where to point a client: its commands and programs run as they stand."""

from pathlib import Path

from e2e.hub import Hub
from e2e.pages import Terminal, blocks
from e2e.receiver import Receiver
from sdk.test_sdk_subscriptions import place


def test_the_page_about_rtc_can_be_followed(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    name = place()
    setting_up, rtc, live = blocks("aliyun_rtc")

    printed = Terminal(hub, tmp_path, receiver.url(name)).run(setting_up, rtc, live, 'echo "$APP_ID"')

    first, second, _, app_id = printed.split()
    for identity, maker in ((first, "aliyun_rtc"), (second, "aliyun_live")):
        status, shown = hub.api("GET", f"/api/v1/subscriptions/{identity}")
        assert (status, shown["app_id"], shown["made_by"]) == (200, app_id, maker)
        endpoint = hub.api("GET", f"/api/v1/endpoints/{shown['endpoint_ids'][0]}")[1]
        assert endpoint["url"] == receiver.url(name)
