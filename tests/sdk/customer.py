"""Who calls: a customer of the hub, set up by the API, and the vendors whose callbacks come to it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2e.hub import Hub
from e2e.vendors import callback
from northbound.model.app import Source

NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Vendor:
    """A source of the customer's app."""

    hub: Hub
    source: Source

    def tells(self, *events: Mapping[str, Any]) -> None:
        """Send callbacks as the vendor does."""
        for words in events:
            answer = self.hub.post(callback(self.hub, self.source, words))
            assert answer.status == 200, answer.body


@dataclass(frozen=True)
class Customer:
    """An account with an AccessKey pair and one app; `address` is where its clients call."""

    hub: Hub
    address: str
    account_id: str
    access_key_id: str
    access_key_secret: str
    app_id: str
    app_key: str

    def another_app(self, name: str = "another") -> str:
        """Return the AppId of a further app of the account."""
        return made(self.hub, "apps", {"name": name, "account_id": self.account_id})["id"]

    def source(self, dialect: str, app_id: str | None = None, **more: Any) -> dict[str, Any]:
        """Return a new source of the app; `intake_url` is where its vendor sends."""
        body = {"app_id": app_id or self.app_id, "name": f"{dialect} {next(NUMBERS)}", "dialect": dialect, **more}
        return made(self.hub, "sources", body)

    def vendor(self, dialect: str, app_id: str | None = None, **more: Any) -> Vendor:
        """Return a vendor that sends to the app, unsigned unless *more* says otherwise."""
        identity = self.source(dialect, app_id, **more)["id"]
        with self.hub.control() as control:
            return Vendor(self.hub, control.get(Source, identity)[1])


def made(hub: Hub, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the API made."""
    status, content = hub.api("POST", f"/api/v1/{path}", body)
    assert status == 201, content
    return content


def customer_of(hub: Hub, name: str) -> Customer:
    """Return a new account, with an access key and one app."""
    account = made(hub, "accounts", {"name": name})
    app = made(hub, "apps", {"name": "app", "account_id": account["id"]})
    return Customer(
        hub=hub,
        address=hub.config.listen,
        account_id=account["id"],
        access_key_id=account["access_key_id"],
        access_key_secret=account["access_key_secret"],
        app_id=app["id"],
        app_key=app["app_key"],
    )
