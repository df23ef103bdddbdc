"""Subscriptions: which events go to which endpoints."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.logic.match import Pattern, pattern_warnings
from northbound.logic.route import compile_for
from northbound.model.app import App, Endpoint, Source, Subscription, Target
from northbound.model.errors import InvalidInput, PatternError
from northbound.model.registry import Drop
from northbound.web.call import Answer, Call, etag, not_found
from northbound.web.resources.belonging import made_for
from northbound.web.resources.listing import listed_of
from northbound.web.resources.showing import show_subscription
from northbound.web.shapes.pages import Nothing
from northbound.web.shapes.setup import NewSubscription, OfApp, SubscriptionChange

PREFIX = "sub"


async def listed(call: Call[OfApp, Nothing]) -> Answer:
    """List subscriptions."""
    return listed_of(call, Subscription, lambda revision, one: show_subscription(revision, one, _warnings(one)))


async def create(call: Call[Nothing, NewSubscription]) -> Answer:
    """Create a subscription; its pattern is compiled before anything is kept."""
    given = call.body
    call.own(App, given.app_id)
    before = call.made_before(Subscription, PREFIX)
    if before is not None:
        return _answer(*before, status=201)
    text = pattern_text(given.pattern)
    compiled(text, given.view)
    one = Subscription(
        id=call.new_id(PREFIX),
        app_id=given.app_id,
        created_at=call.hub.clock.now(),
        name=given.name,
        pattern=text,
        view=given.view,
        source_ids=_sources(call, given.app_id, given.source_ids),
        targets=_targets(call, given.app_id, given.endpoint_ids),
        state=given.state,
    )
    return _answer(call.put(one), one, status=201)


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show a subscription."""
    return _answer(*call.own(Subscription, call.path["id"]))


async def change(call: Call[Nothing, SubscriptionChange]) -> Answer:
    """Change a subscription."""
    revision, known = call.own(Subscription, call.path["id"])
    call.revision_for(revision)
    given, one = call.body, known
    one = replace(
        one,
        name=one.name if given.name is UNSET else given.name,
        pattern=one.pattern if given.pattern is UNSET else pattern_text(given.pattern),
        view=one.view if given.view is UNSET else given.view,
        state=one.state if given.state is UNSET else given.state,
        changed_at=call.hub.clock.now(),
    )
    if one.bus_id and given.name not in (UNSET, known.name):
        raise InvalidInput("this is a rule on an event bus, known there by its name; make another rule", field="name")
    if given.source_ids is not UNSET:
        one = replace(one, source_ids=_sources(call, one.app_id, given.source_ids))
    if given.endpoint_ids is not UNSET:
        kept = {target.endpoint_id: target for target in known.targets}
        wanted = _targets(call, one.app_id, given.endpoint_ids)
        one = replace(one, targets=tuple(kept.get(target.endpoint_id, target) for target in wanted))
    compiled(one.pattern, one.view)
    return _answer(call.put(one, revision), one)


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove a subscription, with the endpoints that a vendor's door made for it."""
    revision, one = call.own(Subscription, call.path["id"])
    if call.if_match is not None:
        call.revision_for(revision)
    drops = [Drop(kind=Subscription, id=one.id)]
    drops += [Drop(kind=Endpoint, id=identity) for identity in made_for(call, one)]
    call.hub.objects.change((), drops, who=call.who, now=call.hub.clock.now())
    return Answer(status=204)


def pattern_text(given: msgspec.Raw) -> str:
    """Return a pattern as text, whether it was given as text or as JSON."""
    words = bytes(given)
    if words[:1] == b'"':
        return msgspec.json.decode(words, type=str)
    return words.decode()


def compiled(text: str, view: str) -> tuple[Pattern, tuple[str, ...]]:
    """Compile a pattern over a view; return it with what is probably not meant (ruling 13)."""
    try:
        dialect = dialect_named(view)
    except InvalidInput as error:
        raise InvalidInput(error.message, field="view") from None
    try:
        pattern = compile_for(view, text)
    except PatternError as error:
        raise PatternError(error.message, field=error.field or "pattern") from None
    known = [kind for group in dialect.kinds for kind in group]
    return pattern, pattern_warnings(pattern, known, dialect.spellings)


def _warnings(one: Subscription) -> tuple[str, ...]:
    """Return the warnings of a kept pattern; one of an older northbound may not compile any more."""
    try:
        return compiled(one.pattern, one.view)[1]
    except InvalidInput as error:
        return (error.message,)


def _answer(revision: int, one: Subscription, *, status: int = 200) -> Answer:
    content = show_subscription(revision, one, _warnings(one))
    return Answer(content=content, status=status, headers=(etag(revision),))


def _sources(call: Call[Any, Any], app_id: str, ids: Sequence[str]) -> tuple[str, ...]:
    for identity in ids:
        if call.own(Source, identity)[1].app_id != app_id:
            not_found("source", identity)
    return tuple(dict.fromkeys(ids))


def _targets(call: Call[Any, Any], app_id: str, ids: Sequence[str]) -> tuple[Target, ...]:
    for identity in ids:
        if call.own(Endpoint, identity)[1].app_id != app_id:
            not_found("endpoint", identity)
    return tuple(Target(endpoint_id=identity) for identity in dict.fromkeys(ids))
