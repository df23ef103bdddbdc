"""Verifying stored requests again: what they prove with the keys of today, by which, and why not."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from api_site import Site

from northbound.dialects import all_dialects
from northbound.model.app import App, Endpoint, Source
from northbound.model.errors import SignatureError
from northbound.model.log import Receipt
from northbound.model.wire import Key, KeyKind, Proof, Request
from northbound.web import api
from northbound.web.signing import new_certificate

THEN = datetime.now(UTC) - timedelta(hours=12)
CERTIFICATE = "https://cn-hangzhou-eventbridge.oss-accelerate.aliyuncs.com/c.pem"
MESSAGE = {
    "MsgId": "m-1",
    "AppId": "a",
    "ChannelID": "r",
    "Contents": [{"Event": "ChannelEvent", "ChannelEvent": {"ChannelId": "r", "EventTag": "Open", "Timestamp": 1}}],
}


def made(site: Site, dialect: str = "aliyun_rtc", **more: Any) -> dict[str, Any]:
    app = site.made("apps", {"name": "a", "app_key": "app-key-of-today"})
    return site.made("sources", {"app_id": app["id"], "name": "s", "dialect": dialect} | more)


def signed(site: Site, source: dict[str, Any], words: Any, *keys: Key) -> Request:
    """A callback as its vendor signed it half a day ago."""
    dialect = all_dialects()[source["dialect"]]
    headers = (("content-type", "application/json"),)
    plain = Request(method="POST", url=source["intake_url"], headers=headers, body=json.dumps(words).encode())
    endpoint = Endpoint(id="e", app_id="a", url=source["intake_url"], dialect=dialect.name, created_at=THEN, keys=keys)
    return dialect.sign(plain, endpoint, THEN, bytes(range(32)))


def stored(site: Site, source: dict[str, Any], request: Request, proof: Proof = Proof.SENDER) -> str:
    events = all_dialects()[source["dialect"]].decode(request, {})
    receipt = Receipt(source_id=source["id"], received_at=THEN, request=request, proof=proof)
    return site.runner.run(site.log.append(receipt, events)).ids[0]


def verified(site: Site, path: str) -> dict[str, Any]:
    (item,) = site.call("POST", f"{path}/verify").json["items"]
    return item


def test_an_event_is_verified_with_the_keys_of_today(site: Site):
    source = made(site)
    event = stored(site, source, signed(site, source, MESSAGE, Key(secret=b"app-key-of-today")))
    good = verified(site, f"events/{event}")

    site.call("PATCH", f"apps/{source['app_id']}", {"app_key": "another"}, if_match="*")
    bad = verified(site, f"events/{event}")

    found = (good["proof_then"], good["proof"], good["key_ids"], good["reason"])
    assert found == ("sender", "sender", ["app"], None)
    assert (bad["proof"], bad["key_ids"]) == (None, [])
    assert "does not match for the callback domain hub.test" in bad["reason"]


def test_a_refused_request_verifies_once_its_key_is_there(site: Site):
    """The key is made after the request came: it is tried all the same, and it alone is named."""
    source = made(site)
    receipt = Receipt(
        source_id=source["id"],
        received_at=THEN,
        request=signed(site, source, MESSAGE, Key(secret=b"late")),
        proof=Proof.NONE,
    )
    site.runner.run(site.log.quarantine(receipt, "signature", "no"))
    (refused,) = site.call("GET", "quarantine").json["items"]
    before = verified(site, f"quarantine/{refused['id']}")
    since = (THEN + timedelta(hours=6)).isoformat()
    keys = [{"id": "wrong", "secret": "x"}, {"id": "right", "secret": "late", "valid_from": since}]
    site.call("PATCH", f"sources/{source['id']}", {"keys": keys}, if_match="*")

    after = verified(site, f"quarantine/{refused['id']}")

    assert before["proof"] is None
    assert (after["proof_then"], after["proof"], after["key_ids"]) == ("none", "sender", ["right"])


def test_the_url_that_is_checked_is_the_one_told_today(site: Site):
    source = made(site)
    elsewhere = source | {"intake_url": "https://own.test/cb"}
    event = stored(site, source, signed(site, elsewhere, MESSAGE, Key(secret=b"app-key-of-today")))
    before = verified(site, f"events/{event}")
    site.call("PATCH", f"sources/{source['id']}", {"public_url": "https://own.test/cb"}, if_match="*")

    after = verified(site, f"events/{event}")

    assert (before["proof"], after["proof"]) == (None, "sender")
    assert after["request"]["url"] == "https://own.test/cb"


def test_tokens_and_signatures_are_masked(site: Site):
    source = made(site)
    request = signed(site, source, MESSAGE, Key(secret=b"app-key-of-today"))
    event = stored(site, source, request)

    body = site.call("POST", f"events/{event}/verify").body.decode()

    token = source["intake_url"].rpartition("/")[2]
    assert token not in body
    assert (request.header("ali-rtc-signature") or "?") not in body
    assert "app-key-of-today" not in body


def test_a_certificate_is_fetched_and_named(site: Site):
    source = made(site, "aliyun_cvc", keys=[{"id": "tok", "kind": "token", "secret": "t0ken"}])
    made_now = new_certificate(datetime.now(UTC), datetime.now(UTC))
    key = Key(kind=KeyKind.RSA, secret=made_now.secret, url=CERTIFICATE)
    said = {"meetingUUID": "r", "action": "meeting_start", "time": 1}
    words = {"id": "1", "source": "acs.aliyuncvc", "type": "aliyuncvc:MeetingEvent:MeetingStateEvent", "data": said}
    request = signed(site, source, words, key, Key(kind=KeyKind.TOKEN, secret=b"t0ken"))
    event = stored(site, source, request, Proof.FRESH)
    asked: list[str] = []

    async def certificate_at(url: str) -> Key:
        asked.append(url)
        if len(asked) > 1:
            raise SignatureError("the signing certificate could not be fetched: its address answers 404")
        return Key(kind=KeyKind.CERTIFICATE, secret=made_now.pem.encode(), url=url)

    site.app = api.make_api(dataclasses.replace(site.web.hub, certificate_at=certificate_at))

    good, bad = verified(site, f"events/{event}"), verified(site, f"events/{event}")
    body = site.call("POST", f"events/{event}/verify").body.decode()

    assert good["reason"] is None
    assert asked[:2] == [CERTIFICATE] * 2
    assert (good["proof"], good["key_ids"], good["certificate_urls"]) == ("fresh", ["tok"], [CERTIFICATE])
    assert (bad["proof"], bad["reason"]) == (
        None,
        "the signing certificate could not be fetched: its address answers 404",
    )
    for name in ("x-eventbridge-signature", "x-eventbridge-signature-v2", "x-eventbridge-signature-token"):
        assert (request.header(name) or "?") not in body


def test_what_cannot_be_verified_again_says_why(site: Site):
    source = made(site, "avd", keys=[{"secret": "k", "valid_until": (THEN + timedelta(hours=1)).isoformat()}])
    ids = site.received(source, event="open", room_id="r", trace_id="t")
    expired = verified(site, f"events/{ids[0]}")
    site.call("DELETE", f"sources/{source['id']}")

    deleted = site.call("POST", f"events/{ids[0]}/verify")

    assert expired["reason"] == "every key of this source has expired; add a valid one"
    assert (deleted.status, deleted.json["code"]) == (409, "conflict")
    assert site.call("POST", "quarantine/99/verify").status == 404
    assert site.call("POST", "quarantine/x/verify").status == 404


def test_only_admins_of_the_app_verify(site: Site):
    source, other = made(site), made(site)
    event = stored(site, source, signed(site, source, MESSAGE, Key(secret=b"app-key-of-today")))

    assert site.call("POST", f"events/{event}/verify", key=site.key_for(other["app_id"])).status == 404
    assert site.call("POST", f"events/{event}/verify", key=site.key_for(source["app_id"], "reader")).status == 403
    assert site.call("POST", f"events/{event}/verify", key=site.key_for(source["app_id"])).status == 200


def test_verifying_changes_nothing(site: Site):
    source = made(site)
    event = stored(site, source, signed(site, source, MESSAGE, Key(secret=b"app-key-of-today")))
    before = (site.web.control.get(Source, source["id"]), site.web.control.get(App, source["app_id"]), site.log.commits)

    verified(site, f"events/{event}")

    after = (site.web.control.get(Source, source["id"]), site.web.control.get(App, source["app_id"]), site.log.commits)
    assert before == after
