"""The refusals that every customer meets, as each of the four official clients raises them, in each way it can sign.

The clients are as published. A clock that is wrong is the standard library's, replaced before the client is loaded; a
call that comes again is sent again byte for byte by what stands between client and hub.
"""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import pytest
from alibabacloud_tea_openapi.models import OpenApiRequest, Params
from darabonba.exceptions import DaraException
from darabonba.runtime import RuntimeOptions

from e2e.receiver import wait_until
from sdk.asked import (
    AHEAD,
    EVENTBRIDGE,
    FOREIGN,
    INVALID,
    LIVE,
    MISSING,
    NO_ACTION,
    NO_VERSION,
    PLANE,
    REPLAYED,
    RTC,
    SIGNATURES,
    STALE,
    THROTTLED,
    WRONG_KEY,
    WRONG_SECRET,
)
from sdk.between import Between, sent
from sdk.clients import NOBODY, config, refused_by
from sdk.customer import Customer
from sdk.driver import Driver
from sdk.plane_client import Plane, Refused
from sdk.table import Record

Given = dict[str, Any]
MINUTES = {STALE: -16, AHEAD: 16}
(OWN,) = SIGNATURES[PLANE]


@dataclass(frozen=True)
class Product:
    """What one RPC client asks: (action, parameters), and the code that a wrong one is refused with.

    `read` is a call without effect, given a customer; `most` of it are taken in a second, or of RTC in a minute.
    """

    sdk: str
    version: str
    read: Callable[[Customer], tuple[str, Given]]
    most: int
    missing: tuple[str, str]  # of an action, without any parameter but AppId
    invalid: tuple[str, Given, str]
    foreign: str  # the code of `read` for another's

    def client(self, customer: Customer, signature: str, **other: Any) -> Any:
        return import_module(f"{self.sdk}.client").Client(config(customer, signature, **other))

    def call(self, client: Any, action: str, given: Given) -> Any:
        """Call the method that the client has for an action."""
        request = getattr(import_module(f"{self.sdk}.models"), f"{action}Request")().from_map(given)
        return getattr(client, method_of(action))(request)


def method_of(action: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", "_", action).lower()


PRODUCTS = {
    one.sdk: one
    for one in (
        Product(
            RTC, "2018-01-11", lambda customer: ("DescribeAppKey", {"AppId": customer.app_id}), 1_000,
            missing=("CreateEventSubscribe", "MissingClientToken"),
            invalid=("DescribeChannels", {"PageSize": 101}, "InvalidParameter"),
            foreign="ResourceNotExist",
        ),
        Product(
            LIVE, "2016-11-01", lambda customer: ("ListEventSub", {"AppId": customer.app_id}), 100,
            missing=("CreateEventSub", "MissingEvents"),
            invalid=("CreateEventSub", {"CallbackUrl": "http://hub.test/", "Events": ["Room"]}, "InvalidParameter"),
            foreign="ResourceNotExist",
        ),
        Product(
            EVENTBRIDGE, "2020-04-01",
            lambda customer: ("GetEventBus", {"EventBusName": f"of-{customer.account_id}"}), 100,
            missing=("CreateRule", "MissingEventBusName"),
            invalid=("CreateEventBus", {"EventBusName": "a.b"}, "EventBusNameInvalid"),
            foreign="EventBusNotExist",
        ),
    )
}  # fmt: skip
each_way = pytest.mark.parametrize(("sdk", "signature"), [(sdk, one) for sdk in PRODUCTS for one in SIGNATURES[sdk]])


@pytest.fixture
def product(sdk: str) -> Product:
    return PRODUCTS[sdk]


def prepared(product: Product, customer: Customer) -> tuple[str, Given]:
    """Return the product's call without effect, with whatever it reads made."""
    action, given = product.read(customer)
    if product.sdk == EVENTBRIDGE:
        product.call(product.client(customer, "V3"), "CreateEventBus", given)
    return action, given


# --- the three RPC clients -------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize(
    ("case", "changed", "code"),
    [
        (WRONG_KEY, {"access_key_id": NOBODY}, "InvalidAccessKeyId.NotFound"),
        (WRONG_SECRET, {"access_key_secret": "guessed"}, "SignatureDoesNotMatch"),
    ],
)
def test_a_wrong_key_or_secret(
    record: Record, customer: Customer, product: Product, signature: str, case: str, changed: Given, code: str
) -> None:
    action, given = prepared(product, customer)
    with record(action, sdk=product.sdk, signature=signature, case=case) as row:
        row.result = refused_by(lambda: product.call(product.client(customer, signature, **changed), action, given))
        assert row.result == code


@each_way
@pytest.mark.parametrize("case", [STALE, AHEAD])
def test_a_clock_that_is_off(
    record: Record, customer: Customer, late_clients: Driver, product: Product, signature: str, case: str
) -> None:
    """By a minute more than the quarter of an hour; by a minute less it is taken."""
    action, given = prepared(product, customer)
    words = {"sdk": product.sdk, "action": action, "method": method_of(action), "given": given}
    words["config"] = config(customer, signature).to_map()
    seconds = MINUTES[case] * 60
    with record(action, sdk=product.sdk, signature=signature, case=case) as row:
        refused = late_clients.ask(**words, ahead=seconds)
        row.result = refused.get("code", "taken")
        assert row.result == "InvalidTimeStamp.Expired"
        assert "set the clock" in refused["message"]
    within = late_clients.ask(**words, ahead=seconds - 120 if seconds > 0 else seconds + 120)
    assert "answer" in within


@each_way
def test_a_call_that_comes_again(record: Record, customer: Customer, product: Product, signature: str) -> None:
    action, given = prepared(product, customer)
    with record(action, sdk=product.sdk, signature=signature, case=REPLAYED) as row:
        with Between(customer.address, times=2) as between:
            there = replace(customer, address=between.address)
            row.result = refused_by(lambda: product.call(product.client(there, signature), action, given))
        assert row.result == "SignatureNonceUsed"
    with Between(customer.address) as between:
        there = replace(customer, address=between.address)
        assert product.call(product.client(there, signature), action, given).status_code == 200


def answered_and_refused(calls: list[Callable[[], Any]]) -> tuple[int, set[str]]:
    """Make all calls at once; return how many were answered, and the codes of the others."""

    def one(call: Callable[[], Any]) -> str:
        try:
            call()
        except DaraException as error:
            return error.code
        return ""

    with ThreadPoolExecutor(len(calls)) as pool:
        codes = list(pool.map(one, calls))
    return codes.count(""), set(codes) - {""}


@pytest.mark.parametrize(("sdk", "signature"), [(sdk, one) for sdk in (LIVE, EVENTBRIDGE) for one in SIGNATURES[sdk]])
def test_more_calls_than_are_allowed_in_a_second(
    record: Record, customer: Customer, product: Product, signature: str
) -> None:
    """They are gathered before the hub and come at once, so that no slow machine spreads them over seconds."""
    action, given = prepared(product, customer)
    count = 2 * product.most
    with record(action, sdk=product.sdk, signature=signature, case=THROTTLED) as row:
        with Between(customer.address, together=count) as between:
            there = replace(customer, address=between.address)
            client = product.client(there, signature, read_timeout=60_000)
            answered, codes = answered_and_refused([lambda: product.call(client, action, given)] * count)
        assert codes == {"Throttling.User"}
        assert product.most <= answered < count
        (row.result,) = codes
    client = product.client(customer, signature)
    wait_until(lambda: not answered_and_refused([lambda: product.call(client, action, given)])[1], 20, "to go on")


def test_a_thousand_calls_a_minute(record: Record, customer: Customer, new_customer: Callable[[], Customer]) -> None:
    product = PRODUCTS[RTC]
    action, given = product.read(customer)
    clients = {signature: product.client(customer, signature) for signature in SIGNATURES[RTC]}
    calls = [lambda: product.call(clients["V3"], action, given)] * product.most
    with ThreadPoolExecutor(8) as pool:
        assert len([call for call in pool.map(lambda call: call(), calls) if call.status_code == 200]) == product.most
    for signature, client in clients.items():
        with record(action, sdk=RTC, signature=signature, case=THROTTLED) as row:
            row.result = refused_by(lambda client=client: product.call(client, action, given))
            assert row.result == "Throttling.User"
    another = product.call(clients["V3"], "DescribeChannels", {"AppId": customer.app_id})
    assert another.status_code == 200
    other = new_customer()
    assert product.call(product.client(other, "V3"), *product.read(other)).status_code == 200


def test_fifty_looks_back_a_second(record: Record, customer: Customer) -> None:
    """They are of 1970: what is not refused for being one too many is refused for that."""
    product, count = PRODUCTS[LIVE], 100
    given = {"AppId": customer.app_id, "StartTime": 0, "EndTime": 1, "PageNo": 1, "PageSize": 1}
    with record("ListEventSubEvent", sdk=LIVE, signature="V3", case="over 50 calls in a second") as row:
        with Between(customer.address, together=count) as between:
            client = product.client(replace(customer, address=between.address), "V3", read_timeout=60_000)
            calls = [lambda: product.call(client, "ListEventSubEvent", given)] * count
            assert answered_and_refused(calls) == (0, {"InputInvalid", "Throttling.User"})
        row.result = "Throttling.User"


@each_way
@pytest.mark.parametrize(
    ("case", "action", "version", "code"),
    [
        (NO_ACTION, "DescribeEverything", "", "InvalidApi.NotFound"),
        ("another product's action", "DescribeRegions", "", "InvalidApi.NotFound"),
        (NO_VERSION, "", "2017-01-01", "NoSuchVersion"),
    ],
)
def test_an_unknown_action_or_version(
    record: Record,
    customer: Customer,
    product: Product,
    signature: str,
    case: str,
    action: str,
    version: str,
    code: str,
) -> None:
    """By `call_api`, which every method of these clients is made of."""
    known, given = product.read(customer)
    params = Params(
        action=action or known, version=version or product.version, protocol="HTTPS", pathname="/", method="POST",
        auth_type="AK", style="RPC", req_body_type="formData", body_type="json",
    )  # fmt: skip
    with record(action or known, sdk=product.sdk, signature=signature, case=case) as row:
        client, asked = product.client(customer, signature), OpenApiRequest(query=given)
        row.result = refused_by(lambda: client.call_api(params, asked, RuntimeOptions()))
        assert row.result == code


@each_way
def test_a_parameter_that_is_missing_or_wrong(
    record: Record, customer: Customer, product: Product, signature: str
) -> None:
    client, app = product.client(customer, signature), {"AppId": customer.app_id}
    action, code = product.missing
    with record(action, sdk=product.sdk, signature=signature, case=MISSING) as row:
        row.result = refused_by(lambda: product.call(client, action, app))
        assert row.result == code
    action, given, code = product.invalid
    with record(action, sdk=product.sdk, signature=signature, case=INVALID) as row:
        row.result = refused_by(lambda: product.call(client, action, app | given))
        assert row.result == code


@each_way
def test_what_is_another_accounts(
    record: Record,
    customer: Customer,
    new_customer: Callable[[], Customer],
    product: Product,
    signature: str,
) -> None:
    """T1: refused like what is nobody's, but for the name that was asked for."""
    other = new_customer()
    action, theirs = prepared(product, other)
    told: set[str] = set()
    client = product.client(customer, signature)
    (name, value) = next(iter(theirs.items()))
    with record(action, sdk=product.sdk, signature=signature, case=FOREIGN) as row:
        for asked in (value, "nobodys"):
            with pytest.raises(DaraException) as caught:
                product.call(client, action, {name: asked})
            told.add(caught.value.message.partition("request id")[0].replace(asked, "?"))
            assert caught.value.code == product.foreign
        row.result = caught.value.code
        assert len(told) == 1
    assert product.call(product.client(other, signature), action, theirs).status_code == 200


# --- the data plane's client -----------------------------------------------------------------------------------------

BUS = {"EventBusName": "default"}


@pytest.fixture
def plane(driver: Driver, customer: Customer) -> Plane:
    return Plane(driver, customer)


def refusal(plane: Plane, call: str, model: str, how: Given, given: Given) -> Refused:
    with pytest.raises(Refused) as caught:
        plane.call(call, model, how, **given)
    assert "EventBridgeError-" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("case", "how", "code"),
    [
        (WRONG_KEY, {"access_key_id": NOBODY}, "InvalidAccessKeyId.NotFound"),
        (WRONG_SECRET, {"access_key_secret": "guessed"}, "SignatureDoesNotMatch"),
        (STALE, {"ahead": -16 * 60}, "InvalidTimeStamp.Expired"),
        (AHEAD, {"ahead": 16 * 60}, "InvalidTimeStamp.Expired"),
    ],
)
def test_strangers_on_the_data_plane(record: Record, plane: Plane, case: str, how: Given, code: str) -> None:
    with record("getEventBus", sdk=PLANE, signature=OWN, case=case) as row:
        row.result = refusal(plane, "get_event_bus", "GetEventBusRequest", how, BUS).code
        assert row.result == code
    if "ahead" in how:
        within = {"ahead": how["ahead"] * 14 / 16}
        assert plane.call("get_event_bus", "GetEventBusRequest", within, **BUS)["EventBusName"] == "default"


def test_a_call_that_comes_again_to_the_data_plane(record: Record, plane: Plane) -> None:
    with record("getEventBus", sdk=PLANE, signature=OWN, case=REPLAYED) as row:
        with Between(plane.customer.address, times=2) as between:
            how = {"endpoint": between.address}
            row.result = refusal(plane, "get_event_bus", "GetEventBusRequest", how, BUS).code
        assert row.result == "SignatureNonceUsed"


def test_a_thousand_calls_a_minute_on_the_data_plane(record: Record, plane: Plane) -> None:
    with record("getEventBus", sdk=PLANE, signature=OWN, case=THROTTLED) as row:
        refused = refusal(plane, "get_event_bus", "GetEventBusRequest", {"times": 1_010}, BUS)
        row.result = refused.code
        assert (refused.before, refused.code) == (1_000, "Throttling.User")


def test_what_the_data_plane_is_asked_wrongly(record: Record, plane: Plane, new_customer: Any) -> None:
    other = Plane(plane.driver, new_customer())
    other.call("create_event_bus", "CreateEventBusRequest", EventBusName="mine")
    rule = {"EventBusName": "default", "RuleName": "r"}
    asked = [
        (NO_ACTION, "do_request", "", {"path": "describeEverything"}, "InvalidApi.NotFound"),
        (MISSING, "create_rule", "CreateRuleRequest", rule, "MissingFilterPattern"),
        (INVALID, "create_event_bus", "CreateEventBusRequest", {"EventBusName": "a.b"}, "EventBusNameInvalid"),
        (FOREIGN, "get_event_bus", "GetEventBusRequest", {"EventBusName": "mine"}, "EventBusNotExist"),
    ]
    for case, call, model, given, code in asked:
        action = "describeEverything" if call == "do_request" else re.sub("_(.)", lambda found: found[1].upper(), call)
        with record(action, sdk=PLANE, signature=OWN, case=case) as row:
            refused = refusal(plane, call, model, {}, given)
            row.result = refused.code
            assert row.result == code
    nobodys = refusal(plane, "get_event_bus", "GetEventBusRequest", {}, {"EventBusName": "none"})
    words = [one.message.partition("] ")[2] for one in (refused, nobodys)]
    assert words[0].replace("mine", "?") == words[1].replace("none", "?")
    assert plane.call("list_event_buses", "ListEventBusesRequest")["Total"] == 1


# --- after a restart -------------------------------------------------------------------------------------------------


def code_in(answer: bytes) -> str:
    words = json.loads(answer.partition(b"\r\n\r\n")[2])
    return words.get("Code") or words["code"]


def test_a_captured_call_is_refused_after_the_web_process_was_killed(record: Record, plane: Plane) -> None:
    """Its nonce outlives the process: whoever saw the bytes cannot use them by making the hub fall over."""
    customer, product = plane.customer, PRODUCTS[RTC]
    with Between(customer.address) as between:
        there = replace(customer, address=between.address)
        for signature in SIGNATURES[RTC]:
            product.call(product.client(there, signature), *product.read(customer))
        plane.call("get_event_bus", "GetEventBusRequest", {"endpoint": between.address}, **BUS)
        captured = list(between.requests)
    cases = [(RTC, "DescribeAppKey", "V1"), (RTC, "DescribeAppKey", "V3"), (PLANE, "getEventBus", OWN)]
    customer.hub.kill("web")
    customer.hub.wait_ready()

    for (sdk, action, signature), request in zip(cases, captured, strict=True):
        with record(action, sdk=sdk, signature=signature, case=f"{REPLAYED}, the hub killed between") as row:
            row.result = code_in(sent(customer.address, request))
            assert row.result == "SignatureNonceUsed"
    assert product.call(product.client(customer, "V3"), *product.read(customer)).status_code == 200
