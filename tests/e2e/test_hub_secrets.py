"""T8: a known secret in every place that takes one shows up nowhere it was not asked for."""

import json
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.hub import Hub, send
from e2e.receiver import Receiver, Reply, wait_until
from e2e.vendors import avd, callback, notice
from northbound.model.app import Source
from northbound.model.wire import Key, KeyKind, Request

pytestmark = pytest.mark.e2e

CANARY = "canary7f3a"  # in every secret of this test, and nowhere else


def secret(name: str) -> str:
    return f"{CANARY}-{name}"


LISTS = (
    "apps sources endpoints subscriptions events quarantine rooms recordings deliveries dead-letters stats dialects "
    "audit keys"
).split()
LOGIN = f"user:{CANARY}-basic"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A hub whose every secret is a canary, set up through the API, and what was asked of it."""

    def __init__(self, hub: Hub, receiver: Receiver) -> None:
        self.hub = hub
        self.receiver = receiver
        self.made: list[str] = []  # answers that may hold secrets: of what was just made
        app = self.make("apps", {"name": "canary", "app_key": secret("app-key")})
        self.app_id = app["id"]
        self.avd = self._source(
            "avd", [{"secret": secret("source")}, {"kind": "token", "secret": secret("callback-token")}]
        )
        self.janus = self._source("janus", [{"secret": LOGIN}])
        self.anyrtc = self._source("anyrtc", [{"secret": secret("notice")}])
        self.endpoints = [
            self._endpoint(one) for one in ("standard", "avd", "mpaas", "anyrtc", "aliyun_rtc", "aliyun_cvc")
        ]
        subscription = {"app_id": self.app_id, "pattern": '{"type":[{"exists":true}]}', "endpoint_ids": self.endpoints}
        self.make("subscriptions", subscription)
        self.reader = self.make("keys", {"name": "reader"})["secret"]

    def make(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.hub.api("POST", f"/api/v1/{kind}", body)
        assert status == 201, answer
        self.made.append(json.dumps(answer))
        return answer

    def _source(self, dialect: str, keys: list[dict[str, str]]) -> Source:
        made = self.make("sources", {"app_id": self.app_id, "name": dialect, "dialect": dialect, "keys": keys})
        token = made["intake_url"].rpartition("/")[2]
        kept = tuple(Key(kind=KeyKind(one.get("kind", "shared")), secret=one["secret"].encode()) for one in keys)
        return Source(
            id=made["id"], app_id=self.app_id, name=dialect, dialect=dialect, token=token, created_at=CREATED, keys=kept
        )

    def _endpoint(self, dialect: str) -> str:
        body: dict[str, Any] = {
            "app_id": self.app_id, "dialect": dialect, "url": self.receiver.url(f"{dialect}-canary"),
            "retry": {"attempts": 2, "waits_seconds": [1]},
        }  # fmt: skip
        if dialect not in {"aliyun_rtc", "aliyun_cvc"}:
            body["keys"] = [{"secret": secret(f"endpoint-{dialect}")}]
        return self.make("endpoints", body)["id"]

    def tokens(self) -> list[str]:
        return [one.token for one in (self.avd, self.janus, self.anyrtc)]


@pytest.fixture(scope="module")
def world(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("secrets") / "data"
    with Hub(folder, allow_targets=[receiver.address], log_level="debug") as hub:
        hub.start()
        world = World(hub, receiver)
        time.sleep(0.5)
        provoke(world)
        yield world


def provoke(world: World) -> None:
    """Let everything happen that could say too much: good, wrong, malformed, failing, refused."""
    hub, receiver = world.hub, world.receiver
    for dialect, reply in {
        "standard": Reply(status=500, body=b"no"),
        "avd": Reply(hang_up=True),
        "anyrtc": Reply(status=302, headers=(("location", "http://elsewhere.test/x"),), body=b""),
    }.items():
        receiver.behave(f"{dialect}-canary", lambda _, reply=reply: reply)
    basic = ("authorization", "Basic " + b64encode(LOGIN.encode()).decode())
    janus = hub.intake_url(world.janus)
    requests = [
        callback(hub, world.avd, avd("open", "r"), method="GET"),
        callback(hub, world.avd, avd("join", "r", "u")),
        callback(hub, world.avd, avd("join", "r", None), method="GET"),  # lacks its user
        callback(hub, world.anyrtc, notice(101, "r2")),
        Request(method="POST", url=janus, headers=(basic,), body=b'[{"type":4096}]'),
        Request(method="POST", url=janus, headers=(basic,), body=b"not json"),
        Request(method="POST", url=janus, headers=(("authorization", f"Bearer {secret('wrong')}"),), body=b"{}"),
        Request(method="GET", url=f"{hub.intake_url(world.avd)}?event=open&token={secret('wrong')}&room_id=%zz"),
        Request(method="GET", url=f"{hub.intake_url(world.avd)}-{secret('wrong')}?event=open"),
        Request(method="POST", url=f"http://{hub.config.intake}/in/x/{secret('wrong')}", body=b"x" * 2_000_000),
    ]
    for one in requests:
        try:
            send(one)
        except OSError:  # cut off while it sends too much
            continue
    for key in (secret("admin"), world.reader):
        hub.api("POST", "/api/v1/apps", {"name": "x", "app_key": 7, "nothing": secret("wrong")}, key=key)
        hub.api(
            "POST",
            "/api/v1/endpoints",
            {"app_id": world.app_id, "dialect": "avd", "url": f"http://u:{secret('url')}@10.0.0.1/"},
        )
    hub.command(do="test", endpoint_id=world.endpoints[0])
    wait_until(lambda: is_quiet(world), 30, "every delivery to be delivered or dead")
    with_kills(world)


def is_quiet(world: World) -> bool:
    states = [row[0] for row in world.hub.rows("deliveries", "SELECT state FROM deliveries")]
    return len(states) > 10 and "waiting" not in states


def with_kills(world: World) -> None:
    for name in ("intake", "delivery", "web"):
        world.hub.kill(name)
    world.hub.wait_ready()


def searched(world: World) -> list[str]:
    """Return everything that no answer and no line may show: the canary in any spelling, tokens, keys."""
    spelled = [CANARY, CANARY.upper(), CANARY.encode().hex(), *in_base64(CANARY)]
    return [*spelled, *world.tokens(), world.hub.admin_key, world.reader]


def in_base64(text: str) -> list[str]:
    """Return the part of *text* that is the same in base64 whatever stands before and after it, at each alignment."""
    return [b64encode(b" " * shift + text.encode())[4 if shift else 0 : -4].decode() for shift in range(3)]


def assert_clean(world: World, text: str, where: str) -> None:
    for one in searched(world):
        assert one not in text, f"{where} shows {one[:12]}…: …{text[max(0, text.index(one) - 200) :][:400]}"


def test_the_canary_was_where_it_should_be(world: World) -> None:
    """The test would find it: what was made answered with it, and it signs."""
    assert CANARY in "".join(world.made)
    kept = "".join(str(row[0]) for row in world.hub.rows("control", "SELECT CAST(body AS TEXT) FROM objects"))
    assert any(one in kept for one in in_base64(CANARY))
    assert len(world.hub.rows("events", "SELECT 1 FROM log")) == 4


@pytest.mark.parametrize("name", ["supervisor", "intake", "delivery", "web"])
def test_no_process_says_a_secret(world: World, name: str) -> None:
    """Not one line of standard error, at debug level, over refusals, failures and kills."""
    said = world.hub.logs(name)

    assert said or name == "web"
    assert_clean(world, said, name)
    assert "Traceback" not in said


@pytest.mark.parametrize("role", ["admin", "reader"])
def test_no_answer_of_the_api_shows_a_secret(world: World, role: str) -> None:
    """Every list and detail, for both roles: events, requests, tries, refusals, audit, figures."""
    key = world.reader if role == "reader" else None
    paths = ["/metrics", "/healthz", "/readyz", "/", "/certs/callback.pem", "/api/v1/openapi.json"]
    paths += [f"/api/v1/{kind}" for kind in LISTS]
    paths.append(f"/api/v1/stats/daily?app_id={world.app_id}")
    shown = 0
    while paths:
        path = paths.pop()
        status, answer = world.hub.api("GET", path, key=key)
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        assert status == 200 or (status == 403 and role == "reader"), (path, status, text[:300])
        # An intake URL is how an admin tells a vendor its address; to everybody else its token is masked.
        is_told = role == "admin" and path.startswith("/api/v1/sources")
        assert_clean(world, _without_tokens(world, text) if is_told else text, f"{role} GET {path}")
        shown += 1
        paths += details(path, answer)
    assert shown > (60 if role == "admin" else 50)


def _without_tokens(world: World, text: str) -> str:
    for token in world.tokens():
        text = text.replace(token, "")
    return text


def details(path: str, answer: Any) -> list[str]:
    """Return the paths of what a list holds."""
    kind = path.removeprefix("/api/v1/")
    if not isinstance(answer, dict) or "items" not in answer:
        return []
    match kind:
        case "deliveries":
            numbers = [one["number"] for one in answer["items"]]
            return [f"/api/v1/deliveries/{one}{rest}" for one in numbers for rest in ("", "/attempts")]
        case "events":
            return [f"/api/v1/events/{one['id']}" for one in answer["items"]]
        case "apps" | "sources" | "endpoints" | "subscriptions":
            return [f"/api/v1/{kind}/{one['id']}" for one in answer["items"]]
        case _:
            return []


def test_a_refused_call_does_not_repeat_what_it_was_given(world: World) -> None:
    """Problems name the field, never its value."""
    bodies = [
        ("/api/v1/endpoints", {"app_id": world.app_id, "dialect": "avd", "url": f"http://u:{secret('url')}@10.0.0.1/"}),
        (
            "/api/v1/sources",
            {"app_id": world.app_id, "name": "x", "dialect": "avd", "keys": [{"secret": 7, "kind": secret("kind")}]},
        ),
        ("/api/v1/apps", {"name": "x", "app_key": {"a": secret("app")}}),
    ]

    for path, body in bodies:
        status, answer = world.hub.api("POST", path, body)
        assert 400 <= status < 500
        assert CANARY not in json.dumps(answer), path
    status, answer = world.hub.api("GET", "/api/v1/apps", key=secret("admin"))
    assert status == 401
    assert CANARY not in json.dumps(answer)


def test_command_lines_hold_no_secret(world: World) -> None:
    """Other users of the machine see command lines."""
    for pid in world.hub.children().values():
        assert_clean(world, Path(f"/proc/{pid}/cmdline").read_text(), "a command line")
