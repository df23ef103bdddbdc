"""listen and replay against a hub that answers as the real one does."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from running import as_json, hub_beside, run, sink_beside

from northbound.cli.client import Client, connect, local
from northbound.model.errors import Conflict, Forbidden, InvalidInput, NotFound, Overloaded, Unauthorized
from northbound.model.wire import Key
from northbound.testing.sink import Mount

WORDS = {"specversion": "1.0", "id": "ev_1", "source": "northbound/a", "type": "room.opened", "subject": "r"}
DATA = {"dialect": "avd", "room_id": "r"}


def stream_of(*events: dict[str, Any]) -> bytes:
    said = [f"id: {event['offset']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return "".join((": northbound\n\n", *said)).encode()


def test_listen_forwards_each_event_as_a_signed_standard_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody knows is left out unless asked for; the stream is taken up where it ended."""
    monkeypatch.setattr("northbound.cli.talking.AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("northbound.cli.talking.AGAIN_MOST", 0.0)
    streams = [
        stream_of(
            {"id": "ev_0", "offset": 6, "type": "unknown"},
            {"id": "ev_gone", "offset": 7, "type": "room.closed"},
            {"id": "ev_1", "offset": 8, "type": "room.opened"},
        )
    ]

    def answer(method: str, path: str, body: Any) -> tuple[int, bytes, str]:
        if path.startswith("/api/v1/events/stream"):
            return (200, streams.pop(), "text/event-stream") if streams else as_json(401, {"detail": "enough"})
        if path == "/api/v1/events/ev_1/views/standard":
            return as_json(200, {"views": [{"words": WORDS | {"data": DATA}}]})
        return as_json(404, {"detail": "there is no event"})

    with (
        hub_beside(answer) as hub,
        sink_beside(Mount(path="/cb", dialect="standard", keys=(Key(secret=b"s"),))) as sink,
    ):
        done = run(
            *("listen", str(sink.port), "--path", "cb", "--server", hub.url, "--key", "nb_1", "--secret", "s", "--json")
        )

    assert done.exit_code == 4, done.output
    (line,) = done.stdout.splitlines()
    assert tuple(json.loads(line)[name] for name in ("id", "type", "room", "accepted")) == (
        "ev_1",
        "room.opened",
        "r",
        True,
    )
    assert (sink.tallies["/cb"].requests, sink.tallies["/cb"].verified) == (1, 1)
    assert "after=8" in hub.calls[-1][1]
    assert {"Bearer nb_1"} == {headers["authorization"] for *_, headers, _ in hub.calls}


def test_listen_says_when_nothing_listens_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [stream_of({"id": "ev_1", "offset": 8, "type": "room.opened"})]
    monkeypatch.setattr("northbound.cli.talking.AGAIN_SECONDS", 0.0)

    def answer(method: str, path: str, body: Any) -> tuple[int, bytes, str]:
        if path.startswith("/api/v1/events/stream"):
            return (200, streams.pop(), "text/event-stream") if streams else as_json(403, {"detail": "enough"})
        return as_json(200, {"views": [{"words": WORDS | {"data": DATA}}]})

    with hub_beside(answer) as hub:
        done = run("listen", "1", "--server", hub.url, "--key", "nb_1")

    assert "nothing answers at http://127.0.0.1:1/" in done.stdout


def replays(count: int, asked: list[Any]) -> Any:
    def answer(method: str, path: str, body: Any) -> tuple[int, bytes, str]:
        if method == "GET":
            result = {"command_id": "cmd_1", "do": "replay", "state": "done", "result": {"count": count}}
            return as_json(200, result)
        asked.append(body)
        return (
            as_json(200, {"count": count}) if body["dry_run"] else as_json(202, {"count": count, "command_id": "cmd_1"})
        )

    return answer


def test_replay_shows_the_number_and_asks_first() -> None:
    asked: list[Any] = []
    with hub_beside(replays(42, asked)) as hub:
        said_no = run("replay", "--failed", "--server", hub.url, "--key", "k", given="n\n")
        said_yes = run("replay", "--failed", "--server", hub.url, "--key", "k", given="y\n")

    assert said_no.exit_code == 1
    assert "send 42 deliveries again?" in said_no.stdout
    assert said_yes.exit_code == 0
    assert [body["dry_run"] for body in asked] == [True, True, False]


def test_replay_with_yes_does_not_ask() -> None:
    asked: list[Any] = []
    with hub_beside(replays(3, asked)) as hub:
        done = run(
            *("replay", "--endpoint", "ep_1", "--since", "2h", "--yes", "--json", "--server", hub.url, "--key", "k")
        )

    assert json.loads(done.stdout) == {"count": 3, "command_id": "cmd_1", "state": "done"}
    assert asked[-1]["endpoint_id"] == "ep_1"
    assert asked[-1]["since"] < asked[-1]["until"]


def test_replay_that_nobody_can_confirm_says_what_to_add() -> None:
    """From cron or a pipe that ends: it is not taken for an interruption."""
    asked: list[Any] = []
    with hub_beside(replays(42, asked)) as hub:
        done = run("replay", "--failed", "--server", hub.url, "--key", "k", given="")

    assert done.exit_code == 2
    assert "send 42 deliveries again?" in done.stderr
    assert "add --yes" in done.stderr
    assert [one["dry_run"] for one in asked] == [True]


def test_replay_of_nothing_is_a_no() -> None:
    with hub_beside(replays(0, [])) as hub:
        done = run("replay", "--number", "7", "--server", hub.url, "--key", "k", "--yes")

    assert done.exit_code == 1


def test_replay_in_json_never_waits_for_an_answer() -> None:
    with hub_beside(replays(2, [])) as hub:
        done = run("replay", "--failed", "--json", "--server", hub.url, "--key", "k")

    assert done.exit_code == 2
    assert "--yes" in json.loads(done.stderr)["message"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (422, InvalidInput),
        (429, Overloaded),
        (500, Overloaded),
        (503, Overloaded),
    ],
)
def test_refusals_become_errors_with_the_hubs_words(status: int, kind: type[Exception]) -> None:
    with (
        hub_beside(lambda *_: as_json(status, {"detail": "do this instead"})) as hub,
        pytest.raises(kind, match="do this"),
    ):
        Client(hub.url, "k").call("GET", "/apps")


def test_nobody_there_says_so_and_ends_with_3() -> None:
    done = run("replay", "--failed", "--server", "http://127.0.0.1:1", "--key", "nb_hidden")

    assert done.exit_code == 3
    assert "northbound serve" in done.stderr
    assert "nb_hidden" not in done.output


def test_what_is_no_hub_is_told_apart() -> None:
    with hub_beside(lambda *_: (200, b"<html>", "text/html")) as hub:
        done = run("replay", "--failed", "--server", hub.url, "--key", "k")

    assert done.exit_code == 3
    assert "check --server" in done.stderr


def test_the_key_comes_from_the_data_folder_where_none_is_given(tmp_path: Path) -> None:
    missing = run("replay", "--failed", "--data", str(tmp_path))
    (tmp_path / "admin.key").write_text("nb_from_file\n")
    with hub_beside(lambda *_: as_json(200, {"count": 0})) as hub:
        run("replay", "--failed", "--data", str(tmp_path), "--server", hub.url)

    assert missing.exit_code == 4
    assert "admin.key" in missing.stderr
    assert hub.calls[0][2]["authorization"] == "Bearer nb_from_file"


def test_the_server_is_the_one_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORTHBOUND_LISTEN", "0.0.0.0:7999")

    assert connect(None, "k", None).server == "http://127.0.0.1:7999"
    assert local("[::]:1") == "127.0.0.1:1"
    assert local("10.0.0.1:1") == "10.0.0.1:1"


def test_calls_can_be_made_from_several_threads() -> None:
    with hub_beside(lambda *_: as_json(200, {"ok": 1})) as hub:
        client = Client(hub.url, "k")
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(client.call("GET", "/x"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    assert results == [{"ok": 1}] * 8


def checked(**more: Any) -> dict[str, Any]:
    one = {"id": 7, "received_at": "2026-01-01T00:00:00Z", "proof_then": "none", "proof": None, "reason": "no \x1b[31m"}
    return one | {"key_ids": [], "certificate_urls": []} | more


def test_events_verify_says_what_each_request_proves_and_by_which_key() -> None:
    asked: list[str] = []

    def answer(method: str, path: str, body: Any) -> tuple[int, bytes, str]:
        asked.append(f"{method} {path}")
        good = checked(proof="sender", key_ids=["app"], reason=None)
        return as_json(200, {"items": [good] if "quarantine" in path else [good, checked()]})

    with hub_beside(answer) as hub:
        bad = run("events", "verify", "ev_1/x", "--server", hub.url, "--key", "nb_1")
        good = run("events", "verify", "7", "--refused", "--server", hub.url, "--key", "nb_1")

    assert asked == ["POST /api/v1/events/ev_1%2Fx/verify", "POST /api/v1/quarantine/7/verify"]
    assert (bad.exit_code, good.exit_code) == (1, 0)
    assert "proves: sender, by app; then: none" in good.stdout
    assert "does not verify: no" in bad.stdout
    assert "\x1b" not in bad.stdout
