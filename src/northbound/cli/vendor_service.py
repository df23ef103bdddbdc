"""Vendors' services through the vendors' own clients: subscribe, look, unsubscribe.

The clients are an optional install, imported when they are needed and never otherwise. What a client raises becomes one
of our errors, with the vendor's own code and words, and without the keys that were used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Protocol

import msgspec

from northbound.cli.output import Unreachable
from northbound.model.errors import ConfigError, Forbidden, HubError, InvalidInput, NotFound

DEADLINE_MS = 10_000
MESSAGE_MOST = 400
INSTALL = "python -m pip install 'northbound[connect]'"
RTC_EVENTS = ("ChannelEvent", "UserEvent")
CVC_TYPES = ("MeetingStateEvent", "MemberStateEvent", "MemberOperate", "MeetingStatistic")
REPEATABLE = timedelta(hours=12)  # a ClientToken is remembered for a day (facts 1.7)
TARGET = "northbound"
Connection = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who we are at the vendor, and where it is; used for this command and kept nowhere."""

    access_key_id: str
    access_key_secret: str
    region: str
    endpoint: str = ""
    protocol: str = "https"

    def __repr__(self) -> str:
        return f"Login(endpoint={self.endpoint!r})"


class Service(Protocol):
    """One vendor's service. A connection names what was made there, in words of the service."""

    def subscribe(self, connection: Connection, url: str, token: str) -> Connection:
        """Have callbacks sent to *url* (with *token*, where the service has one); return what is known of it now."""
        ...

    def look(self, connection: Connection, url: str) -> str:
        """Return a sentence on what the vendor says of it; raise when it is not there or not ours."""
        ...

    def unsubscribe(self, connection: Connection, url: str) -> None:
        """Remove it; what is gone already is no error."""
        ...


class Rtc:
    """Aliyun RTC 2018-01-11: CreateEventSubscribe and its opposite (seed 002)."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._client, self._models, self._runtime = _client("alibabacloud_rtc20180111", login)

    def app_key(self, app_id: str) -> str:
        """Return the key by which an app's callbacks are signed."""
        request = self._models.DescribeAppKeyRequest(app_id=app_id)
        key = self._call(self._client.describe_app_key_with_options, request).body.app_key
        if not key:
            raise InvalidInput("the vendor gives no AppKey; pass it as --app-key, or --unsigned to do without")
        return key

    def subscribe(self, connection: Connection, url: str, token: str) -> Connection:
        """Subscribe; the ClientToken makes a repeat the same subscription."""
        request = self._models.CreateEventSubscribeRequest(
            app_id=connection["AppId"],
            channel_id=connection.get("ChannelId") or None,
            callback_url=url,
            client_token=connection["ClientToken"],
            events=connection["Events"].split(","),
            need_callback_auth=connection["NeedCallbackAuth"] == "true",
        )
        answer = self._call(self._client.create_event_subscribe_with_options, request)
        return connection | {"SubscribeId": answer.body.subscribe_id}

    def look(self, connection: Connection, url: str) -> str:
        """Ask again by the same ClientToken; the service has no call that lists.

        Another SubscribeId says that ours is gone, and that asking just made a new one, which is removed. The same one
        says that the vendor remembers; where its memory outlives a subscription it says no more. After the day for
        which a token is remembered, asking again would subscribe again: then nothing is asked.
        """
        if datetime.now(UTC) - datetime.fromisoformat(connection["At"]) > REPEATABLE:
            raise InvalidInput(
                f"connected at {connection['At']}: this vendor can be asked within 12 hours only, since it has no call "
                "that lists subscriptions; look at the newest events instead"
            )
        again = self.subscribe(connection, url, "")["SubscribeId"]
        if again != connection["SubscribeId"]:
            self.unsubscribe(connection | {"SubscribeId": again}, url)
            raise NotFound(
                f"the vendor no longer has the subscription {connection['SubscribeId']}: it was removed there; "
                "disconnect, and connect again"
            )
        return (
            f"the vendor answers the same ClientToken with the same SubscribeId, {again}; it has no call that shows "
            "whether the subscription is still there, so look at the newest events too"
        )

    def unsubscribe(self, connection: Connection, url: str) -> None:
        """Unsubscribe, also when it was never learnt under which id: the ClientToken tells."""
        if not connection.get("SubscribeId"):
            connection = self.subscribe(connection, url, "")
        request = self._models.DeleteEventSubscribeRequest(
            app_id=connection["AppId"], subscribe_id=connection["SubscribeId"]
        )
        try:
            self._call(self._client.delete_event_subscribe_with_options, request)
        except NotFound:
            return

    def _call(self, call: Callable[..., Any], request: Any) -> Any:
        return _called(call, request, self._runtime, self._login)


class Cvc:
    """Aliyun CVC: a rule on an EventBridge bus, whose one target is the source (seed 000)."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._client, self._models, self._runtime = _client("alibabacloud_eventbridge20200401", login)

    def subscribe(self, connection: Connection, url: str, token: str) -> Connection:
        """Make the rule with its target."""
        models = self._models
        params = [
            models.CreateRuleRequestEventTargetsParamList(resource_key=key, form=form, value=value)
            for key, form, value in (("url", "CONSTANT", url), ("Body", "ORIGINAL", ""), ("token", "CONSTANT", token))
        ]
        target = models.CreateRuleRequestEventTargets(
            id=TARGET, type=url.partition("://")[0], endpoint=url, param_list=params
        )
        request = models.CreateRuleRequest(
            event_bus_name=connection["EventBusName"],
            rule_name=connection["RuleName"],
            description="northbound",
            filter_pattern=pattern(),
            event_targets=[target],
            status="ENABLE",
        )
        answer = self._call(self._client.create_rule_with_options, request)
        return connection | {"RuleARN": (answer.body.data and answer.body.data.rule_arn) or ""}

    def look(self, connection: Connection, url: str) -> str:
        """Ask for the rule, its target, and whether it would match a meeting's event."""
        request = self._models.GetRuleRequest(
            event_bus_name=connection["EventBusName"], rule_name=connection["RuleName"]
        )
        rule = self._call(self._client.get_rule_with_options, request).body.data
        if url not in [target.endpoint for target in rule.targets or ()]:
            raise InvalidInput("the vendor's rule has another target; disconnect, and connect again")
        event = {"source": "acs.aliyuncvc", "type": "aliyuncvc:MeetingEvent:MeetingStateEvent", "id": "1", "data": {}}
        question = self._models.TestEventPatternRequest(
            event=msgspec.json.encode(event | {"specversion": "1.0"}).decode(), event_pattern=rule.filter_pattern
        )
        answer = self._call(self._client.test_event_pattern_with_options, question)
        if not answer.body.data or not answer.body.data.result:
            raise InvalidInput("the vendor's rule does not match a meeting's event; disconnect, and connect again")
        return f"the vendor has the rule ({rule.status}) with this target, and says that it matches a meeting's event"

    def unsubscribe(self, connection: Connection, url: str) -> None:
        """Remove the rule with its target."""
        request = self._models.DeleteRuleRequest(
            event_bus_name=connection["EventBusName"], rule_name=connection["RuleName"]
        )
        try:
            self._call(self._client.delete_rule_with_options, request)
        except NotFound:
            return

    def _call(self, call: Callable[..., Any], request: Any) -> Any:
        return _called(call, request, self._runtime, self._login)


SERVICES: dict[str, Callable[[Login], Service]] = {"aliyun_rtc": Rtc, "aliyun_cvc": Cvc}
_GONE = frozenset({"ResourceNotExist", "EventRuleNotExist", "EventRuleNotExisted"})


def pattern() -> str:
    """Return the filter of the page (seed 000): the four meeting events."""
    types = [f"aliyuncvc:MeetingEvent:{name}" for name in CVC_TYPES]
    return msgspec.json.encode({"source": ["acs.aliyuncvc"], "type": types}).decode()


def _client(package: str, login: Login) -> tuple[Any, Any, Any]:
    """Return (client, its models, settings of a call); a client that is not installed is said with what to do."""
    try:
        client, models = import_module(f"{package}.client"), import_module(f"{package}.models")
        settings, runtime = import_module("alibabacloud_tea_openapi.models"), import_module("darabonba.runtime")
    except ImportError:
        raise ConfigError(f"the vendor's client {package} is not installed; install it: {INSTALL}") from None
    given = settings.Config(
        access_key_id=login.access_key_id,
        access_key_secret=login.access_key_secret,
        region_id=login.region,
        endpoint=login.endpoint or None,
        protocol=login.protocol,
    )
    waits = runtime.RuntimeOptions(connect_timeout=DEADLINE_MS, read_timeout=DEADLINE_MS, autoretry=False)
    return client.Client(given), models, waits


def _called(call: Callable[..., Any], request: Any, runtime: Any, login: Login) -> Any:
    try:
        answer = call(request, runtime)
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the vendor's refusal or the network's
        raise _as_ours(error, login) from None
    if getattr(answer.body, "success", True) is False:  # some answers say their refusal with status 200
        raise _refusal(str(answer.body.code), str(answer.body.message), login)
    return answer


def _as_ours(error: Exception, login: Login) -> HubError:
    code = getattr(error, "code", None)
    status = getattr(error, "status_code", None)
    if not code or status is None:  # its words hold the URL, and the URL holds who we are
        return Unreachable(f"the vendor at {login.endpoint or login.region} cannot be reached ({type(error).__name__})")
    return _refusal(str(code), str(getattr(error, "message", "")), login)


def _refusal(code: str, message: str, login: Login) -> HubError:
    said = f"the vendor refuses: {code}: {message}"[:MESSAGE_MOST]
    for secret in (login.access_key_secret, login.access_key_id):
        said = said.replace(secret, "***") if secret else said
    if code in _GONE:
        return NotFound(said)
    is_key = code.startswith(("InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden", "NoAuth"))
    return Forbidden(f"{said}; check the access key and its rights") if is_key else InvalidInput(said)
