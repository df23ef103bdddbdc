"""Tell what became of one event at one rule: which it reached, and of the others why none."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from northbound.logic.match import Finding, explain
from northbound.logic.route import compile_for
from northbound.model.app import Subscription
from northbound.model.errors import PatternError
from northbound.model.log import Logged


class Outcome(StrEnum):
    """How an event and a rule met."""

    SENT = "sent"  # there is a delivery by it
    GONE = "gone"  # there is a delivery by it, and it was deleted since
    NOT_SENT = "not_sent"  # it matches: not routed yet, no endpoint, or another rule sent it there already
    NOT_MATCHED = "not_matched"
    NO_WORD = "no_word"  # the rule's view has no word for the event
    OTHER_SOURCE = "other_source"
    DISABLED = "disabled"
    LATER = "later"  # the rule was made or changed after the event came
    BROKEN = "broken"  # its pattern is one that is refused today


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """An event at a rule: how it ended and, where fields were compared, each field."""

    outcome: Outcome
    findings: tuple[Finding, ...] = ()


def meet(rule: Subscription, logged: Logged, words: Mapping[str, Any] | None, *, is_sent: bool) -> Met:
    """Tell how *logged*, as *words* in the rule's view, and *rule* as it is now met; *is_sent*: by a delivery."""
    if not is_sent and rule.source_ids and logged.source_id not in rule.source_ids:
        return Met(outcome=Outcome.OTHER_SOURCE)
    if words is None:
        return Met(outcome=Outcome.SENT if is_sent else Outcome.NO_WORD)
    try:
        found = explain(compile_for(rule.view, rule.pattern), words)
    except PatternError:
        return Met(outcome=Outcome.SENT if is_sent else Outcome.BROKEN)
    return Met(outcome=_outcome(rule, logged, matched=found.matched, is_sent=is_sent), findings=found.findings)


def changed_since(rule: Subscription, logged: Logged) -> bool:
    """Tell whether a rule was made or changed after an event came: it was routed by another one than is there now."""
    return max(rule.created_at, rule.changed_at or rule.created_at) > logged.recorded_at


def _outcome(rule: Subscription, logged: Logged, *, matched: bool, is_sent: bool) -> Outcome:
    if is_sent:
        return Outcome.SENT
    if rule.state != "enabled":
        return Outcome.DISABLED
    if not matched:
        return Outcome.NOT_MATCHED
    return Outcome.LATER if changed_since(rule, logged) else Outcome.NOT_SENT
