"""translate, match, vectors check, config: what they print, and how they end."""

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest
from running import run

from northbound.backends.sqlite.database import open_writer
from northbound.cli import talking
from northbound.cli.output import shown
from northbound.hub.demo import free_ports
from northbound.testing.replay_stream import sample_path
from northbound.testing.vectors import vector_folder

LEAVE = {
    "method": "GET",
    "url": "http://hub.test/in/x?room_id=9&event=leave&event_type=normal&user_id=1&endpoint_type=web&user_name=shan",
}


@pytest.fixture
def leave(tmp_path: Path) -> str:
    path = tmp_path / "leave.json"
    path.write_text(json.dumps(LEAVE, indent=2))
    return str(path)


def test_translate_says_a_request_in_another_wire(leave: str) -> None:
    """The request, every loss and every invention."""
    done = run("translate", "--from", "avd", "--to", "aliyun_rtc", leave, "--json")

    assert done.exit_code == 0, done.output
    (event,) = json.loads(done.stdout)["events"]
    assert event["event"] == "participant.left"
    assert event["requests"][0]["json"]["Contents"][0]["UserEvent"]["EventTag"] == "Leave"
    assert "facts.name" in event["lost"]
    assert "SessionId" in event["invented"]


def test_translate_prints_for_people(leave: str) -> None:
    done = run("translate", "--from", "avd", "--to", "mpaas", leave)

    assert done.exit_code == 0
    assert "POST http://receiver.test/callback" in done.stdout
    assert "lost: " in done.stdout
    assert "invented: " in done.stdout
    assert "\x1b[" not in done.stdout


HOSTILE = "=1+1\x1b]0;t\x07\x9b2J\x7f<script>\u202egnp.exe\u2066\u200b\U000e0041\r\nroom closed"


def test_names_that_steer_a_terminal_are_made_visible(tmp_path: Path) -> None:
    """T6: scripts and formulas stand there as text; escapes, hidden and reversed letters, and line breaks are named."""
    path = tmp_path / "join.json"
    query = urlencode({"event": "join", "room_id": HOSTILE, "user_id": "1", "user_name": HOSTILE, "trace_id": "t"})
    path.write_text(json.dumps({"method": "POST", "url": "http://hub.test/in/x", "body": query}))
    words = ("translate", "--from", "avd", "--to", "mpaas", str(path))

    said, as_json = run(*words).stdout, run(*words, "--json").stdout
    line = shown(HOSTILE)

    assert all(one.isprintable() or one == "\n" for one in said + as_json + line)
    assert json.loads(as_json)["events"][0]["requests"][0]["json"]["roomId"] == HOSTILE
    assert line.startswith(
        "=1+1\\x1b]0;t\\x07\\x9b2J\\x7f<script>\\u202egnp.exe\\u2066\\u200b\\U000e0041\\x0d\\x0aroom"
    )


def test_an_event_of_others_is_one_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """T6: a name with a line break cannot pass for another event of `listen`."""
    talking._print_forwarded({"type": "room.opened", "subject": HOSTILE}, {"accepted": True, "status": 200, "ms": 1})

    assert len(capsys.readouterr().out.splitlines()) == 1


def test_translate_to_the_own_wire_changes_nothing(leave: str) -> None:
    done = run(
        "translate", "--from", "avd", "--to", "avd", leave, "--json", "--method", "GET", "--url", "http://r.test/c"
    )

    (event,) = json.loads(done.stdout)["events"]
    assert event["requests"][0]["url"] == "http://r.test/c?" + LEAVE["url"].partition("?")[2]
    assert event["lost"] == event["invented"] == []


def test_translate_reads_a_plain_body_from_standard_input() -> None:
    body = '{"eventCode":2,"uid":"u","bizName":"b","bizRequestId":7,"roomId":"r"}'

    done = run("translate", "--from", "mpaas", "--to", "avd", "-", "--json", given=body)

    assert json.loads(done.stdout)["events"][0]["event"] == "participant.joined"


def test_translate_reads_a_stream_line_by_line_and_concludes() -> None:
    """A wire without room events gets the rooms' openings said."""
    done = run("translate", "--from", "janus", "--to", "anyrtc", str(sample_path()), "--json")

    events = json.loads(done.stdout)["events"]
    assert next(event["event"] for event in events if event["concluded"]) == "room.opened"
    assert sum(len(event["requests"]) for event in events) > 10


def test_translate_verifies_and_signs(leave: str) -> None:
    unsigned = run("translate", "--from", "avd", "--to", "mpaas", leave, "--secret", "k")
    signed = run("translate", "--from", "avd", "--to", "mpaas", leave, "--to-secret", "k", "--json")

    assert unsigned.exit_code == 4
    assert "X-Northbound-Signature" in json.loads(signed.stdout)["events"][0]["requests"][0]["headers"]


def test_translate_without_a_word_for_it_is_a_no() -> None:
    request = '{"method":"GET","url":"http://hub.test/in/x?room_id=9&event=never_heard_of"}'

    done = run("translate", "--from", "avd", "--to", "mpaas", "-", given=request)

    assert done.exit_code == 1
    assert "has no word" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("translate", "--from", "nope", "--to", "avd", "-"), "there is no dialect 'nope'"),
        (("translate", "--from", "avd", "--to", "avd", "/no/such/file"), "cannot be read"),
        (("translate", "--from", "mpaas", "--to", "avd", "-"), "not JSON"),
        (("translate", "--from", "avd", "--to", "avd", "-", "--to-option", "x=1"), "has no option 'x'"),
        (("match", "--pattern", "{", "--event", "-"), "not valid"),
        (("match", "--pattern", "{}", "--event", "-"), "not JSON"),
        (("match", "--pattern", "{}", "--event", "-", "--view", "nope"), "there is no dialect"),
        (("serve", "--listen", "nowhere"), "listen is host:port"),
        (("serve", "--config", "/no/such.toml"), "there is no configuration file"),
        (("rebuild", "--verify", "--data", "/no/such/folder"), "--data"),
        (("log", "verify", "--data", "/no/such/folder"), "--data"),
        (("sink", "--port", "0", "--dialect", "avd", "--fail", "sometimes"), "fail with a status"),
        (("trigger", "--dialect", "avd"), "--event and --url"),
        (("trigger", "--dialect", "avd", "--event", "nope", "--url", "http://127.0.0.1:1"), "has no event 'nope'"),
        (("replay",), "choose what to send again"),
        (("replay", "--since", "yesterday", "--endpoint", "ep_1"), "15m, 2h, 1d"),
        (("listen", "1", "--server", "gopher://x"), "--server is a URL"),
    ],
)
def test_wrong_input_is_one_line_that_says_what_to_do(arguments: tuple[str, ...], says: str) -> None:
    """Exit code 2, no traceback."""
    done = run(*arguments, given="no json", NORTHBOUND_API_KEY="nb_x")

    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output
    assert len(done.stderr.splitlines()) == 1


def test_errors_are_json_where_json_is_asked_for() -> None:
    done = run("translate", "--from", "nope", "--to", "avd", "-", "--json")

    assert json.loads(done.stderr)["error"] == "invalid"


def test_unknown_commands_and_options_are_usage() -> None:
    assert run("nope").exit_code == 2
    assert run("serve", "--nope").exit_code == 2
    assert run("translate").exit_code == 2


def test_every_help_names_the_exit_codes() -> None:
    for command in ("", "serve", "translate", "trigger", "sink", "match", "listen", "replay", "rebuild"):
        done = run(*filter(None, (command,)), "--help")

        assert done.exit_code == 0
        assert "Exit codes: 0 ok;" in done.stdout.replace("\n  ", " ")


# --- match -----------------------------------------------------------------------------------------------------------


def test_match_explains_field_by_field(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"type":"participant.left","data":{"facts":{"reason":"kicked"}}}')
    pattern = tmp_path / "pattern.json"
    pattern.write_text('{"type":["participant.left"],"data":{"facts":{"reason":["normal"]}}}')

    done = run("match", "--pattern", f"@{pattern}", "--event", str(event), "--json")

    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["view"] == "standard"
    assert [finding["matched"] for finding in said["events"][0]["findings"]] == [True, False]


def test_match_of_a_request_says_which_view_it_used(leave: str) -> None:
    standard = run("match", "--pattern", '{"type":["participant.left"]}', "--event", leave, "--from", "avd")
    bus = run(
        *("match", "--pattern", '{"type":["aliyuncvc:MeetingEvent:MemberStateEvent"]}', "--event", leave),
        *("--from", "avd", "--view", "aliyun_cvc"),
    )

    assert standard.exit_code == 0
    assert "view: standard" in standard.stdout
    assert bus.exit_code == 0
    assert "view: aliyun_cvc" in bus.stdout


# --- vectors ---------------------------------------------------------------------------------------------------------


def test_vectors_check_counts_both_directions() -> None:
    """The five in their fixed order, one line in, one out."""
    done = run("vectors", "check")

    assert done.exit_code == 0, done.output
    five = "avd 13/13 · aliyun_cvc 4/4 · mpaas 25/25 · aliyun_rtc 7/7 · anyrtc 17/17 + 10/10"
    assert [f"in   {five}", f"out  {five}"] == done.stdout.splitlines()[:2]


def test_vectors_check_names_what_fails(tmp_path: Path) -> None:
    folder = tmp_path / "avd"
    folder.mkdir()
    words = json.loads((vector_folder() / "avd" / "participant.json").read_text())
    words["cases"][0]["events"][0]["room_id"] = "another"
    (folder / "participant.json").write_text(json.dumps(words))

    done = run("vectors", "check", "--folder", str(tmp_path))

    assert done.exit_code == 1
    assert words["cases"][0]["name"] in done.stdout


# --- settings --------------------------------------------------------------------------------------------------------


def test_config_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "northbound.toml"
    file.write_text('listen = "127.0.0.1:1"\nintake = "127.0.0.1:2"\n')

    done = run("config", "show", "--origin", "--config", str(file), "--json", NORTHBOUND_INTAKE="127.0.0.1:3")

    shown = json.loads(done.stdout)
    assert shown["listen"] == {"value": "127.0.0.1:1", "origin": str(file)}
    assert shown["intake"] == {"value": "127.0.0.1:3", "origin": "environment"}
    assert shown["data"]["origin"] == "default"


def test_config_show_hides_a_proxys_password() -> None:
    done = run("config", "show", NORTHBOUND_EGRESS_PROXY="http://me:pw@proxy.test:3128")

    assert 'egress_proxy = "http://***@proxy.test:3128"' in done.stdout
    assert "pw" not in done.stdout


def test_config_check_refuses_what_serve_would() -> None:
    assert run("config", "check").exit_code == 0
    assert run("config", "check", NORTHBOUND_NOPE="1").exit_code == 2
    assert run("config", "check", NORTHBOUND_ALLOW_TARGETS="10.0.0.0/99").exit_code == 2


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("horizon_days", "-1", "horizon_days is from 1 to 3650, not -1"),
        ("horizon_days", "999999999999", "horizon_days is from 1 to 3650"),
        ("attempts_days", "0", "attempts_days is from 1 to 3650"),
        ("body_limit", "0", "body_limit is from 1"),
        ("pending_bytes", "10", "pending_bytes must not be below body_limit"),
        ("max_connections", "0", "max_connections is from 1"),
        ("lease_seconds", "inf", "lease_seconds is above 0 and at most"),
        ("wait_scale", "nan", "wait_scale is above 0 and at most"),
        ("endpoint_fails_hours", "1e12", "endpoint_fails_hours is from 0 to"),
        ("log_format", "xml", "log_format is one of: auto, console, json"),
        ("log_level", "loud", "log_level is one of: debug, info, warning, error"),
        ("egress_proxy", "http://me:pw@", "egress_proxy is written http://host:port"),
        ("trusted_proxies", "nobody", "trusted_proxies"),
        ("intake", "127.0.0.1:7070", "listen and intake are the same address"),
        ("data", "", "data names the folder"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_can(name: str, value: str, says: str) -> None:
    """It is found before anything starts, and not by a process that dies again and again."""
    done = run("config", "check", **{f"NORTHBOUND_{name.upper()}": value})

    assert done.exit_code == 2
    assert says in done.stderr
    assert "pw" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_certificate_that_is_none_is_refused_before_the_start(tmp_path: Path) -> None:
    file = tmp_path / "no.pem"
    file.write_text("no certificate")

    done = run("config", "check", NORTHBOUND_TLS_CERT=str(file), NORTHBOUND_TLS_KEY=str(file))

    assert done.exit_code == 2
    assert "cannot be used" in done.stderr


@pytest.mark.parametrize("name", ["nonces.db", "events.db"])
def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).write_bytes(b"no database" * 1000)
    (web, intake) = free_ports(2)

    done = run("serve", "--data", str(folder), "--listen", f"127.0.0.1:{web}", "--intake", f"127.0.0.1:{intake}")

    assert done.exit_code == 2
    assert f"{name} cannot be used" in done.stderr
    assert ("northbound backup" if name == "events.db" else "remove it") in done.stderr


@pytest.mark.parametrize("name", ["deliveries", "control"])
def test_a_folder_that_a_newer_version_wrote_is_refused(tmp_path: Path, name: str) -> None:
    """Going back takes the backup that was made before: migrations only go forward."""
    path = tmp_path / "data" / f"{name}.db"
    connection = open_writer(path, name)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    (web, intake) = free_ports(2)

    done = run("serve", "--data", str(path.parent), "--listen", f"127.0.0.1:{web}", "--intake", f"127.0.0.1:{intake}")

    assert done.exit_code == 2
    assert f"{name}.db cannot be used" in done.stderr
    assert "run that version or newer" in done.stderr


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    done = run("serve", "--data", str(tmp_path / "file" / "data"))

    assert done.exit_code == 2
    assert "choose another --data" in done.stderr


def test_variables_of_the_client_are_no_settings() -> None:
    done = run("config", "check", NORTHBOUND_API_KEY="nb_secret", NORTHBOUND_SERVER="http://hub.test")

    assert done.exit_code == 0
