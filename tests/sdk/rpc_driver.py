"""Drive the RPC clients with a clock that is wrong: one call a line in, what came of it a line out."""

import json
import sys
from importlib import import_module
from typing import Any

import wrong_clock  # before every client


def called(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's members, or the code and message of the refusal."""
    from alibabacloud_tea_openapi.models import Config
    from darabonba.exceptions import DaraException

    models = import_module(f"{asked['sdk']}.models")
    client = import_module(f"{asked['sdk']}.client").Client(Config().from_map(asked["config"]))
    request = getattr(models, f"{asked['action']}Request")().from_map(asked["given"])
    wrong_clock.set_ahead(asked["ahead"])
    try:
        return {"answer": getattr(client, asked["method"])(request).body.to_map()}
    except DaraException as error:
        return {"code": error.code, "message": error.message}
    finally:
        wrong_clock.set_ahead(0)


for line in sys.stdin:
    print(json.dumps(called(json.loads(line))), flush=True)
