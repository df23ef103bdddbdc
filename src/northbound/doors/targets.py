"""Read a rule's targets as EventBridge's interfaces say them, into what an endpoint of ours needs (facts 3.4, 3.5).

A target's words are kept beside (`wire`) so that they can be answered again; a token is a secret and is not in them.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from northbound.doors.bridge import BridgeError, read_attribute
from northbound.logic.transform import check_body
from northbound.model.app import Body, BodyForm, Endpoint, RetryPolicy, RetryStrategy, Target
from northbound.model.errors import InvalidInput
from northbound.model.wire import KeyKind

TYPES: Final = ("http", "https")
TOLERANCES: Final = ("ALL", "NONE")
FORMS: Final = tuple(form.value for form in BodyForm)
NETWORKS: Final = ("PublicNetwork", "PrivateNetwork")
# What names a private network elsewhere: kept and shown, while the outgoing guard decides what is reached.
KEPT: Final = frozenset({"vpcid", "vswitchids", "securitygroupid"})
RESOURCES: Final = frozenset({"url", "body", "network", "token", *KEPT})
SELECTOR: Final = "MATCHED_EVENT"
CONCURRENCY_MOST: Final = 256
IN_FLIGHT: Final = 16  # where nothing is said
ID_LONGEST: Final = 128
TOKEN_LONGEST: Final = 256
URL_LONGEST: Final = 2_048
ATTEMPTS: Final = {RetryStrategy.BACKOFF_RETRY: 4, RetryStrategy.EXPONENTIAL_DECAY_RETRY: 177}  # the first included
_PRINTABLE = re.compile(r"[!-~]+(?: [!-~]+)*")


class Param(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """One parameter of a target: `Form` says what `Value` (and `Template`) mean."""

    resource_key: str | None = None
    form: str | None = None
    value: str | None = None
    template: str | None = None


class Concurrency(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How many calls may be under way."""

    concurrency: int | str | None = None


class GivenTarget(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A target as both interfaces say it, in Pascal-case keys; unknown members are ignored."""

    id: str | None = None
    type: str | None = None
    endpoint: str | None = None
    param_list: list[Param] | None = None
    push_retry_strategy: str | None = None
    push_selector: str | None = None
    errors_tolerance: str | None = None
    dead_letter_queue: dict[str, Any] | None = None
    concurrent_config: Concurrency | None = None


class ReadTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a target asks of an endpoint; URL and dead letter's ARN are not looked up yet."""

    id: str
    url: str
    body: Body
    token: bytes
    retry: RetryPolicy
    stops_when_dead: bool
    dead_letter_arn: str
    max_in_flight: int
    envelope: str
    wire: dict[str, Any]


def read_given(text: str, name: str) -> list[GivenTarget]:
    """Read a JSON array of targets; *name* is the parameter that holds it."""
    return read_attribute(text, name, list[GivenTarget])


def read_target(given: GivenTarget, policy: RetryPolicy) -> ReadTarget:
    """Return what *given* asks for, on top of the wire's retry *policy*; raise `BridgeError` for what cannot be."""
    identity = given.id or ""
    if not identity or len(identity) > ID_LONGEST or not _PRINTABLE.fullmatch(identity):
        raise _missing("Id", f"1 to {ID_LONGEST} printable ASCII characters, each target its own")
    params = _params(given)
    if given.type not in TYPES:
        raise BridgeError(
            "EventTargetClassNotExist",
            f"The event target class [{(given.type or '')[:64]}] not existed! Here a target is http or https.",
        )
    url = _constant(params, "url") or given.endpoint or ""
    if not url or len(url) > URL_LONGEST:
        raise _missing("Endpoint", f"a URL of at most {URL_LONGEST} characters, in Endpoint or in the parameter url")
    network = _constant(params, "network")
    if network and network not in NETWORKS:
        raise _ineffective("Network", " or ".join(NETWORKS))
    tolerance = given.errors_tolerance or TOLERANCES[0]
    if tolerance not in TOLERANCES:
        raise _ineffective("ErrorsTolerance", " or ".join(TOLERANCES))
    if given.push_selector not in (None, "", SELECTOR):
        raise _ineffective("PushSelector", SELECTOR)
    arn = str((given.dead_letter_queue or {}).get("Arn") or "")
    if given.dead_letter_queue and not arn:
        raise _missing("DeadLetterQueue.Arn", "the ARN of an event bus")
    return ReadTarget(
        id=identity,
        url=url,
        body=_body(params),
        token=_token(params),
        retry=_retry(given.push_retry_strategy, policy),
        stops_when_dead=tolerance == "NONE",
        dead_letter_arn=arn,
        max_in_flight=_in_flight(given.concurrent_config),
        # The page's rules say PushSelector; no SDK of today can (ruling 12, docs/vendors/eventbridge.md).
        envelope="seed2020" if given.push_selector else "current",
        wire=_wire(given, url, tolerance),
    )


def identity_of(target: Target) -> str:
    """Return a target's id on its rule; one that was added by the hub's own API is known by its endpoint's."""
    return target.id or target.endpoint_id


def told_target(target: Target, endpoint: Endpoint) -> dict[str, Any]:
    """Return a target's words as they are answered: what was said of it, with what is true of its *endpoint* now.

    A retry strategy that the vendor does not have is told as its default.
    """
    said = target.wire
    is_moved = endpoint.url != _said_url(said)
    words = {
        "Id": identity_of(target),
        "Type": said.get("Type") or endpoint.url.partition("://")[0],
        "Endpoint": endpoint.url if is_moved else said["Endpoint"],
        "PushRetryStrategy": _told_strategy(said.get("PushRetryStrategy"), endpoint.retry),
        "ErrorsTolerance": TOLERANCES[endpoint.stops_when_dead],
        "ParamList": _told_params(said.get("ParamList", ()), endpoint, is_moved=is_moved),
    }
    if endpoint.options.get("envelope") == "seed2020":
        words["PushSelector"] = SELECTOR
    if "DeadLetterQueue" in said:
        words["DeadLetterQueue"] = said["DeadLetterQueue"]
    if "ConcurrentConfig" in said or endpoint.max_in_flight != IN_FLIGHT:
        words["ConcurrentConfig"] = {"Concurrency": endpoint.max_in_flight}
    return words


def _said_url(said: dict[str, Any]) -> str | None:
    values = (one.get("Value") for one in said.get("ParamList", ()) if _key_of(one) == "url")
    return next(values, None) or said.get("Endpoint")


def _told_strategy(said: str | None, policy: RetryPolicy) -> str:
    if said and _retry(said, policy).strategy is policy.strategy:
        return said
    return (policy.strategy if policy.strategy in ATTEMPTS else RetryStrategy.BACKOFF_RETRY).value


def _told_params(said: Sequence[dict[str, Any]], endpoint: Endpoint, *, is_moved: bool) -> list[dict[str, Any]]:
    """Return the parameters with the URL and the token of now; a token is a secret, so it is not in what was said."""
    token = next((key.secret.decode("latin-1") for key in endpoint.keys if key.kind is KeyKind.TOKEN), "")
    values = {"token": token} | ({"url": endpoint.url} if is_moved else {})
    keys = [_key_of(one) for one in said]
    params = [one | {"Value": values[key]} if key in values else one for key, one in zip(keys, said, strict=True)]
    if token and "token" not in keys:
        params.append({"ResourceKey": "token", "Form": "CONSTANT", "Value": token})
    return params


def _key_of(param: dict[str, Any]) -> str:
    return param.get("ResourceKey", "").lower()


def _params(given: GivenTarget) -> dict[str, Param]:
    """Return the parameters by their keys in lower case: the vendor's pages write them in both."""
    found: dict[str, Param] = {}
    for param in given.param_list or ():
        key = (param.resource_key or "").lower()
        if key not in RESOURCES:
            wanted = "url, Body, Network, token, VpcId, VSwitchIds and SecurityGroupId"
            raise _ineffective(f"ParamList.{(param.resource_key or '')[:64]}", f"one of {wanted}")
        if key in found:
            raise _ineffective(f"ParamList.{param.resource_key}", "given once")
        if (param.form or "CONSTANT") not in FORMS:
            raise _ineffective("Form", ", ".join(FORMS))
        found[key] = param
    return found


def _constant(params: dict[str, Param], key: str) -> str:
    param = params.get(key)
    if param is None:
        return ""
    if (param.form or "CONSTANT") != "CONSTANT":
        raise _ineffective(f"the Form of {param.resource_key}", "CONSTANT")
    return param.value or ""


def _body(params: dict[str, Param]) -> Body:
    param = params.get("body")
    if param is None:
        return Body()
    form = BodyForm(param.form or "ORIGINAL")
    needs = form is not BodyForm.ORIGINAL
    body = Body(form=form, value=(param.value or "") if needs else "", template=param.template or "")
    body = body if form is BodyForm.TEMPLATE else replace(body, template="")
    try:
        check_body(body)
    except InvalidInput as error:
        raise _ineffective("Body", error.message) from None
    return body


def _token(params: dict[str, Param]) -> bytes:
    token = _constant(params, "token")
    if token and (len(token) > TOKEN_LONGEST or not _PRINTABLE.fullmatch(token)):
        raise _ineffective("token", f"1 to {TOKEN_LONGEST} printable ASCII characters, since it is sent in a header")
    return token.encode()


def _retry(given: str | None, policy: RetryPolicy) -> RetryPolicy:
    """Return the policy of a strategy; text that names none counts as the default one (facts 3.5)."""
    named = {strategy.value: strategy for strategy in ATTEMPTS}
    strategy = named.get(given or "", RetryStrategy.BACKOFF_RETRY)
    return replace(policy, strategy=strategy, attempts=ATTEMPTS[strategy])


def _in_flight(given: Concurrency | None) -> int:
    value = None if given is None else given.concurrency
    if value is None or value == "":
        return IN_FLIGHT
    number = int(value) if isinstance(value, int) or (value.isascii() and value.isdigit() and len(value) < 9) else 0
    if not 1 <= number <= CONCURRENCY_MOST:
        raise _ineffective("ConcurrentConfig.Concurrency", f"a whole number from 1 to {CONCURRENCY_MOST}")
    return number


def _wire(given: GivenTarget, url: str, tolerance: str) -> dict[str, Any]:
    words: dict[str, Any] = {
        "Id": given.id,
        "Type": given.type,
        "Endpoint": given.endpoint or url,
        "PushRetryStrategy": given.push_retry_strategy or RetryStrategy.BACKOFF_RETRY.value,
        "ErrorsTolerance": tolerance,
        "ParamList": [_without_token(param) for param in given.param_list or ()],
    }
    if given.push_selector:
        words["PushSelector"] = given.push_selector
    if given.dead_letter_queue:
        words["DeadLetterQueue"] = given.dead_letter_queue
    if given.concurrent_config is not None and given.concurrent_config.concurrency is not None:
        words["ConcurrentConfig"] = {"Concurrency": _in_flight(given.concurrent_config)}
    return words


def _without_token(param: Param) -> dict[str, Any]:
    words = msgspec.to_builtins(param)
    return {**words, "Value": ""} if (param.resource_key or "").lower() == "token" else words


def _missing(name: str, what: str) -> BridgeError:
    return BridgeError("EventTargetMissingAttribute", f"Missing the attribute [{name}]: {what}.")


def _ineffective(name: str, what: str) -> BridgeError:
    return BridgeError("EventTargetIneffectiveAttribute", f"The attribute [{name}] is ineffective: {what}.")
