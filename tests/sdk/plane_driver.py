"""Drive the data plane's client: one call a line in, what came of it a line out. Runs in that client's own virtualenv.

The client is as its makers published it. A clock that is wrong and a nonce that repeats are the two things that no
setting of it can make; for these its own sources of both are replaced from outside.
"""

import json
import sys
from typing import Any

from alibabacloud_eventbridge import models
from alibabacloud_eventbridge.client import Client
from alibabacloud_tea_util.client import Client as Util
from Tea.exceptions import TeaException

DATE, NONCE = Util.get_date_utcstring, Util.get_nonce


def called(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's members, or the code and message of the refusal."""
    Util.get_date_utcstring = staticmethod(lambda: asked["date"]) if asked.get("date") else staticmethod(DATE)
    Util.get_nonce = staticmethod(lambda: asked["nonce"]) if asked.get("nonce") else staticmethod(NONCE)
    client = Client(models.Config(**asked["config"]))
    try:
        answer = getattr(client, asked["call"])(given(asked))
    except TeaException as error:
        return {"code": error.code, "message": error.message}
    return {"answer": answer.to_map()}


def given(asked: dict[str, Any]) -> Any:
    if asked["call"] == "put_events":
        return [event(one) for one in asked["given"]]
    return getattr(models, asked["model"])().from_map(asked["given"])


def event(words: dict[str, Any]) -> models.CloudEvent:
    return models.CloudEvent(**{name: value.encode() if name == "data" else value for name, value in words.items()})


for line in sys.stdin:
    print(json.dumps(called(json.loads(line))), flush=True)
