"""Who calls: a customer of the hub, set up by the API."""

import itertools
from dataclasses import dataclass
from typing import Any

from e2e.hub import Hub

NUMBERS = itertools.count(1)


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


def made(hub: Hub, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the API made."""
    status, content = hub.api("POST", f"/api/v1/{path}", body)
    assert status == 201, content
    return content
