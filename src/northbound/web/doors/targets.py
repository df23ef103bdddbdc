"""Look at a URL that somebody gave before it is kept, and ask it something when a person wants to know."""

from datetime import timedelta

from northbound.logic.addresses import AllowList, check_url
from northbound.model.delivery import Exchange
from northbound.model.errors import BlockedAddress, InvalidInput, StoreFailed
from northbound.model.wire import Request
from northbound.web.call import Hub


def checked_url(hub: Hub, url: str, field: str) -> str:
    """Return an http or https URL that may be called (D5); the guard decides again at each connection."""
    try:
        check_url(url, AllowList.parse(hub.config.allow_targets))
    except BlockedAddress as error:
        raise BlockedAddress(error.message, field=field) from None
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field) from None
    return url


async def asked(hub: Hub, request: Request, deadline: timedelta) -> Exchange:
    """Send one request through the guarded way out, and return how it ended."""
    if hub.sender is None:
        raise StoreFailed("this process was started without a way out")
    return await hub.sender.send(request, deadline=deadline)
