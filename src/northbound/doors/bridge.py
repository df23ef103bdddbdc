"""EventBridge's nouns as both of its interfaces know them: names, limits, ARNs, refusals (facts 3.3, 3.4)."""

import re
from typing import Any, ClassVar, Final

import msgspec

from northbound.dialects.base import read_json
from northbound.doors.rpc import RpcError
from northbound.logic.match import CLOUD_EVENT_KEYS, Pattern, compile_pattern
from northbound.logic.route import DEFAULT_BUS
from northbound.model.account import Account, Bus
from northbound.model.errors import DecodeError, PatternError

VIEW: Final = "aliyun_cvc"  # rules on a bus see an event as this wire says it (ruling 8)
RESERVED: Final = "eventbridge-reserved-"
BUSES_MOST: Final = 50  # beside the default one
RULES_MOST: Final = 50  # of one bus
TARGETS_MOST: Final = 5  # of one rule
SOURCES_MOST: Final = 50  # of one bus; our own limit
PAGE_MOST: Final = 100
DESCRIPTION_LONGEST: Final = 255
EVENT_BYTES: Final = 256 * 1024
BATCH_MOST: Final = 16  # events of one call
BATCH_BYTES: Final = 1024 * 1024
ID_LONGEST: Final = 128
SOURCE_LONGEST: Final = 128
SUBJECT_LONGEST: Final = 512
TYPE_LONGEST: Final = 64
EXTENSIONS: Final = frozenset(
    "aliyuneventbusname aliyunaccountid aliyunregionid aliyunpublishtime aliyunpublishaddr "
    "aliyunoriginalaccountid".split()
)
PATTERN_KEYS: Final = CLOUD_EVENT_KEYS | EXTENSIONS
STATES: Final = {"ENABLE": "enabled", "DISABLE": "disabled"}
STATUSES: Final = {ours: theirs for theirs, ours in STATES.items()}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,126}")
_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}")
_BUS_ARN = re.compile(r"acs:eventbridge:([A-Za-z0-9-]*):([0-9A-Za-z]*):eventbus/(.{1,128})")


class BridgeError(RpcError):
    """A refusal in EventBridge's codes, 409 unless said; `/` adds `Success`, the other door writes it its own way."""

    more: ClassVar[dict[str, Any]] = {"Success": False}

    def __init__(self, code: str, message: str, status: int = 409) -> None:
        super().__init__(code, message, status)


def check_bus_name(name: str) -> None:
    """Refuse what cannot be the name of a new bus."""
    if not _NAME.fullmatch(name) or name.startswith(RESERVED):
        raise BridgeError(
            "EventBusNameInvalid",
            f"The event bus name [{name[:127]}] is invalid! Use 1 to 127 letters, digits and hyphens, the first one no "
            f"hyphen; {DEFAULT_BUS} and names that begin with {RESERVED} are taken.",
        )


def check_rule_name(name: str) -> None:
    """Refuse what cannot be the name of a rule."""
    if not _NAME.fullmatch(name):
        raise BridgeError(
            "EventRuleNameInvalid",
            f"The event rule name [{name[:127]}] is invalid! Use 1 to 127 letters, digits and hyphens, the first one "
            "no hyphen.",
        )


def check_source_name(name: str) -> None:
    """Refuse what cannot be the name of a customer's own event source; `acs.` is the vendor's."""
    if not _SOURCE_NAME.fullmatch(name) or name.startswith("acs."):
        raise BridgeError(
            "EventSourceNameInvalid",
            f"The event source name [{name[:127]}] is invalid! Use 1 to 127 letters, digits, dots, hyphens and "
            "underscores; names that begin with acs. are the official ones.",
        )


def no_bus(name: str) -> BridgeError:
    """Return the refusal of a bus that is not there or another account's: the same words."""
    return BridgeError("EventBusNotExist", f"The event bus [{name[:127]}] not existed!")


def no_rule(bus: str, name: str) -> BridgeError:
    """Return the refusal of a rule that is not there."""
    return BridgeError("EventRuleNotExist", f"The event rule [{name[:127]}] of event bus [{bus[:127]}] not existed!")


def bus_arn(account: Account, bus: str) -> str:
    """Return the ARN of a bus."""
    return f"acs:eventbridge:{account.region}:{account.id}:eventbus/{bus}"


def rule_arn(account: Account, bus: str, rule: str) -> str:
    """Return the ARN of a rule."""
    return f"{bus_arn(account, bus)}/rule/{rule}"


def source_arn(account: Account, bus: str, source: str) -> str:
    """Return the ARN of a customer's own event source."""
    return f"{bus_arn(account, bus)}/eventsource/{source}"


def bus_in_arn(arn: str, account: Account) -> str | None:
    """Return the name of the bus that an ARN names, empty for another account's, None for what is no bus."""
    match = _BUS_ARN.fullmatch(arn)
    if match is None:
        return None
    return match[3] if match[2] == account.id else ""


def read_attribute(text: str, name: str, kind: Any) -> Any:
    """Read JSON in a parameter's text; *name* says which in the refusal.

    What two parsers could read in two ways is refused, a member that is there twice above all (ours: no page says).
    """
    try:
        read_json(text.encode())
        return msgspec.json.decode(text, type=kind)
    except (DecodeError, msgspec.DecodeError, ValueError) as error:
        what = error.message if isinstance(error, DecodeError) else str(error)
        raise BridgeError("JsonAttributeInvalid", f"The Json attribute is invalid: {name}: {what[:200]}") from None


def rule_id(bus: Bus, name: str) -> str:
    """Return the id of a bus's rule, made of both names: found and kept unique without a search."""
    return f"{rule_stem(bus)}{name}"


def rule_stem(bus: Bus) -> str:
    """Return what the ids of a bus's rules begin with."""
    return f"rule_{bus.id.removeprefix('bus_')}_"


def compile_rule(text: str) -> Pattern:
    """Compile a rule's pattern, raising the documented refusal; only an event's attributes and `data` can be named."""
    try:
        return compile_pattern(text, keys=PATTERN_KEYS)
    except PatternError as error:
        raise BridgeError("EventRuleFilterPatternInvalid", error.message) from None
