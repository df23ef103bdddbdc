"""For whom something is done, whichever of the vendors' doors the wish came through."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from northbound.model.account import Account
from northbound.model.registry import Drop, Put
from northbound.web.call import Hub


@dataclass(frozen=True, kw_only=True)
class Customer:
    """An account, by which of its access keys it speaks (`who`, as the audit names it), and when."""

    hub: Hub
    account: Account
    who: str
    now: datetime

    def change(self, puts: Sequence[Put], drops: Sequence[Drop] = ()) -> None:
        """Do it all in one transaction, with its audit entries."""
        self.hub.objects.change(puts, drops, who=self.who, now=self.now)

    def new_id(self, prefix: str) -> str:
        """Return a random id of 24 hex digits after *prefix*."""
        return prefix + self.hub.entropy.bytes(12).hex()
