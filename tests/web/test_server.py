"""Starting, stopping, TLS, and who is calling."""

import asyncio
import datetime as dt
import ssl
import time
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from serving import everything, post, running, statuses

from northbound.model.errors import ConfigError
from northbound.model.wire import Request, Response
from northbound.web.address import client_address, read_networks
from northbound.web.guard import Limits
from northbound.web.server import bind_socket, make_server

# --- starting and stopping -------------------------------------------------------------------------------------------


def test_stop_finishes_what_is_in_work_and_takes_nothing_new():
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.3)
        return Response.text(200, "ok")

    with running(Limits(), handle=slow) as hub, hub.connect() as client, hub.connect() as idle:
        client.sendall(post(b"abc"))
        while not hub.calls:
            time.sleep(0.005)
        hub.server.stop()
        time.sleep(0.2)

        assert statuses(everything(client)) == [200]
        assert everything(idle) == b""
        with pytest.raises(OSError, match="refused"):
            hub.connect()


def test_stop_answers_503_when_the_drain_deadline_passes():
    async def stuck(request: Request) -> Response:
        await asyncio.sleep(60)
        return Response.text(200, "ok")

    with running(Limits(drain_deadline=timedelta(seconds=1)), handle=stuck) as hub, hub.connect() as client:
        client.sendall(post(b"abc"))
        while not hub.calls:
            time.sleep(0.005)
        hub.server.stop()

        assert statuses(everything(client)) == [503]


def test_a_taken_port_is_named():
    with bind_socket("127.0.0.1", 0, "--intake") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--intake 127.0.0.1:{port} is taken: "):
            bind_socket("127.0.0.1", port, "--intake")


@pytest.mark.parametrize(
    ("host", "says"), [("192.0.2.1", "not an address of this machine"), ("a..b", "cannot be resolved")]
)
def test_an_impossible_host_is_named(host, says):
    with pytest.raises(ConfigError, match=says):
        bind_socket(host, 0, "--listen")


def certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub.test")])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_https_and_a_stalled_handshake(tmp_path):
    cert, key = certificate(tmp_path)
    with running(tls_cert=cert, tls_key=key) as hub:
        with (
            hub.connect() as plain,
            ssl.create_default_context(cafile=cert).wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(post(b"abc", b"Connection: close"))
            assert statuses(everything(client)) == [200]
        assert hub.calls[0][0].url.startswith("https://hub.test/")
        with hub.connect() as stalled:
            stalled.settimeout(50)  # without a deadline of ours the loop's own would end it, after 60 s
            stalled.sendall(b"\x16\x03\x01")
            assert everything(stalled) == b""


def test_an_unreadable_certificate_is_named(tmp_path):
    with bind_socket("127.0.0.1", 0, "--intake") as listener, pytest.raises(ConfigError, match="--tls-cert"):
        make_server(None, listener, Limits(), tls_cert=str(tmp_path / "none"), tls_key=str(tmp_path / "none"))


def test_limits_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match=r"limits\.idle_deadline"):
        Limits(idle_deadline=timedelta())
    with pytest.raises(ConfigError, match=r"limits\.pending_bytes"):
        Limits(pending_bytes=10)


# --- who is calling: ruling 7 ----------------------------------------------------------------------------------------

TRUSTED = read_networks(("10.0.0.0/8", "fd00::/8"), "trusted_proxies")
CALLERS = [
    ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
    ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
    ("10.0.0.1", ["1.1.1.1", "198.51.100.1:4711"], "198.51.100.1"),
    ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
    ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
]


@pytest.mark.parametrize(("peer", "claims", "expected"), CALLERS)
def test_forwarding_headers_count_only_from_listed_proxies(peer, claims, expected):
    scope = {"client": (peer, 1), "headers": [(b"x-forwarded-for", claim.encode()) for claim in claims]}

    assert expected == client_address(scope, TRUSTED)


def test_no_proxy_listed_means_the_peer():
    scope = {"client": ("::ffff:10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"1.1.1.1")]}

    assert client_address(scope, ()) == "10.0.0.1"
    assert client_address({"client": None, "headers": []}, ()) == ""


def test_a_bad_proxy_list_names_its_option():
    with pytest.raises(ConfigError, match="trusted_proxies"):
        read_networks(("10.0.0.0/40",), "trusted_proxies")
