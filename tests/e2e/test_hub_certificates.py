"""A certificate is rotated while callbacks go out: each request names the certificate that signed it."""

from pathlib import Path

import msgspec
import pytest

import independent_signatures as independent
from e2e.hub import Hub
from e2e.objects import new_app, new_endpoint, new_source, new_subscription
from e2e.receiver import Receiver, wait_until
from e2e.vendors import avd, callback

pytestmark = pytest.mark.e2e
URL = "x-eventbridge-signature-url"
EXPIRING = "/api/v1/alarms?kind=certificate_expires"


def test_requests_before_and_after_a_rotation_both_verify(tmp_path: Path, receiver: Receiver) -> None:
    """What was signed stays verifiable under the URL it names, by a check that shares no code with ours."""
    with Hub(tmp_path / "data", allow_targets=[receiver.address]) as hub:
        hub.start()
        app = new_app("rotating")
        source = new_source(app, "avd")
        endpoint = new_endpoint(app, "aliyun_cvc", receiver.url("rotating"), keys=())
        hub.set_up(app, source, endpoint, new_subscription(app, endpoint))

        def certificate(url: str) -> bytes:
            status, pem = hub.api("GET", url.partition(hub.config.listen)[2])
            assert status == 200
            return pem.encode()

        def told(number: int) -> independent.Signed:
            """Return what goes out after one more callback."""
            hub.post(callback(hub, source, msgspec.Raw(msgspec.json.encode(avd("open", f"room-{number}")))))
            arrival = receiver.wait_for("rotating", number)[number - 1]
            headers = {name.lower(): value for name, value in arrival.request.headers}
            keys = [("certificate", certificate(headers[URL]))]
            return independent.Signed(arrival.request.url, headers, arrival.request.body, keys, {})

        first = told(1)
        status, made = hub.api("POST", "/api/v1/certificates", {})
        second = told(2)
        now_served = certificate(first.headers[URL])

        assert status == 201
        assert second.headers[URL] == made["url"] != first.headers[URL]
        assert ("certificate", now_served) in first.keys
        assert [independent.CHECKS["aliyun_cvc"](one) for one in (first, second)] == [True, True]
        first.keys[:] = second.keys
        assert not independent.CHECKS["aliyun_cvc"](first), "the other certificate proves nothing of it"


def test_an_alarm_tells_before_it_expires_until_the_next_one_is_made(hub: Hub) -> None:
    """The certificate that signs has a day left: somebody must hear of it, once, and that it is over."""

    def alarms(*, over: bool) -> list[str]:
        return [one["en"] for one in hub.api("GET", EXPIRING)[1]["items"] if one["is_over"] is over]

    _, short = hub.api("POST", "/api/v1/certificates", {"valid_days": 1})
    wait_until(lambda: alarms(over=False), 20, "the alarm")
    told = alarms(over=False)
    hub.api("POST", "/api/v1/certificates", {})
    wait_until(lambda: alarms(over=True), 20, "the end of the alarm")

    assert short["expires_soon"]
    assert len(told) == 1
    assert short["id"] in told[0]
    assert alarms(over=False) == []
