"""What to paste where, in both languages, for vendors whose settings are a page without a call behind it."""

from typing import Final

# {url}: the source's intake URL; {address}: the same without its scheme; {secret}: the key, made here or given.
_AVD_EN: Final = """\
3T AVD: in the back office of media_server, and in that of master, open the settings of the northbound
interface and enter in both:
  request address         {url}
    (builds before 2024-03-15 take no scheme: {address})
  request method          POST (older builds: GET)
  check_code key          {secret}
Save. A room's first event arrives at once; look for it with: northbound source show {id}"""
_AVD_ZH: Final = """\
叁体 AVD：在 media_server 后台和 master 后台分别打开北向接口配置，两处都填写：
  北向接口请求地址        {url}
    （2024-03-15 之前的版本不带协议头：{address}）
  北向接口请求方式        POST（旧版本：GET）
  北向接口校验密钥        {secret}
保存。房间的第一个事件会立即到达，可用以下命令查看：northbound source show {id}"""
_MPAAS_EN: Final = """\
mPaaS audio/video call: in the console open the call app, edit it and enter:
  recording callback URL  {url}
  room callback URL       {url}
The page describes no signature: whoever knows the URL can call it, so keep it to yourself.
Save, hold a call, and look for its events with: northbound source show {id}"""
_MPAAS_ZH: Final = """\
mPaaS 音视频通话：在控制台打开通话应用，编辑并填写：
  录制回调地址            {url}
  房间回调地址            {url}
页面没有描述签名：知道地址的人都能调用，请勿外传。
保存并进行一次通话，然后查看事件：northbound source show {id}"""
_ANYRTC_EN: Final = """\
anyRTC: in the console open the project's message notification service, choose the product and the event
types, and enter:
  callback URL            {url}
Run the health test there: it is answered with 200. {key}
Look for events with: northbound source show {id}"""
_ANYRTC_ZH: Final = """\
anyRTC：在控制台打开项目的消息通知服务，选择产品和事件类型，填写：
  回调地址                {url}
在该页做健康检查：会得到 200。{key}
查看事件：northbound source show {id}"""

STEPS: Final = {"avd": (_AVD_EN, _AVD_ZH), "mpaas": (_MPAAS_EN, _MPAAS_ZH), "anyrtc": (_ANYRTC_EN, _ANYRTC_ZH)}
REMOVE: Final = {
    "avd": (
        "Clear the request address in the back offices of media_server and master, else they keep calling in vain.",
        "请清空 media_server 后台和 master 后台的北向接口请求地址，否则仍会继续请求。",
    ),
    "mpaas": ("Clear both callback URLs of the call app in the console.", "请在控制台清空通话应用的两个回调地址。"),
    "anyrtc": ("Disable the message notification in the console.", "请在控制台停用消息通知。"),
}
_KEYS: Final = {
    True: ("The secret that you passed is checked on every notice.", "已按你给出的密钥校验每条通知。"),
    False: (
        "The console then shows a secret: disconnect and connect again with --secret, or nothing checks the notices.",
        "之后控制台会显示密钥：请断开后用 --secret 重新连接，否则通知不做校验。",
    ),
}


def steps(vendor: str, source_id: str, url: str, secret: str) -> tuple[str, str]:
    """Return what to do at the vendor's page, in English and in Chinese."""
    words = {"url": url, "address": url.partition("://")[2], "secret": secret, "id": source_id}
    english, chinese = (
        text.format_map(words | {"key": key}) for text, key in zip(STEPS[vendor], _KEYS[bool(secret)], strict=True)
    )
    return english, chinese
