"""EventBridge's buses, rules and event sources in the words in which both of its interfaces answer them."""

from typing import Any

from northbound.dialects.aliyun_cvc import SOURCE, SPELLINGS
from northbound.dialects.base import to_ms
from northbound.doors.bridge import STATUSES, bus_arn, rule_arn, source_arn
from northbound.logic.route import DEFAULT_BUS
from northbound.model.account import Account, Bus
from northbound.web.doors.event_sources import HTTP, EventSource
from northbound.web.doors.rules import Rule


def bus_words(account: Account, bus: Bus) -> dict[str, Any]:
    """Return a bus as both interfaces show it."""
    return {
        "EventBusName": bus.name,
        "EventBusARN": bus_arn(account, bus.name),
        "Description": bus.description,
        "CreateTimestamp": to_ms(bus.created_at),
    }


def rule_words(account: Account, rule: Rule) -> dict[str, Any]:
    """Return a rule as both interfaces show it, without its targets and times."""
    return {
        "EventBusName": rule.bus.name,
        "RuleARN": rule_arn(account, rule.bus.name, rule.name),
        "RuleName": rule.name,
        "Description": rule.description,
        "Status": STATUSES.get(rule.kept.state, "DISABLE"),
        "FilterPattern": rule.kept.pattern,
    }


def official_sources(account: Account) -> list[dict[str, Any]]:
    """Return what there is of the vendor's own sources: the meetings, with every registered type."""
    kinds = [
        {"Name": kind, "ShortName": kind.rpartition(":")[2], "GroupName": kind.split(":")[1], "EventSourceName": SOURCE}
        for kind in SPELLINGS
    ]
    meetings = {
        "Name": SOURCE,
        "FullName": SOURCE,
        "Arn": f"acs:eventbridge:{account.region}:SYSTEM:eventsource/{SOURCE}",
        "Type": "AliyunOfficial",
        "Status": "Activated",
        "EventBusName": DEFAULT_BUS,
        "Description": "Aliyun Meeting Service",
        "Ctime": to_ms(account.created_at),
        "EventTypes": kinds,
    }
    return [meetings]


def source_words(account: Account, source: EventSource) -> dict[str, Any]:
    """Return an event source as both interfaces show it."""
    words: dict[str, Any] = {
        "Name": source.kept.name,
        "Arn": source_arn(account, source.bus.name, source.kept.name),
        "EventBusName": source.bus.name,
        "Type": "UserDefined",
        "Status": "Activated",
        "Ctime": to_ms(source.kept.created_at),
    }
    if source.url:
        words |= {"ExternalSourceType": "HTTP", HTTP: source.kept.wire[HTTP] | {"PublicWebHookUrl": [source.url]}}
    return words
