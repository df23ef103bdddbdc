"""Why an event would or would not reach a subscription (ruling 8)."""

from typing import Any

import msgspec
from msgspec import UNSET

from northbound.dialects.base import raw
from northbound.logic.match import Explanation, Finding, explain
from northbound.model.errors import InvalidInput
from northbound.web.call import Answer, Call
from northbound.web.resources.events import own_event
from northbound.web.resources.showing import mask_words
from northbound.web.resources.subscriptions import compiled, pattern_text
from northbound.web.shapes.events import MatchAnswer, MatchQuestion
from northbound.web.shapes.pages import Nothing
from northbound.web.tracing import said_of


async def match(call: Call[Nothing, MatchQuestion]) -> Answer:
    """Explain field by field whether a pattern matches an event in the words of a view."""
    question = call.body
    pattern, warnings = compiled(pattern_text(question.pattern), question.view)
    words = await _words(call)
    found = _no_word(question.view) if words is None else explain(pattern, words)
    answer = MatchAnswer(
        matched=found.matched, view=question.view, findings=found.findings, warnings=list(warnings), event=words
    )
    return Answer(content=answer)


async def _words(call: Call[Nothing, MatchQuestion]) -> dict[str, Any] | None:
    """Return the event as the rule sees it; None when the view's wire has no word for it."""
    question = call.body
    if (question.event_id is None) == (question.event is UNSET):
        raise InvalidInput("give one of event_id and event", field="event_id")
    if question.event is not UNSET:
        content = msgspec.json.decode(question.event)
        if not isinstance(content, dict):
            raise InvalidInput("event is a JSON object in the words of the view", field="event")
        return content
    logged = await own_event(call, question.event_id or "")
    words = (await said_of(call.hub, logged)).as_matched(question.view)
    return msgspec.json.decode(mask_words(raw(words), question.view)) if words else None


def _no_word(view: str) -> Explanation:
    finding = Finding(path="", wants=f"an event that {view} has a word for", has="none", matched=False)
    return Explanation(matched=False, findings=(finding,))
