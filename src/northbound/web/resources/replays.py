"""Replays, and all else that is asked of the delivery process: carried out once, its outcome read later."""

from typing import Any

from northbound.model.app import Endpoint
from northbound.model.errors import Conflict, InvalidInput
from northbound.stages.control import REPLAY_MAX
from northbound.web.call import OTHER_BODY, Answer, Call, not_found
from northbound.web.shapes.deliveries import CommandShown, ReplayAnswer, ReplayWanted
from northbound.web.shapes.pages import Nothing

PREFIX = "cmd"


def enqueue(call: Call[Any, Any], body: dict[str, Any], app_id: str | None) -> str:
    """Ask the delivery process for *body* and return the id its outcome is found under."""
    identity = call.stem(PREFIX) or call.new_id(PREFIX)
    known = call.hub.commands.command_of(identity)
    if known is None:
        full = body | {"app_id": app_id, "asked": call.fingerprint}
        call.hub.commands.command(identity, full, who=call.who, now=call.hub.clock.now())
    elif known.get("asked") != call.fingerprint:
        raise Conflict(OTHER_BODY, field="Idempotency-Key")
    return identity


async def create(call: Call[Nothing, ReplayWanted]) -> Answer:
    """Count what would be sent again; unless it is a dry run, send it."""
    body, app_id = _command(call)
    count = await _count(call, body)
    if call.body.dry_run:
        return Answer(content=ReplayAnswer(count=count))
    if count > REPLAY_MAX:
        raise InvalidInput(f"a replay holds at most {REPLAY_MAX} deliveries; choose a narrower span", field="since")
    return Answer(content=ReplayAnswer(count=count, command_id=enqueue(call, body, app_id)))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show what became of something asked of the delivery process."""
    identity = call.path["id"]
    body = call.hub.commands.command_of(identity)
    if body is None or not call.may_see(body.get("app_id")):
        not_found("command", identity)
    result = await call.read(call.hub.deliveries.command_result, identity)
    failed = isinstance(result, dict) and "error" in result
    state = "waiting" if result is None else "failed" if failed else "done"
    do = str(body.get("do", ""))
    return Answer(content=CommandShown(command_id=identity, do=do, state=state, result=result))


def _command(call: Call[Nothing, ReplayWanted]) -> tuple[dict[str, Any], str | None]:
    """Return what to ask for, and the app it is limited to."""
    wanted = call.body
    ways = [
        wanted.delivery_numbers is not None,
        wanted.since is not None or wanted.until is not None,
        wanted.all_failed,
    ]
    if sum(ways) != 1:
        raise InvalidInput("choose one: delivery_numbers, a span (since, until), or all_failed", field="all_failed")
    if wanted.again and not wanted.all_failed:
        raise InvalidInput("again goes with all_failed; a span and numbers are sent again anyway", field="again")
    app_id = call.key.app_id
    if wanted.endpoint_id is not None:
        app_id = _app_of(call, wanted.endpoint_id)
    if wanted.delivery_numbers is not None:
        if wanted.endpoint_id is not None:
            raise InvalidInput("delivery_numbers say their endpoints themselves", field="endpoint_id")
        return {"do": "replay", "numbers": list(dict.fromkeys(wanted.delivery_numbers))}, app_id
    if wanted.all_failed:
        if wanted.endpoint_id is None and app_id is not None:
            raise InvalidInput("this key is limited to one app: name an endpoint_id", field="endpoint_id")
        of_one = {} if wanted.endpoint_id is None else {"endpoint_id": wanted.endpoint_id}
        return {"do": "replay", "all_failed": True, "again": wanted.again, **of_one}, app_id
    return _span(call), app_id


def _app_of(call: Call[Nothing, ReplayWanted], endpoint_id: str) -> str:
    return call.own(Endpoint, endpoint_id)[1].app_id


def _span(call: Call[Nothing, ReplayWanted]) -> dict[str, Any]:
    wanted = call.body
    if wanted.endpoint_id is None:
        raise InvalidInput("a span is of one endpoint: name it", field="endpoint_id")
    if wanted.since is None:
        raise InvalidInput("say since when", field="since")
    until = wanted.until or call.hub.clock.now()
    if until <= wanted.since:
        raise InvalidInput("until must be after since", field="until")
    return {"do": "replay", "endpoint_id": wanted.endpoint_id, "since": wanted.since, "until": until}


async def _count(call: Call[Nothing, ReplayWanted], body: dict[str, Any]) -> int:
    view = call.hub.deliveries
    if "numbers" in body:
        found = await call.read(view.numbered, body["numbers"])
        visible = call.endpoint_ids()
        seen = {number for number, one in found if visible is None or one.endpoint_id in visible}
        missing = [number for number in body["numbers"] if number not in seen]
        if missing:
            not_found("delivery", str(missing[0]))
        return len(seen)
    ids = None if "endpoint_id" not in body else (str(body["endpoint_id"]),)
    span = None if "since" not in body else (body["since"], body["until"])
    return await call.read(view.count, ids, span, again=bool(body.get("again", True)))
