"""The outgoing guard at work: addresses at connect and at reuse (D4, D5), and behind an egress proxy (D6)."""

import asyncio

import pytest

from bad_peer import BadPeer, ConnectProxy
from certificates import Authority
from northbound.backends.curl import CurlSender
from northbound.model.delivery import FailureKind
from northbound.model.errors import ConfigError
from sending import LOOPBACK, NOTHING, SHORT, ask, failure, post, response, run, sending

# --- D4, D5: the guard ------------------------------------------------------------------------------------------------


def test_name_that_resolves_inside_is_blocked_at_connect():
    """D4: a public name whose answer at connect is private never gets a connection."""

    async def scenario():
        async with BadPeer() as peer:
            hosts = {("rebind.example", peer.port): "127.0.0.1"}
            async with sending(allow=NOTHING, hosts=hosts) as sender:
                exchange = await ask(sender, post(peer.url("ok", host="rebind.example")))

            assert failure(exchange).kind == FailureKind.BLOCKED
            assert "blocked address" in failure(exchange).message
            assert f"127.0.0.1:{peer.port}" == exchange.address
            assert peer.connections == 0

    run(scenario)


def test_connect_is_judged_even_when_the_check_passed():
    """D4: permitted when submitted, forbidden when connecting: blocked."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            sending_now = asyncio.ensure_future(ask(sender, post(peer.url("ok"))))
            await asyncio.sleep(0)
            sender.allow = NOTHING

            assert failure(await sending_now).kind == FailureKind.BLOCKED
            assert peer.connections == 0

    run(scenario)


def test_reused_connection_is_judged_again():
    """D4: an open connection is worth nothing once its address is no longer permitted."""

    async def scenario():
        async with BadPeer() as peer:
            hosts = {("rebind.example", peer.port): "127.0.0.1"}
            async with sending(hosts=hosts) as sender:
                request = post(peer.url("ok", host="rebind.example"))
                response(await ask(sender, request))
                sender.allow = NOTHING
                exchange = await ask(sender, request)

            assert failure(exchange).kind == FailureKind.BLOCKED
            assert len(peer.received) == 1

    run(scenario)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:1::]/",
        "http://[fe80::1%25eth0]/",
        "http://[::]/",
        "http://100.64.0.1/",
        "http://169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "http://localhost/",
        "http://localhost./",
        "http://example.com./",
        "http://user@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/\r\nX: y",
        "http://exa\tmple.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "",
    ],
)
def test_every_spelling_is_refused_alike(url):
    """D5: one class for all, without a connection, and no look-up."""

    async def scenario():
        async with sending(allow=NOTHING) as sender:
            exchange = await ask(sender, post(url))

            assert failure(exchange).kind == FailureKind.BLOCKED
            assert exchange.address is None

    run(scenario)


def test_url_beyond_ascii_is_refused():
    """A URL that is not escaped is refused rather than guessed at."""

    async def scenario():
        async with sending() as sender:
            assert failure(await ask(sender, post("http://127.0.0.1/caf\xe9"))).kind == FailureKind.INVALID_URL

    run(scenario)


# --- D6: the egress proxy ---------------------------------------------------------------------------------------------


def test_proxy_is_asked_for_the_judged_address():
    """The proxy gets the address that was looked up and judged, and none of the request's headers."""

    async def scenario():
        async with BadPeer() as peer, ConnectProxy() as proxy:
            hosts = {("hooks.example", peer.port): "127.0.0.1"}
            async with sending(proxy=proxy.url, hosts=hosts) as sender:
                for _ in range(3):
                    exchange = await ask(sender, post(peer.url("ok", host="hooks.example"), ("x-token", "s3cret")))
                    assert response(exchange).status == 200
                    assert response(exchange).header("x-proxy") is None
                    assert f"127.0.0.1:{peer.port}" == exchange.address

            assert [("CONNECT", f"127.0.0.1:{peer.port}")] == [(r.method, r.target) for r in proxy.asked]
            assert proxy.asked[0].header("x-token") is None
            assert f"hooks.example:{peer.port}" == peer.received[0].header("host")
            assert peer.received[0].header("x-token") == "s3cret"

    run(scenario)


@pytest.mark.parametrize("allow", [NOTHING, LOOPBACK])
def test_guard_judges_the_target_behind_a_proxy(allow):
    """A name that resolves inside is blocked although the proxy, itself inside, may be connected to."""

    async def scenario():
        async with ConnectProxy() as proxy:
            hosts = {("rebind.example", 80): "10.0.0.7"}
            async with sending(allow=allow, proxy=proxy.url, hosts=hosts) as sender:
                exchange = await ask(sender, post("http://rebind.example/"))

            assert failure(exchange).kind == FailureKind.BLOCKED
            assert proxy.connections == 0

    run(scenario)


def test_proxy_reuse_is_judged_again():
    """A tunnel that is open is not used for a target that is no longer permitted."""

    async def scenario():
        async with BadPeer() as peer, ConnectProxy() as proxy:
            hosts = {("hooks.example", peer.port): "127.0.0.1"}
            async with sending(proxy=proxy.url, hosts=hosts) as sender:
                request = post(peer.url("ok", host="hooks.example"))
                response(await ask(sender, request))
                sender.allow = NOTHING

                assert failure(await ask(sender, request)).kind == FailureKind.BLOCKED
                assert len(peer.received) == 1

    run(scenario)


def test_dead_proxy_is_not_charged():
    """D6: our own proxy being down is our own failure."""

    async def scenario():
        async with ConnectProxy() as proxy:
            url = proxy.url
        async with sending(proxy=url) as sender:
            outcome = failure(await ask(sender, post("http://127.0.0.1:9/")))

            assert (outcome.kind, outcome.chargeable) == (FailureKind.PROXY, False)
            assert "our proxy" in outcome.message

    run(scenario)


@pytest.mark.parametrize(
    ("refusal", "kind", "chargeable"),
    [
        ("407 Proxy Authentication Required", FailureKind.PROXY, False),
        ("403 Forbidden", FailureKind.PROXY, False),
        ("503 Service Unavailable", FailureKind.CONNECT, True),
    ],
)
def test_refusing_proxy_is_told_from_an_unreachable_target(refusal, kind, chargeable):
    """D6: what the proxy refuses is ours; what it cannot reach is the endpoint's."""

    async def scenario():
        async with ConnectProxy(refusal=refusal) as proxy, sending(proxy=proxy.url) as sender:
            outcome = failure(await ask(sender, post("http://127.0.0.1:9/")))

            assert (kind, chargeable) == (outcome.kind, outcome.chargeable)
            assert refusal[:3] in outcome.message

    run(scenario)


def test_hanging_proxy_ends_at_the_deadline():
    """The deadline also covers the time in the proxy's hands."""

    async def scenario():
        async with ConnectProxy(hangs=True) as proxy, sending(proxy=proxy.url) as sender:
            exchange = await ask(sender, post("http://127.0.0.1:9/"), SHORT)

            assert failure(exchange).kind == FailureKind.TIMEOUT
            assert exchange.duration_ms < 600

    run(scenario)


def test_tls_goes_through_the_proxy_under_the_endpoint_name(tmp_path):
    """Behind the proxy the certificate is still checked against the URL's name, not the pinned address."""

    async def scenario():
        authority = Authority()
        async with BadPeer(tls=authority.server(tmp_path, host="hooks.example")) as peer, ConnectProxy() as proxy:
            hosts = {("hooks.example", peer.port): "127.0.0.1", ("other.example", peer.port): "127.0.0.1"}
            async with sending(proxy=proxy.url, hosts=hosts) as sender:
                good = await ask(sender, post(peer.url("ok", host="hooks.example")), ca_pem=authority.pem)
                wrong = await ask(sender, post(peer.url("ok", host="other.example")), ca_pem=authority.pem)

            assert response(good).status == 200
            assert failure(wrong).kind == FailureKind.TLS

    run(scenario)


@pytest.mark.parametrize("url", ["https://proxy:1", "socks5://proxy:1", "proxy:3128", "http://:pw@", "http://a:b:c"])
def test_unusable_proxy_setting_is_refused_without_its_text(url):
    """A proxy setting may hold a password: the error does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        CurlSender(allow=NOTHING, proxy=url)

    assert url not in str(caught.value)


def test_proxy_login_reaches_only_the_proxy():
    """User and password of the proxy URL are sent to the proxy and to nobody else."""

    async def scenario():
        async with BadPeer() as peer, ConnectProxy() as proxy:
            login = proxy.url.replace("//", "//user:p%40ss@")
            async with sending(proxy=login) as sender:
                response(await ask(sender, post(peer.url("ok"))))

            assert proxy.asked[0].header("proxy-authorization") == "Basic dXNlcjpwQHNz"
            assert peer.received[0].header("proxy-authorization") is None

    run(scenario)
