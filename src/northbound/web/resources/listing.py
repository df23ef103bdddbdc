"""List what is set up, a page at a time, of the apps that the caller may see."""

from collections.abc import Callable
from typing import Any

from northbound.model.registry import Kind
from northbound.web.call import Answer, Call
from northbound.web.shapes.pages import Nothing, page_of, read_cursor
from northbound.web.shapes.setup import OfApp


def listed_of(call: Call[OfApp, Nothing], kind: type[Kind], show: Callable[[int, Kind], Any]) -> Answer:
    """Return the page that is asked for of one kind, by id; *show* makes of (revision, object) what is shown."""
    limit, after = call.query.limit, read_cursor(call.query.cursor, str, "")
    app_id = call.app_filter(call.query.app_id)
    items = [show(*one) for one in call.hub.objects.find(kind, after=after, app_id=app_id, limit=limit)]
    return Answer(content=page_of(items, limit, items[-1].id if items else ""))
