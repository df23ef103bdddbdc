"""Decide which stay of a person an event belongs to, and what to remember of stays that ended (R2, R3, R9).

A vendor's session id decides; without one the vendor's clock; without either, the order of the log. Of several stays
of one person the one that began last counts. Where two vendor times are equal, the log's order decides, unless the
wire has no event ids: then the second may be the first one repeated.
"""

from datetime import datetime

from msgspec.structs import replace

from northbound.model.event import Event, Reason
from northbound.model.room import Departed, Participant, Room

SESSIONS_KEPT = 20  # ended stays of one person that are told apart by the vendor's ids


def newest(*moments: datetime | None) -> datetime | None:
    """Return the latest of *moments*, None when there is none."""
    return max(filter(None, moments), default=None)


def is_new_stay(room: Room, present: Participant, event: Event) -> bool:
    """Tell whether a join of somebody already present begins another stay (the old one is superseded, R3)."""
    when = event.occurred_at
    timed = when is not None and present.joined_at_known
    if event.session_id is not None and present.wire_session_id is not None:
        later = when is None or not timed or when >= present.joined_at
        return event.session_id != present.wire_session_id and later
    if present.implied:
        return False
    if when is not None and timed:
        return when > present.joined_at
    return room.epoch > present.epoch


def is_ended(departed: Departed | None, event: Event) -> bool:
    """Tell whether an event is a late one of a stay that ended, or of one before it (R2)."""
    if departed is None:
        return False
    when = event.occurred_at
    if event.session_id is not None and departed.ended:
        older = when is not None and departed.began_at is not None and when < departed.began_at
        return event.session_id in departed.ended or older
    if when is None or departed.left_at is None or not departed.left_at_known:
        return False
    return when < departed.left_at or (when == departed.joined_at and event.dedupe_key is None)


def is_late_act(departed: Departed | None, event: Event) -> bool:
    """Tell whether somebody who left acts late; without clock or session that is likelier than a lost join."""
    if departed is None:
        return False
    told = event.occurred_at is not None and departed.left_at_known
    return is_ended(departed, event) or not (told or (event.session_id is not None and departed.ended))


def is_stale(present: Participant, event: Event) -> bool:
    """Tell whether an event names an older stay than the one that is present."""
    if event.session_id is not None and present.wire_session_id is not None:
        return event.session_id != present.wire_session_id
    return event.occurred_at is not None and present.joined_at_known and event.occurred_at < present.joined_at


def is_of_older_stay(present: Participant, event: Event) -> bool:
    """Tell the same of an act: an implied stay may have begun before the act that showed it."""
    if event.session_id is not None and present.wire_session_id is not None:
        return event.session_id != present.wire_session_id
    return not present.implied and is_stale(present, event)


def ends_stay(present: Participant | None, departed: Departed | None, event: Event) -> bool:
    """Tell whether a leave ends the stay that is present: not that of an older stay, sent late or twice."""
    if present is None or is_stale(present, event):
        return False
    if departed is None or event.occurred_at is None or event.dedupe_key is not None or event.session_id is not None:
        return True
    return not (departed.left_at_known and event.occurred_at == departed.left_at == present.joined_at)


def enriched(present: Participant, event: Event) -> Participant:
    """Take over what a repeated or late join of the same stay knows and earlier events did not."""
    if is_of_older_stay(present, event):
        return present
    facts = event.facts
    clock = event.occurred_at if present.implied or not present.joined_at_known else None
    return replace(
        present,
        implied=False,
        joined_at=clock or present.joined_at,
        joined_at_known=present.joined_at_known or clock is not None,
        wire_session_id=present.wire_session_id or event.session_id,
        name=present.name or facts.name,
        role=present.role or facts.role,
        terminal=present.terminal or facts.terminal,
        client=present.client or facts.client,
        phone=present.phone or facts.phone,
        group_id=present.group_id or facts.group_id,
    )


def departed_of(
    one: Participant, earlier: Departed | None, event: Event, when: datetime, reason: Reason | None
) -> Departed:
    """Return what to remember of a stay that ends with *event*."""
    session = one.wire_session_id
    ended = earlier.ended if earlier is not None else ()
    began = one.joined_at if one.joined_at_known and not one.implied else None
    return Departed(
        session_id=one.session_id,
        wire_session_id=session,
        joined_at=one.joined_at,
        left_at=when,
        left_at_known=event.occurred_at is not None,
        reason=reason,
        ended=_adding(ended, session),
        began_at=newest(began, earlier.began_at if earlier is not None else None),
    )


def join_noted(departed: Departed, event: Event) -> Departed:
    """Remember when a stay began whose end was heard of first, so that an older one is known as older."""
    named = event.session_id is not None and event.session_id == departed.wire_session_id
    joined = departed.joined_at or (event.occurred_at if named else None)
    return replace(departed, began_at=newest(departed.began_at, event.occurred_at), joined_at=joined)


def leave_noted(departed: Departed | None, event: Event, when: datetime, *, is_present: bool) -> Departed | None:
    """Return what to remember of a leave that ends no stay we know of: its join may still come."""
    session, known = event.session_id, event.occurred_at is not None
    if is_present and session is None:
        return departed
    if departed is None:
        return _unseen(event, when)
    left_at = departed.left_at if departed.left_at_known else None
    newer = known and left_at is not None and when > left_at
    if session is None or session in departed.ended:
        return replace(departed, left_at=when) if newer and not is_present else departed
    ended = _adding(departed.ended, session)
    if not newer:
        return replace(departed, ended=ended)
    return replace(_unseen(event, when), ended=ended, began_at=departed.began_at)


def _unseen(event: Event, when: datetime) -> Departed:
    return Departed(
        session_id="",
        wire_session_id=event.session_id,
        left_at=when,
        left_at_known=event.occurred_at is not None,
        reason=event.facts.reason,
        ended=_adding((), event.session_id),
    )


def _adding(ended: tuple[str, ...], session: str | None) -> tuple[str, ...]:
    return ended if session is None or session in ended else (*ended, session)[-SESSIONS_KEPT:]
