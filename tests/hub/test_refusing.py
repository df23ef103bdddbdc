"""The intake's own decisions: who is refused last."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from northbound.config import Config
from northbound.hub.intake import Intake
from northbound.model.app import Registry, Source
from northbound.stages.ingest import Ingest


def source(dialect: str, **options: Any) -> Source:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Source(id="src", app_id="a", name="s", dialect=dialect, token="t", created_at=made, options=options)


@pytest.mark.parametrize(
    ("dialect", "options", "expected"),
    [
        ("avd", {}, True),
        ("avd", {"vendor_retries": True}, False),
        ("mpaas", {}, True),
        ("aliyun_rtc", {}, False),
        ("aliyun_rtc", {"vendor_retries": False}, True),
        ("aliyun_cvc", {}, False),
        ("anyrtc", {}, False),
        ("janus", {}, True),  # it looks at no status: what was answered counts as sent
        ("standard", {}, False),
    ],
)
def test_who_is_refused_last_follows_the_wire_and_the_sources_option(dialect, options, expected) -> None:
    """I14: what nobody documents is taken for a vendor that does not send again."""
    intake = Intake(cast("Ingest", None), Config())
    intake.on_registry(Registry(version=1, sources=(source(dialect, **options),)))

    assert expected is intake.is_refused_last("src")
    assert not intake.is_refused_last("nobody")
