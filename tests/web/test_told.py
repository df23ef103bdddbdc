"""The addresses that others are told, which signatures are made over: ruling 7."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from northbound.config import Config, load_config
from northbound.hub.demo import certificate_base
from northbound.model.app import Source
from northbound.model.errors import ConfigError
from northbound.model.wire import Request
from northbound.web.told import as_told, hub_base, intake_base, told_url

SOURCE = Source(
    id="src_1", app_id="a", name="s", dialect="avd", token="tok", created_at=datetime(2026, 1, 1, tzinfo=UTC)
)
OWN = Source(
    id="src_1", app_id="a", name="s", dialect="avd", token="tok", created_at=SOURCE.created_at,
    public_url="https://own.test/cb",
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "source", "expected"),
    [
        (Config(intake="127.0.0.1:1"), SOURCE, "http://127.0.0.1:1/in/src_1/tok"),
        (Config(intake="127.0.0.1:1", tls_cert="c", tls_key="k"), SOURCE, "https://127.0.0.1:1/in/src_1/tok"),
        (Config(public_intake="https://hub.test/x/"), SOURCE, "https://hub.test/x/in/src_1/tok"),
        (Config(public_intake="https://hub.test"), OWN, "https://own.test/cb"),
    ],
)
def test_the_source_comes_before_the_setting_and_that_before_the_listen_address(config, source, expected):
    assert expected == told_url(source, config)


def test_of_what_the_client_calls_only_the_query_stays():
    request = Request(method="GET", url="http://evil.test/other/path?a=b&c=%20")

    assert as_told(request, OWN, Config()).url == "https://own.test/cb?a=b&c=%20"
    assert as_told(Request(method="GET", url="http://evil.test/"), OWN, Config()).url == "https://own.test/cb"


def test_the_hub_tells_its_certificate_below_its_own_public_url():
    assert hub_base(Config(listen="10.0.0.1:7070")) == "http://10.0.0.1:7070"
    assert certificate_base(Config(public_url="https://hub.test/")) == "https://hub.test/certs"


@pytest.mark.parametrize("name", ["public_url", "public_intake"])
@pytest.mark.parametrize(
    "url", ["hub.test", "ftp://hub.test", "https://", "https://u:p@hub.test", "https://hub.test/?a", "http://a b", "x"]
)
def test_what_is_no_base_url_is_refused_by_name(name: str, url: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=f"{name} is a base URL such as https://hub.example.com"):
        load_config(options={name: url})


def test_a_base_url_may_have_port_and_path():
    config = load_config(
        options={"public_url": "https://[2001:db8::1]:8443/hub", "public_intake": "http://a-b.test:80"}
    )

    assert (hub_base(config), intake_base(config)) == ("https://[2001:db8::1]:8443/hub", "http://a-b.test:80")
