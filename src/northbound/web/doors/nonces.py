"""Take a signed call once: its nonce is noted before anything is done, and for as long as its time would let it in."""

from datetime import datetime
from typing import Final

from northbound.doors.rpc import SKEW, RpcError
from northbound.doors.throttle import has_room, minute_of, nonce_of
from northbound.model.account import AccessKey
from northbound.web.call import Hub

FORGET_AT_ONCE: Final = 20  # at each call: more than come in, and not so many that a call waits for it


def use_nonce(hub: Hub, key: AccessKey, nonce: str, moment: datetime) -> None:
    """Note the nonce of a verified call that was signed at *moment*; raise `RpcError` when it is not new."""
    one = nonce_of(key.account_id, key.id, nonce, moment + SKEW)
    hub.nonces.forget(minute_of(hub.clock.now()), FORGET_AT_ONCE)
    if not has_room(*hub.nonces.kept(one.owner)):
        raise RpcError(
            "Throttling.User", "Request was denied due to user flow control: too many calls in a quarter of an hour."
        )
    if not hub.nonces.use(one.owner + one.digest, one.until):
        raise RpcError("SignatureNonceUsed", "Specified signature nonce was used already.")
