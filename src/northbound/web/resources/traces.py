"""One event's way through the hub."""

from northbound.web.call import Answer, Call
from northbound.web.resources.events import own_event
from northbound.web.shapes.pages import Nothing
from northbound.web.tracing import trace_of


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show an event's way: received, matched by which rule or why by none, each attempt."""
    logged = await own_event(call, call.path["id"])
    return Answer(content=await trace_of(call.hub, logged))
