"""A customer who calls the vendors' doors of a site without sockets, signing as the pages say (facts 1.9, 2)."""

import hashlib
import hmac
import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from api_site import Reply, Site

RTC, LIVE, BRIDGE = "2018-01-11", "2016-11-01", "2020-04-01"


@dataclass(frozen=True)
class Customer:
    """An account with an access key and one app."""

    site: Site
    account_id: str
    key_id: str
    secret: bytes
    app_id: str

    def rpc(self, action: str, version: str, *, method: str = "POST", **parameters: str) -> Reply:
        """Call an action at `/`, everything in the query, signed V1; names may say `.` as `__`."""
        named = {name.replace("__", "."): value for name, value in parameters.items()}
        return self.sent(method, self.signed(named | {"Action": action, "Version": version}, method))

    def signed(self, parameters: dict[str, str], method: str = "POST") -> dict[str, str]:
        common = {"AccessKeyId": self.key_id, "Format": "JSON", "SignatureMethod": "HMAC-SHA1"}
        common |= {"SignatureVersion": "1.0", "SignatureNonce": uuid4().hex}
        everything = common | {"Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"} | parameters
        joined = "&".join(f"{escaped(name)}={escaped(everything[name])}" for name in sorted(everything))
        text = f"{method}&%2F&{escaped(joined)}".encode()
        code = hmac.new(self.secret + b"&", text, hashlib.sha1).digest()
        return everything | {"Signature": b64encode(code).decode()}

    def sent(self, method: str, parameters: dict[str, str]) -> Reply:
        return self.site.call(method, "/?" + urlencode(parameters, errors="surrogatepass"), key="")

    def plane(
        self, action: str, body: Any = None, *, raw: bytes | None = None, kind: str = "application/json"
    ) -> Reply:
        """Call an action of the data plane."""
        path = f"/openapi/{action}"
        fields = {
            "date": format_datetime(datetime.now(UTC), usegmt=True),
            "content-type": kind,
            "x-acs-signature-method": "HMAC-SHA1",
            "x-acs-signature-nonce": uuid4().hex,
            "x-acs-signature-version": "1.0",
        }
        lines = ["POST", "", kind, fields["date"]]
        lines += [f"{name}:{fields[name]}" for name in sorted(fields) if name.startswith("x-acs")]
        code = hmac.new(self.secret, "\n".join([*lines, path]).encode(), hashlib.sha1).digest()
        fields["authorization"] = f"acs:{self.key_id}:{b64encode(code).decode()}"
        content = raw if raw is not None else json.dumps(body or {}).encode()
        headers = {name.replace("-", "_"): value for name, value in fields.items()}
        return self.site.call("POST", path, raw=content, key="", **headers)


def escaped(text: str) -> str:
    return quote(text, safe="~", errors="surrogatepass")


def customer(site: Site, name: str = "school") -> Customer:
    """Return a customer with an account and an app of its own."""
    account = site.made("accounts", {"name": name})
    app = site.made("apps", {"name": name, "account_id": account["id"]})
    return Customer(site, account["id"], account["access_key_id"], account["access_key_secret"].encode(), app["id"])
