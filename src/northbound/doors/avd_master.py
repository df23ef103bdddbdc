"""What the 3T master says of a server whose ports do not answer: `warning_notify`, event_type check_port (seed 004)."""

import msgspec

from northbound.dialects.avd import DIALECT
from northbound.dialects.base import write_params
from northbound.model.event import Event
from northbound.model.server import Incident, Notice
from northbound.model.wire import Request

SOURCE_DIALECT = "avd"


def source_id_of(app_id: str) -> str:
    """Return the id of the source by which an app's port check tells."""
    return f"src_ports_{app_id}"


def warning(incident: Incident, notice: Notice, url: str) -> tuple[Request, Event]:
    """Return the request that a master would send to *url*, and the event in it; its id is the notice's."""
    options = [{"type": port.kind, "port": port.port} for port in notice.ports]
    words = (
        ("event", "warning_notify"),
        ("trace_id", notice.id),
        ("event_type", "check_port"),
        ("box_code", incident.server_name),
        ("options", msgspec.json.encode(options).decode()),
    )
    request = Request(method="GET", url=f"{url}?{write_params(words)}")
    (event,) = DIALECT.decode(request, {})
    return request, event
