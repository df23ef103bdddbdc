"""Rotating the hub's certificate by API: when it signs, where each is served, who may, and that no key gets out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_site import Site
from cryptography.x509 import load_pem_x509_certificate

from northbound.model.certificate import Certificate


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(Path(tmp_path_factory.mktemp("site")) / "data", public_url="https://hub.test")
    yield site
    site.close()


def served(site: Site, path: str) -> bytes:
    reply = site.call("GET", path, key="")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-pem-file")
    return reply.body


def test_a_rotation_for_later_then_one_for_now(site: Site):
    (first,) = site.call("GET", "certificates").json["items"]
    assert (first["state"], first["signs_until"]) == ("signing", None)
    assert first["url"] == f"https://hub.test/certs/{first['id']}.pem"

    moment = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    later = site.made("certificates", {"signs_from": moment.isoformat(), "valid_days": 90})
    assert (later["state"], later["signs_from"]) == ("next", moment.isoformat().replace("+00:00", "Z"))
    assert served(site, "/certs/callback.pem") == served(site, f"/certs/{first['id']}.pem")
    pem = load_pem_x509_certificate(served(site, f"/certs/{later['id']}.pem"))
    assert pem.not_valid_after_utc == moment + timedelta(days=90)
    assert pem.not_valid_before_utc < datetime.now(UTC)

    now = site.made("certificates", {})
    states = {one["id"]: one["state"] for one in site.call("GET", "certificates").json["items"]}
    assert states == {first["id"]: "retired", later["id"]: "next", now["id"]: "signing"}
    assert served(site, "/certs/callback.pem") == served(site, f"/certs/{now['id']}.pem")
    assert served(site, f"/certs/{first['id']}.pem"), "what it signed can still be verified"


def test_what_may_go_and_what_may_not(site: Site):
    shown = {one["state"]: one["id"] for one in site.call("GET", "certificates").json["items"]}

    assert site.call("DELETE", f"certificates/{shown['signing']}").status == 409
    assert site.call("DELETE", f"certificates/{shown['retired']}").status == 409
    assert site.call("DELETE", f"certificates/{shown['next']}").status == 204
    assert site.call("GET", f"/certs/{shown['next']}.pem", key="").status == 404


@pytest.mark.parametrize("body", [{"signs_from": "2020-01-01T00:00:00Z"}, {"valid_days": 0}, {"valid_days": 9999}])
def test_a_moment_that_is_over_and_odd_lengths_are_refused(site: Site, body: dict[str, object]):
    assert site.call("POST", "certificates", body).status == 422


def test_who_may_and_what_is_told(site: Site):
    app = site.made("apps", {"name": "a"})
    limited, reader = site.key_for(app["id"]), site.key_for(None, "reader")

    assert [site.call("POST", "certificates", {}, key=key).status for key in (limited, reader)] == [403, 403]
    entries = [one for one in site.call("GET", "audit").json["items"] if one["what"].startswith("certificate.")]
    assert {"certificate.created", "certificate.deleted"} <= {one["what"] for one in entries}
    private = [one.secret for _, one in site.web.control.find(Certificate)]
    told = site.call("GET", "audit").body + site.call("GET", "certificates").body
    assert [secret for secret in private if secret[100:160] in told] == []


@pytest.mark.parametrize("name", ["nothing", "..%2fadmin", "callback.pem"])
def test_no_other_file_is_served(site: Site, name: str):
    assert site.call("GET", f"/certs/{name}.pem", key="").status == 404
