"""Drive the data plane's client: one call a line in, what came of it a line out. Runs in that client's own virtualenv.

The client is as its makers published it; where a call says so, the standard library's clock is wrong meanwhile.
"""

import json
import sys
from typing import Any

import wrong_clock  # before the client
from alibabacloud_eventbridge import models
from alibabacloud_eventbridge.client import Client
from alibabacloud_tea_util.models import RuntimeOptions
from Tea.exceptions import TeaException


def called(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's members, or the code and message of the refusal, with how many were answered before."""
    client = Client(models.Config(**asked["config"]))
    wrong_clock.set_ahead(asked["ahead"])
    answer: Any = None
    for number in range(asked["times"]):
        try:
            answer = answered(client, asked)
        except TeaException as error:
            return {"code": error.code, "message": error.message, "before": number}
    return {"answer": answer}


def answered(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["call"]
    if name == "do_request":  # what all others of the client are made of
        path = "/openapi/" + asked["given"]["path"]
        return client.do_request("any", "HTTP", "POST", path, None, {}, RuntimeOptions())
    return getattr(client, name)(given(asked)).to_map()


def given(asked: dict[str, Any]) -> Any:
    if asked["call"] == "put_events":
        return [event(one) for one in asked["given"]]
    return getattr(models, asked["model"])().from_map(asked["given"])


def event(words: dict[str, Any]) -> models.CloudEvent:
    return models.CloudEvent(**{name: value.encode() if name == "data" else value for name, value in words.items()})


for line in sys.stdin:
    print(json.dumps(called(json.loads(line))), flush=True)
