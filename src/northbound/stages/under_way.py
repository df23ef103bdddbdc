"""What the sending stage holds in memory of each exchange: while it is under way, and until its end is stored."""

import msgspec

from northbound.logic.order import Lease
from northbound.model.app import Endpoint
from northbound.model.delivery import Attempt, Delivery, Done, Failure, FailureKind, NextStep
from northbound.model.wire import Request


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange under way, until `expires` on the monotonic clock."""

    lease: Lease
    deliveries: tuple[Delivery, ...]
    endpoint: Endpoint
    request: Request
    expires: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an exchange ended, until that is stored."""

    lease: Lease
    deliveries: tuple[Delivery, ...]
    endpoint: Endpoint
    attempt: Attempt
    step: NextStep
    in_lane: NextStep  # the same by the lanes' clock
    charged: bool

    @property
    def is_telling(self) -> bool:
        """Whether it says something of its endpoint: it was sent, and our own side did not fail (D6)."""
        outcome = self.attempt.exchange.outcome
        is_unsent = isinstance(outcome, Failure) and outcome.kind is FailureKind.NOT_SENT
        return isinstance(self.step, Done) or (self.charged and not is_unsent)
