"""What needs no key: health, metrics, the description of the API; and the dialects."""

from typing import Any

from northbound.dialects import all_dialects
from northbound.model.errors import StoreFailed
from northbound.web.call import Answer, Call, Hub
from northbound.web.resources.front import FRONT
from northbound.web.resources.showing import show_retry
from northbound.web.shapes.deliveries import Dialects, DialectShown, Health
from northbound.web.shapes.pages import Nothing

OTHERS = ("intake", "delivery")
METRICS = "text/plain; version=0.0.4; charset=utf-8"
Plain = Call[Nothing, Nothing]


async def dialects(call: Plain) -> Answer:
    """List the wires: their words, options and defaults."""
    items = [
        DialectShown(
            name=one.name,
            types=sorted(kind.value for kind in one.types),
            kinds=[list(group) for group in one.kinds],
            options=list(one.options),
            methods=list(one.methods),
            retry=show_retry(one.retry),
            ack_budget_ms=one.ack_budget_ms,
            batch_max=one.batch_max,
            signed_by=one.key_scope,
        )
        for one in sorted(all_dialects().values(), key=lambda one: one.name)
    ]
    return Answer(content=Dialects(items=items))


async def alive(call: Plain) -> Answer:
    """Answer while the process runs."""
    return Answer(content=Health(ok=True))


async def ready(call: Plain) -> Answer:
    """Tell whether every process works."""
    found = {name: await _health(call.hub, name) for name in OTHERS}
    is_ok = all(one.get("ok") is True for one in found.values())
    content = Health(ok=is_ok, registry=call.hub.objects.version(), processes=found)
    return Answer(content=content, status=200 if is_ok else 503)


async def _health(hub: Hub, process: str) -> dict[str, Any]:
    try:
        return await hub.ask(process, "health")
    except StoreFailed as error:
        return {"ok": False, "reason": error.message}


async def metrics(call: Plain) -> Answer:
    """Show the figures of all three processes as Prometheus text."""
    texts = [call.hub.metrics()]
    up: list[str] = []
    for name in OTHERS:
        try:
            texts.append((await call.hub.ask(name, "metrics"))["text"])
            up.append(f'northbound_process_up{{process="{name}"}} 1')
        except StoreFailed:
            up.append(f'northbound_process_up{{process="{name}"}} 0')
    kept = "\n".join(
        ["# HELP northbound_process_up Whether a process answers", "# TYPE northbound_process_up gauge", *up, ""]
    )
    return Answer(content=grouped("".join((*texts, kept))).encode(), media_type=METRICS)


def grouped(text: str) -> str:
    """Bring the lines of each metric together, named once: some are counted by more than one process."""
    families: dict[str, dict[str, None]] = {}
    lines = families.setdefault("", {})
    for line in text.splitlines():
        if line.startswith("# HELP "):
            lines = families.setdefault(line.split(" ", 3)[2], {})
        lines[line] = None
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


async def openapi(call: Plain) -> Answer:
    """Describe the API."""
    return Answer(content=call.hub.description())


async def front(call: Plain) -> Answer:
    """Say what this is and where things are."""
    policy = ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
    return Answer(content=FRONT, media_type="text/html; charset=utf-8", headers=(policy,))
