"""What the vendors' clients must be seen to do here: `sdk/table.py` fails when a row of these is missing.

The actions are those of the vendors' pages and interfaces that northbound offers, as far as the client has a method.
"""

RTC, LIVE = "alibabacloud_rtc20180111", "alibabacloud_live20161101"
EVENTBRIDGE, PLANE = "alibabacloud_eventbridge20200401", "alibabacloud_eventbridge"

# What each client can sign with. The three RPC clients share alibabacloud_tea_openapi, whose `call_api` signs V3 unless
# `Config.signature_algorithm` is "v2", its name for V1. The data plane's client signs in `do_request`, in one way.
SIGNATURES = {RTC: ("V1", "V3"), LIVE: ("V1", "V3"), EVENTBRIDGE: ("V1", "V3"), PLANE: ("HMAC-SHA1",)}

ACTIONS = {
    RTC: (
        "CreateEventSubscribe", "DeleteEventSubscribe", "DescribeChannels", "DescribeChannelUsers",
        "DescribeChannelParticipants", "DescribeRtcChannelList", "DescribeRecordFiles", "DescribeApps",
        "DescribeAppKey",
    ),
    LIVE: ("CreateEventSub", "UpdateEventSub", "DeleteEventSub", "ListEventSub", "ListEventSubEvent"),
    EVENTBRIDGE: (
        "CreateEventBus", "UpdateEventBus", "DeleteEventBus", "GetEventBus", "ListEventBuses",
        "CreateRule", "UpdateRule", "DeleteRule", "EnableRule", "DisableRule", "GetRule", "ListRules",
        "PutTargets", "DeleteTargets", "ListTargets", "TestEventPattern", "PutEvents",
        "QueryEvent", "QueryEventTraces", "QueryTracedEvents", "QueryTracedEventByEventId",
        "ListAliyunOfficialEventSources", "ListUserDefinedEventSources",
        "CreateEventSource", "UpdateEventSource", "DeleteEventSource",
    ),
    PLANE: (
        "putEvents", "createEventBus", "deleteEventBus", "getEventBus", "listEventBuses",
        "createRule", "updateRule", "deleteRule", "enableRule", "disableRule", "getRule", "listRules",
        "createTargets", "deleteTargets", "listTargets", "testEventPattern",
        "queryEventTraces", "queryEventByEventId", "queryEventsByPeriod", "queryEventsByEventIds",
        "v2/createEventSource", "v2/updateEventSource", "v2/deleteEventSource",
        "v2/listUserDefinedEventSources", "v2/listAliyunOfficialEventSources",
    ),
}  # fmt: skip

WRONG_KEY, WRONG_SECRET = "wrong key id", "wrong secret"
STALE, AHEAD, REPLAYED, THROTTLED = "stale time", "time ahead", "replayed nonce", "throttled"
NO_ACTION, NO_VERSION = "unknown action", "unknown version"
MISSING, INVALID, FOREIGN = "missing parameter", "invalid parameter", "foreign account's id"
ERRORS = (
    WRONG_KEY, WRONG_SECRET, STALE, AHEAD, REPLAYED, THROTTLED, NO_ACTION, NO_VERSION, MISSING, INVALID, FOREIGN,
)  # fmt: skip
# What a client cannot be made to do, and why; said in the report instead of a result.
NOT_THERE = {
    (PLANE, NO_VERSION): "the client writes x-eventbridge-version itself, always 2015-06-06, and does not sign it",
}
LOOP = "the loop: subscribed, 3T in, signed callback out"
