"""The outgoing client and certificates (D7)."""

import ssl

import pytest

from bad_peer import BadPeer
from certificates import Authority, self_signed
from northbound.model.delivery import FailureKind
from sending import SHORT, ask, failure, post, response, run, sending

# --- D7: TLS ----------------------------------------------------------------------------------------------------------


def test_private_ca_works_for_its_endpoint_only(tmp_path):
    """D7: with its private CA the endpoint is trusted; without it, on the same sender, it is not."""

    async def scenario():
        authority = Authority()
        async with BadPeer(tls=authority.server(tmp_path)) as peer, sending() as sender:
            request = post(peer.url("ok"))
            first = await ask(sender, request, ca_pem=authority.pem)
            bare = await ask(sender, request)
            other = await ask(sender, request, ca_pem=Authority("another").pem)
            again = await ask(sender, request, ca_pem=authority.pem)

            assert [response(first).status, response(again).status] == [200, 200]
            assert [failure(bare).kind, failure(other).kind] == [FailureKind.TLS] * 2
            assert "not trusted" in failure(bare).message
            assert len(peer.received) == 2

    run(scenario)


def test_private_ca_stands_instead_of_the_public_ones(tmp_path):
    """D7: an endpoint with a private CA does not trust what everybody else does."""

    async def scenario():
        public, private = Authority("public"), Authority("private")
        bundle = tmp_path / "public.pem"
        bundle.write_bytes(public.pem)
        async with BadPeer(tls=public.server(tmp_path)) as peer, sending(ca_file=str(bundle)) as sender:
            assert response(await ask(sender, post(peer.url("ok")))).status == 200
            assert failure(await ask(sender, post(peer.url("ok")), ca_pem=private.pem)).kind == FailureKind.TLS

    run(scenario)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": -30, "end": -1}, "the certificate has expired"),
        ({"start": 1, "end": 30}, "not valid yet"),
        ({"host": "other.example"}, "for another name"),
        ({"max_tls": ssl.TLSVersion.TLSv1_1}, "TLS versions below 1.2"),
    ],
    ids=["expired", "early", "wrong name", "old TLS"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_bad_tls_is_refused_in_plain_words(tmp_path, options, words):
    """D7: no downgrade and no exception; the class is TLS and the message names the reason."""

    async def scenario():
        authority = Authority()
        async with BadPeer(tls=authority.server(tmp_path, **options)) as peer, sending() as sender:
            outcome = failure(await ask(sender, post(peer.url("ok")), ca_pem=authority.pem))

            assert outcome.kind == FailureKind.TLS
            assert words in outcome.message
            assert peer.received == []

    run(scenario)


def test_self_signed_certificate_is_refused(tmp_path):
    """D7: a certificate that vouches for itself is not trusted."""

    async def scenario():
        async with BadPeer(tls=self_signed(tmp_path)) as peer, sending() as sender:
            outcome = failure(await ask(sender, post(peer.url("ok"))))

            assert outcome.kind == FailureKind.TLS
            assert "self-signed" in outcome.message

    run(scenario)


def test_plain_peer_at_an_https_url_is_a_tls_failure():
    """D7: there is no fall back to plain HTTP."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            outcome = failure(await ask(sender, post(peer.url("ok").replace("http:", "https:")), SHORT))

            assert outcome.kind in {FailureKind.TLS, FailureKind.TIMEOUT}
            assert peer.received == []

    run(scenario)


def test_unreadable_private_ca_is_named():
    """What is no PEM certificate is the endpoint's setting, not its certificate."""

    async def scenario():
        async with sending() as sender:
            outcome = failure(await ask(sender, post("https://127.0.0.1:9/"), ca_pem=b"nonsense"))

            assert outcome.kind in {FailureKind.TLS, FailureKind.CONNECT}

    run(scenario)
