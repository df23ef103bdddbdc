"""The captured stream is posted as its media server would: grouped, paced, again when refused."""

import json
import threading
from pathlib import Path

import pytest
from running import as_json, hub_beside

from northbound.model.errors import InvalidInput
from northbound.testing.replay_stream import StreamReplay, StreamStopped, main, read_groups, sample_path


def written(path: Path, *offsets_ms: int) -> Path:
    lines = [json.dumps({"type": 1, "n": n, "timestamp": 1_000_000 + ms * 1000}) for n, ms in enumerate(offsets_ms)]
    path.write_text("\n".join(lines) + "\n\n")
    return path


def test_events_within_a_tenth_of_a_second_go_together(tmp_path: Path) -> None:
    """A group begins with its first event; a clock that steps back a little changes nothing."""
    groups = read_groups(written(tmp_path / "s.ndjson", 0, 50, 99, 100, 150, 149, 250))

    assert [group.count for group in groups] == [3, 3, 1]
    assert pytest.approx([group.at for group in groups]) == [0.0, 0.1, 0.25]
    assert [event["n"] for event in json.loads(groups[0].body)] == [0, 1, 2]


def test_the_sample_is_posted_byte_for_byte() -> None:
    lines = sample_path().read_bytes().splitlines()

    groups = read_groups(sample_path())

    assert b",".join(lines) == b",".join(group.body[1:-1] for group in groups)


def test_groups_are_posted_in_order(tmp_path: Path) -> None:
    groups = read_groups(written(tmp_path / "s.ndjson", 0, 200, 400))
    with hub_beside(lambda *_: as_json(200, {})) as hub:
        replay = StreamReplay(groups, f"{hub.url}/in/a/b", speed=100)

        is_through = replay.run()

    assert is_through
    assert (replay.posted, replay.total) == (3, 3)
    assert [body[0]["n"] for *_, body in hub.calls] == [0, 1, 2]
    assert {"/in/a/b"} == {path for _, path, *_ in hub.calls}
    assert {"application/json"} == {headers["content-type"] for *_, headers, _ in hub.calls}


def test_a_refused_group_is_posted_again_before_the_next(tmp_path: Path) -> None:
    groups = read_groups(written(tmp_path / "s.ndjson", 0, 200))
    answers = iter([503, 404, 200, 200])
    with hub_beside(lambda *_: as_json(next(answers), {})) as hub:
        assert StreamReplay(groups, hub.url, speed=100).run()

    assert [body[0]["n"] for *_, body in hub.calls] == [0, 0, 0, 1]


def test_nobody_there_stops_the_stream_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("northbound.testing.replay_stream.FIRST_WAIT", 0.0001)
    groups = read_groups(written(tmp_path / "s.ndjson", 0))

    with pytest.raises(StreamStopped, match="did not take the stream"):
        StreamReplay(groups, "http://127.0.0.1:1/").run()


def test_stop_ends_a_long_pause(tmp_path: Path) -> None:
    groups = read_groups(written(tmp_path / "s.ndjson", 0, 3_600_000))
    with hub_beside(lambda *_: as_json(200, {})) as hub:
        replay = StreamReplay(groups, hub.url, on_posted=lambda _: replay.stop())
        thread = threading.Thread(target=replay.run)
        thread.start()
        thread.join(10)

    assert not thread.is_alive()
    assert replay.posted == 1


def test_what_is_no_stream_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")

    for path in (tmp_path / "x", tmp_path / "missing"):
        with pytest.raises(InvalidInput):
            read_groups(path)
    with pytest.raises(InvalidInput, match="speed"):
        StreamReplay((), "http://127.0.0.1:1/", speed=0)


def test_it_is_a_program_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hub_beside(lambda *_: as_json(200, {})) as hub:
        assert main([str(written(tmp_path / "s.ndjson", 0, 1)), hub.url]) == 0

    assert capsys.readouterr().out == "2 events in 1 posts\n"
    assert main([str(tmp_path / "missing"), "http://127.0.0.1:1/"]) == 1
