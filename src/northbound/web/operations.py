"""The one table of operations: it yields the routes, the OpenAPI document and the hints that show a call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from northbound.web.call import Answer, Call
from northbound.web.doors import avd_settings, call_apps, notice_settings, recording_query
from northbound.web.doors import avd_shapes as v
from northbound.web.resources import (
    accounts,
    alarms,
    api_keys,
    apps,
    certificates,
    deliveries,
    endpoints,
    events,
    figures,
    matching,
    polls,
    replays,
    rooms,
    servers,
    sources,
    statistics,
    subscriptions,
    system,
    traces,
    verifying,
)
from northbound.web.shapes import accounts as c
from northbound.web.shapes import alarms as a
from northbound.web.shapes import call_apps as m
from northbound.web.shapes import certificates as k
from northbound.web.shapes import deliveries as d
from northbound.web.shapes import events as e
from northbound.web.shapes import notices as n
from northbound.web.shapes import polls as p
from northbound.web.shapes import servers as w
from northbound.web.shapes import setup as s
from northbound.web.shapes import traces as t
from northbound.web.shapes.pages import Nothing, Page, Paging

BASE = "/api/v1"


class Role(StrEnum):
    """Whom an operation is for: anybody, any key, admin keys."""

    OPEN = "open"
    READER = "reader"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call: where it is, what it takes and gives, who may, and what it is for in both languages.

    `errors` are the codes beside those every call can have (`openapi.ALWAYS`). `media_type` is set where the answer
    is not the JSON of `answer`. `changes` tells the other processes to look at the registry again.
    `again` answers a repeat by what the first call noted under its Idempotency-Key, without secrets; it stands where
    the id of what is made does not follow from that key (`Call.made_before`), and raises `NotFound` when that is gone.
    """

    id: str
    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[Answer]]
    en: str
    zh: str
    role: Role = Role.READER
    query: type[Any] = Nothing
    body: type[Any] | None = None
    answer: Any = None
    status: int = 200
    errors: tuple[str, ...] = ()
    media_type: str | None = None
    changes: bool = False
    is_conditional: bool = False  # needs If-Match
    again: Callable[[Call[Any, Any], dict[str, str]], Awaitable[Answer]] | None = None

    @property
    def tag(self) -> str:
        """The group it is listed in."""
        return self.path.removeprefix(BASE).strip("/").partition("/")[0] if self.path.startswith(BASE) else "system"


def _get(name: str, path: str, run: Any, answer: Any, en: str, zh: str, **more: Any) -> Operation:
    own = ("not_found",) if "{" in path else ()
    errors = (*own, *more.pop("errors", ()))
    return Operation(
        id=name, method="GET", path=BASE + path, run=run, answer=answer, en=en, zh=zh, errors=errors, **more
    )


def _changing(name: str, method: str, path: str, run: Any, en: str, zh: str, *errors: str, **more: Any) -> Operation:
    words: dict[str, Any] = {"role": Role.ADMIN, "errors": ("not_found", "conflict", *errors)} | more
    return Operation(id=name, method=method, path=BASE + path, run=run, en=en, zh=zh, **words)


def _post(name: str, path: str, run: Any, body: Any, answer: Any, en: str, zh: str, **more: Any) -> Operation:
    errors = more.pop("errors", ())
    return _changing(name, "POST", path, run, en, zh, *errors, body=body, answer=answer, **more)


def _patch(name: str, path: str, run: Any, body: Any, answer: Any, en: str, zh: str, **more: Any) -> Operation:
    errors = ("stale", "if_match_required", *more.pop("errors", ()))
    is_so = {"changes": True, "is_conditional": True}
    return _changing(name, "PATCH", path, run, en, zh, *errors, body=body, answer=answer, **is_so)


def _put(name: str, path: str, run: Any, body: Any, answer: Any, en: str, zh: str) -> Operation:
    errors = ("stale", "if_match_required", "blocked_address")
    return _changing(name, "PUT", path, run, en, zh, *errors, body=body, answer=answer, changes=True)


def _delete(name: str, path: str, run: Any, en: str, zh: str) -> Operation:
    return _changing(name, "DELETE", path, run, en, zh, "stale", status=204, changes=True)


def _open(name: str, path: str, run: Any, media_type: str | None, en: str, zh: str, **more: Any) -> Operation:
    return Operation(
        id=name, method="GET", path=path, run=run, media_type=media_type, en=en, zh=zh, role=Role.OPEN, **more
    )


_APPS = (
    _get("list_apps", "/apps", apps.listed, Page[s.AppShown], "List apps", "列出应用", query=Paging),
    _post("create_app", "/apps", apps.create, s.NewApp, s.AppShown, "Create an app", "新建应用",
          status=201, changes=True),
    _get("get_app", "/apps/{id}", apps.shown, s.AppShown, "Show an app", "查看应用"),
    _patch("change_app", "/apps/{id}", apps.change, s.AppChange, s.AppShown, "Change an app", "修改应用"),
    _delete("delete_app", "/apps/{id}", apps.remove, "Delete an app that is empty", "删除空的应用"),
    _post("reveal_app", "/apps/{id}/reveal", apps.reveal, None, s.AppShown, "Show an app's key; audited",
          "显示应用密钥（记入审计）"),
)  # fmt: skip

_ACCOUNTS = (
    _get("list_accounts", "/accounts", accounts.listed, Page[c.AccountShown], "List accounts", "列出账号",
         query=Paging),
    _post("create_account", "/accounts", accounts.create, c.NewAccount, c.AccountShown,
          "Create an account; its AccessKey pair is shown once", "新建账号；AccessKey 仅显示一次", status=201,
          changes=True, again=accounts.created),
    _get("get_account", "/accounts/{id}", accounts.shown, c.AccountShown, "Show an account", "查看账号"),
    _patch("change_account", "/accounts/{id}", accounts.change, c.AccountChange, c.AccountShown,
           "Change an account", "修改账号"),
    _get("list_access_keys", "/accounts/{id}/access-keys", accounts.keys, Page[c.AccessKeyShown],
         "List an account's access keys", "列出账号的 AccessKey"),
    _post("create_access_key", "/accounts/{id}/access-keys", accounts.create_key, None, c.AccessKeyShown,
          "Make an AccessKey pair, shown once", "新建 AccessKey，仅显示一次", status=201,
          again=accounts.key_created),
    _post("enable_meeting_push", "/accounts/{id}/meeting-push/enable", accounts.enable_push, None, c.AccountShown,
          "Turn meeting message push on, making the grant it needs", "开启会议消息推送，并创建所需的服务关联授权",
          errors=("grant_missing",), changes=True),
    _post("disable_meeting_push", "/accounts/{id}/meeting-push/disable", accounts.disable_push, None, c.AccountShown,
          "Turn meeting message push off; the grant stays", "关闭会议消息推送，授权保留", changes=True),
    _post("create_grant", "/accounts/{id}/grants", accounts.grant, c.GrantWanted, c.AccountShown,
          "Grant an account's own keys the right to link services", "授予账号自身密钥创建服务关联授权的权限",
          changes=True),
    _delete("delete_grant", "/accounts/{id}/grants/{grant}", accounts.revoke, "Take a grant back", "收回授权"),
    _get("list_statistics", "/accounts/{id}/statistics", statistics.listed, Page[c.StatisticShown],
         "List the daily statistics that were sent, newest day first", "列出已发送的每日统计，新的在前", query=Paging),
    _post("resend_statistic", "/accounts/{id}/statistics/{day}", statistics.again, c.StatisticWanted,
          c.StatisticAnswer, "Count a past day anew; with dry_run false, send what differs",
          "重新统计某日；dry_run 为 false 时发送更正"),
    _delete("delete_access_key", "/accounts/{id}/access-keys/{key_id}", accounts.remove_key,
            "Delete an access key at once", "立即删除 AccessKey"),
)  # fmt: skip

_SOURCES = (
    _get("list_sources", "/sources", sources.listed, Page[s.SourceShown], "List sources", "列出来源", query=s.OfApp),
    _post("create_source", "/sources", sources.create, s.NewSource, s.SourceShown, "Create a source",
          "新建来源", status=201, changes=True),
    _get("get_source", "/sources/{id}", sources.shown, s.SourceShown, "Show a source", "查看来源"),
    _patch("change_source", "/sources/{id}", sources.change, s.SourceChange, s.SourceShown, "Change a source",
           "修改来源"),
    _delete("delete_source", "/sources/{id}", sources.remove, "Delete a source; its events stay",
            "删除来源，事件保留"),
    _post("reveal_source", "/sources/{id}/reveal", sources.reveal, None, s.SourceShown,
          "Show a source's secrets; audited", "显示来源密钥（记入审计）"),
    _post("poll_source", "/sources/{id}/poll", polls.poll, p.PollWanted, p.PollShown,
          "Ask the vendor for its own list of rooms, and compare", "向厂商查询房间列表并与本地对比",
          errors=("poll_failed",)),
)  # fmt: skip

_ENDPOINTS = (
    _get("list_endpoints", "/endpoints", endpoints.listed, Page[s.EndpointShown], "List endpoints", "列出端点",
         query=s.OfApp),
    _post("create_endpoint", "/endpoints", endpoints.create, s.NewEndpoint, s.EndpointShown, "Create an endpoint",
          "新建端点", status=201, changes=True, errors=("blocked_address",)),
    _get("get_endpoint", "/endpoints/{id}", endpoints.shown, s.EndpointShown, "Show an endpoint", "查看端点"),
    _patch("change_endpoint", "/endpoints/{id}", endpoints.change, s.EndpointChange, s.EndpointShown,
           "Change an endpoint; what waits goes to the new target", "修改端点，等待中的投递随之改变",
           errors=("blocked_address",)),
    _delete("delete_endpoint", "/endpoints/{id}", endpoints.remove, "Delete an endpoint; what waits is cancelled",
            "删除端点，等待中的投递取消"),
    _post("reveal_endpoint", "/endpoints/{id}/reveal", endpoints.reveal, None, s.EndpointShown,
          "Show an endpoint's secrets; audited", "显示端点密钥（记入审计）"),
    _post("enable_endpoint", "/endpoints/{id}/enable", endpoints.enable, None, s.EndpointShown,
          "Enable an endpoint, also one that stopped by itself", "启用端点，包括自行停止的",
          changes=True, errors=("blocked_address",)),
    _post("disable_endpoint", "/endpoints/{id}/disable", endpoints.disable, None, s.EndpointShown,
          "Disable an endpoint; what waits keeps waiting", "停用端点，等待中的投递继续等待", changes=True),
    _post("test_endpoint", "/endpoints/{id}/test", endpoints.test, None, s.Accepted,
          "Send a test event on the path of all deliveries", "经由真实投递通道发送测试事件",
          status=202, errors=("blocked_address",)),
    _post("rotate_endpoint", "/endpoints/{id}/rotate", endpoints.rotate, s.Rotation, s.EndpointShown,
          "Give an endpoint a new key, now or at a set moment", "更换端点密钥，立即或定时生效", changes=True,
          again=endpoints.rotated_before),
)  # fmt: skip

_SUBSCRIPTIONS = (
    _get("list_subscriptions", "/subscriptions", subscriptions.listed, Page[s.SubscriptionShown],
         "List subscriptions", "列出订阅", query=s.OfApp),
    _post("create_subscription", "/subscriptions", subscriptions.create, s.NewSubscription, s.SubscriptionShown,
          "Create a subscription", "新建订阅", status=201, changes=True, errors=("pattern",)),
    _get("get_subscription", "/subscriptions/{id}", subscriptions.shown, s.SubscriptionShown,
         "Show a subscription", "查看订阅"),
    _patch("change_subscription", "/subscriptions/{id}", subscriptions.change, s.SubscriptionChange,
           s.SubscriptionShown, "Change a subscription", "修改订阅", errors=("pattern",)),
    _delete("delete_subscription", "/subscriptions/{id}", subscriptions.remove, "Delete a subscription", "删除订阅"),
    _post("match", "/match", matching.match, e.MatchQuestion, e.MatchAnswer,
          "Explain whether a pattern matches an event", "解释事件是否匹配模式", role=Role.READER, errors=("pattern",)),
)  # fmt: skip

_CALL_APPS = (
    _get("list_call_apps", "/call-apps", call_apps.listed, Page[m.CallAppShown], "List call apps", "列出通话应用",
         query=s.OfApp),
    _post("create_call_app", "/call-apps", call_apps.create, m.NewCallApp, m.CallAppShown,
          "Create a call app; its key is shown once", "新建通话应用，密钥仅显示一次", status=201, changes=True,
          errors=("blocked_address",)),
    _get("get_call_app", "/call-apps/{id}", call_apps.shown, m.CallAppShown, "Show a call app", "查看通话应用"),
    _patch("change_call_app", "/call-apps/{id}", call_apps.change, m.CallAppChange, m.CallAppShown,
           "Change a call app with its callback URLs", "修改通话应用及其回调地址", errors=("blocked_address",)),
    _delete("delete_call_app", "/call-apps/{id}", call_apps.remove, "Delete a call app and what it made",
            "删除通话应用及其创建的对象"),
    _post("reveal_call_app", "/call-apps/{id}/reveal", call_apps.reveal, None, m.CallAppShown,
          "Show a call app's key; audited", "显示通话应用密钥（记入审计）"),
    _post("test_media_proxy", "/call-apps/{id}/test-proxy", call_apps.test_proxy, m.ProxyTest, m.ProxyTested,
          "Try to reach the media proxy", "测试媒体流代理服务器是否可达", errors=("blocked_address",)),
    _post("create_admission", "/call-apps/{id}/admissions", call_apps.admit, m.AdmissionWanted, m.Admission,
          "Sign an admission to calls for one uid", "为某个 uid 签发通话准入签名", status=201),
    _post("check_admission", "/call-apps/{id}/admissions/check", call_apps.check_admission, m.AdmissionShown,
          m.AdmissionVerdict, "Tell whether an admission is good", "校验通话准入签名", role=Role.READER),
)  # fmt: skip

_AVD = (
    _get("get_avd_settings", "/avd-settings/{id}", avd_settings.shown, v.SettingsShown,
         "Show an app's 3T settings, both halves", "查看应用的叁体北向接口设置（两部分）"),
    _get("get_avd_half", "/avd-settings/{id}/{half}", avd_settings.half_shown, v.HalfShown,
         "Show one half: media_server or master", "查看其中一部分：media_server 或 master"),
    _put("put_avd_half", "/avd-settings/{id}/{half}", avd_settings.put_half, v.HalfGiven, v.HalfShown,
         "Set up one half, or change it with If-Match", "设置其中一部分；修改时需 If-Match"),
    _delete("delete_avd_half", "/avd-settings/{id}/{half}", avd_settings.remove_half,
            "Remove one half and what it made", "删除其中一部分及其创建的对象"),
)  # fmt: skip

_NOTICES = (
    _get("list_notice_settings", "/notice-settings", notice_settings.listed, Page[n.NoticeSettingsShown],
         "List notice settings", "列出消息通知配置", query=s.OfApp),
    _post("create_notice_settings", "/notice-settings", notice_settings.create, n.NewNoticeSettings,
          n.NoticeSettingsShown, "Create notice settings; their secret is shown once",
          "新建消息通知配置，密钥仅显示一次", status=201, errors=("blocked_address",)),
    _get("get_notice_settings", "/notice-settings/{id}", notice_settings.shown, n.NoticeSettingsShown,
         "Show notice settings and how each path fares", "查看消息通知配置及各通道状况"),
    _patch("change_notice_settings", "/notice-settings/{id}", notice_settings.change, n.NoticeSettingsChange,
           n.NoticeSettingsShown, "Change notice settings; a new URL is tested first",
           "修改消息通知配置，新地址先做健康检查", errors=("blocked_address", "health_test_failed")),
    _delete("delete_notice_settings", "/notice-settings/{id}", notice_settings.remove,
            "Delete notice settings and what they made", "删除消息通知配置及其创建的对象"),
    _post("reveal_notice_settings", "/notice-settings/{id}/reveal", notice_settings.reveal, None,
          n.NoticeSettingsShown, "Show the secret of notice settings; audited", "显示消息通知密钥（记入审计）"),
    _post("enable_notice_settings", "/notice-settings/{id}/enable", notice_settings.enable, None,
          n.NoticeSettingsShown, "Test the callback URL and enable it", "检查回调地址并开通消息通知", changes=True,
          errors=("blocked_address", "health_test_failed")),
    _post("disable_notice_settings", "/notice-settings/{id}/disable", notice_settings.disable, None,
          n.NoticeSettingsShown, "Notify no longer of what happens from now on", "停用消息通知", changes=True),
    _get("query_recording", "/recordings/query", recording_query.recording, n.RecordingAnswer,
         "Tell how a recording stands: status code, files, sequence", "查询录制状态码、文件与消息序列号",
         query=n.RecordingQuestion, errors=("not_found",)),
)  # fmt: skip

_SERVERS = (
    _get("list_servers", "/servers", servers.listed, Page[w.ServerShown], "List media servers whose ports are checked",
         "列出被检测端口的媒体服务器", query=s.OfApp),
    _post("create_server", "/servers", servers.create, w.NewServer, w.ServerShown,
          "List a media server; its ports are looked at from now on", "登记媒体服务器，开始检测其端口", status=201,
          changes=True, errors=("blocked_address",)),
    _get("get_server", "/servers/{id}", servers.shown, w.ServerShown, "Show a media server", "查看媒体服务器"),
    _patch("change_server", "/servers/{id}", servers.change, w.ServerChange, w.ServerShown, "Change a media server",
           "修改媒体服务器", errors=("blocked_address",)),
    _delete("delete_server", "/servers/{id}", servers.remove, "Delete a media server with its incidents",
            "删除媒体服务器及其故障记录"),
    _get("list_incidents", "/incidents", servers.incidents, Page[w.IncidentShown],
         "List when ports of media servers did not answer", "列出媒体服务器端口故障", query=w.IncidentQuery),
)  # fmt: skip

_EVENTS = (
    _get("list_events", "/events", events.listed, Page[e.EventShown], "Find events, newest first",
         "查找事件，新的在前", query=e.EventQuery),
    _get("stream_events", "/events/stream", events.stream, None, "Stream new events (server-sent events)",
         "实时事件流（SSE）", query=e.StreamQuery, media_type="text/event-stream"),
    _get("get_event", "/events/{id}", events.shown, e.EventDetail,
         "Show an event with its request, repeats and deliveries", "查看事件及其原始请求、重复与投递"),
    _get("trace_event", "/events/{id}/trace", traces.shown, t.Trace,
         "Trace an event: received, matched by which rule or why by none, each attempt with its time",
         "追踪事件：接收、命中哪条规则或为何未命中、每次投递尝试及耗时"),
    _get("translate_event", "/events/{id}/views/{dialect}", events.translated, e.Translation,
         "Say an event in a dialect's words, with losses and inventions", "以某方言表述事件，列出丢失与补造的字段"),
    _get("list_quarantine", "/quarantine", events.quarantined, Page[e.QuarantineShown],
         "List requests that were refused", "列出被拒绝的请求", query=e.QuarantineQuery),
    _post("verify_event", "/events/{id}/verify", verifying.event, None, e.Verification,
          "Verify an event's requests again with the keys of today", "用当前密钥重新验证事件的原始请求"),
    _post("verify_refused", "/quarantine/{id}/verify", verifying.refused, None, e.Verification,
          "Verify a refused request again with the keys of today", "用当前密钥重新验证被拒绝的请求"),
    _get("list_rooms", "/rooms", rooms.listed, Page[e.RoomShown], "List rooms", "列出房间", query=e.RoomQuery),
    _get("get_room", "/rooms/{key}", rooms.shown, e.RoomDetail,
         "Show a room (source/scope/room) with its past instances", "查看房间（来源/域/房间）及以往场次"),
    _get("list_recordings", "/recordings", rooms.recordings, Page[e.RecordingShown],
         "List recordings with gaps and verdict", "列出录制、缺口与结论", query=e.RecordingQuery),
)  # fmt: skip

_DELIVERIES = (
    _get("list_deliveries", "/deliveries", deliveries.listed, Page[e.DeliveryShown], "List deliveries, newest first",
         "列出投递，新的在前", query=d.DeliveryQuery),
    _get("get_delivery", "/deliveries/{number}", deliveries.shown, e.DeliveryShown, "Show a delivery", "查看投递"),
    _get("list_attempts", "/deliveries/{number}/attempts", deliveries.attempts, Page[d.AttemptShown],
         "List the tries of a delivery", "列出投递的各次尝试"),
    _post("skip_delivery", "/deliveries/{number}/skip", deliveries.skip, d.Skip, s.Accepted,
          "Cancel a delivery that waits, so that its room goes on; audited", "跳过等待中的投递，房间继续（记入审计）",
          status=202),
    _post("resend_delivery", "/deliveries/{number}/resend", deliveries.resend, None, s.Accepted,
          "Send a delivery that waits for its next attempt now", "立即重试等待中的投递", status=202),
    _get("list_dead_letters", "/dead-letters", deliveries.dead, Page[e.DeliveryShown],
         "List dead letters, oldest first", "列出死信，旧的在前", query=d.DeadLetterQuery),
    _get("count_dead_letters", "/dead-letters/count", deliveries.dead_count, d.Count, "Count dead letters",
         "统计死信", query=d.DeadLetterCount),
    _post("create_replay", "/replays", replays.create, d.ReplayWanted, d.ReplayAnswer,
          "Count what would be sent again; with dry_run false, send it", "统计将重发的投递；dry_run 为 false 时重发"),
    _get("get_replay", "/replays/{id}", replays.shown, d.CommandShown, "Show what became of a replay or test",
         "查看重发或测试的结果"),
)  # fmt: skip

_REST = (
    _get("get_stats", "/stats", figures.stats, d.Figures, "Show the hub at a glance", "总览"),
    _get("get_daily_stats", "/stats/daily", figures.day, d.DayFigures, "Show one app's day", "查看应用某日统计",
         query=d.DayQuery, errors=("not_found",)),
    _get("list_alarms", "/alarms", alarms.listed, Page[a.AlarmShown],
         "List alarms, the one that began last first", "列出告警，新的在前", query=a.AlarmQuery),
    _get("list_audit", "/audit", api_keys.audit, Page[s.AuditEntry], "List who did what, newest first",
         "列出审计记录，新的在前", role=Role.ADMIN, query=Paging),
    _get("list_keys", "/keys", api_keys.listed, Page[s.ApiKeyShown], "List API keys", "列出接口密钥",
         role=Role.ADMIN, query=Paging),
    _post("create_key", "/keys", api_keys.create, s.NewApiKey, s.ApiKeyShown, "Create an API key, shown once",
          "新建接口密钥，仅显示一次", status=201),
    _delete("delete_key", "/keys/{id}", api_keys.remove, "Delete an API key at once", "立即删除接口密钥"),
    _get("list_dialects", "/dialects", system.dialects, d.Dialects, "List dialects with their options",
         "列出方言及其选项"),
    _open("get_openapi", f"{BASE}/openapi.json", system.openapi, "application/json", "Describe this API",
          "本接口的说明"),
    _open("healthz", "/healthz", system.alive, None, "Answer while the process runs", "存活检查", answer=d.Health),
    _open("readyz", "/readyz", system.ready, None, "Tell whether every process works", "就绪检查", answer=d.Health),
    _open("metrics", "/metrics", system.metrics, "text/plain", "Figures of all processes (Prometheus)",
          "全部进程的指标（Prometheus）"),
    _get("list_certificates", "/certificates", certificates.listed, Page[k.CertificateShown],
         "List the certificates of the hub's signatures", "列出本机签名所用的证书"),
    _post("rotate_certificate", "/certificates", certificates.rotate, k.NewCertificate, k.CertificateShown,
          "Make the next certificate; it signs at once or from a set moment", "更换签名证书，立即或定时生效",
          status=201, changes=True, again=certificates.rotated),
    _delete("delete_certificate", "/certificates/{id}", certificates.remove,
            "Stop serving a certificate that is not needed any more", "停止提供不再需要的证书"),
    _open("certificate", "/certs/callback.pem", certificates.current, certificates.MEDIA_TYPE,
          "The certificate that signs now", "当前签名所用的证书"),
    _open("certificate_by_id", "/certs/{id}.pem", certificates.served, certificates.MEDIA_TYPE,
          "A certificate, under the URL that the requests it signed name", "某一签名证书，请求头中所给的地址",
          errors=("not_found",)),
    _open("front", "/", system.front, "text/html", "Say what this is and where things are", "首页"),
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    *_APPS,
    *_ACCOUNTS,
    *_SOURCES,
    *_ENDPOINTS,
    *_SUBSCRIPTIONS,
    *_CALL_APPS,
    *_AVD,
    *_NOTICES,
    *_SERVERS,
    *_EVENTS,
    *_DELIVERIES,
    *_REST,
)
