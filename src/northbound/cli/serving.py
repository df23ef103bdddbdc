"""Commands that run the hub: serve, and the demo that ends by itself."""

import asyncio
import shutil
from typing import Annotated

import typer

from northbound import __version__
from northbound.cli.output import AsJson, Code, errors, print_line
from northbound.cli.settings import ConfigFile, DataFolder, read_settings
from northbound.config import Config

Speed = Annotated[float, typer.Option(min=0.01, max=1000, help="Pace of the demo's stream; 1 is its own pace.")]
ReceiverPort = Annotated[int, typer.Option(min=1, max=65535, help="Port of the demo's receiver, on 127.0.0.1.")]


def serve(
    data: DataFolder = None,
    listen: Annotated[str | None, typer.Option(help="host:port of the API, the pages and the vendors' doors.")] = None,
    intake: Annotated[str | None, typer.Option(help="host:port where vendors' callbacks come in.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Base URL that others are told for the web process.")] = None,
    public_intake: Annotated[str | None, typer.Option(help="Base URL that vendors are told for the intake.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="PEM certificate; both servers then speak HTTPS.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM key of --tls-cert.")] = None,
    allow_target: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Private address:port or network deliveries may go to.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    config: ConfigFile = None,
    demo: Annotated[bool, typer.Option("--demo", help="Make a demo app and replay a captured stream into it.")] = False,
    speed: Speed = 1.0,
    receiver_port: ReceiverPort = 7079,
    as_json: AsJson = False,
) -> None:
    """Run the hub until it is stopped: intake, delivery and web, started again when one dies.

    The first start makes the data folder and the first admin key, in admin.key inside it. A port or folder that is
    taken, or a lease_seconds not above an enabled endpoint's deadline, is refused before anything starts (exit code 2).
    """
    settings = read_settings(
        config,
        data=data,
        listen=listen,
        intake=intake,
        public_url=public_url,
        public_intake=public_intake,
        tls_cert=tls_cert,
        tls_key=tls_key,
        allow_targets=tuple(allow_target) if allow_target else None,
        log_format=log_format,
        log_level=log_level or ("warning" if demo else None),
    )
    if demo:
        from northbound.cli.demonstration import Demonstration

        asyncio.run(Demonstration(settings, receiver_port, speed=speed, is_endless=True, as_json=as_json).run())
        return
    from northbound.hub.process import set_up_logging
    from northbound.hub.supervisor import Supervisor

    set_up_logging(settings)
    supervisor = Supervisor(settings)
    try:
        supervisor.start()
        say_where(settings, as_json=as_json)
        supervisor.watch()
    finally:
        supervisor.stop()


def demo(
    speed: Speed = 1.0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder and say where it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the demo on a throw-away folder and free ports until its stream is through.

    Exit code 1 unless every callback that the stream must lead to arrived, verified and in its room's order.
    """
    from northbound.cli.demonstration import Demonstration
    from northbound.hub.demo import throw_away

    settings, receiver_port = throw_away(read_settings(log_level="error"))
    try:
        is_good = asyncio.run(Demonstration(settings, receiver_port, speed=speed, as_json=as_json).run())
    finally:
        if not keep:
            shutil.rmtree(settings.data, ignore_errors=True)
    if keep:
        errors().print(f"the demo's folder is kept: {settings.data}")
    if not is_good:
        raise typer.Exit(Code.NO)


def say_where(settings: Config, *, as_json: bool) -> None:
    """Say where the hub is reached and where its first key is; never the key itself."""
    from northbound.hub.system import Folder
    from northbound.web.told import hub_base, intake_base

    words = {
        "web": hub_base(settings),
        "intake": intake_base(settings),
        "data": settings.data,
        "admin_key_file": str(Folder(settings.data).admin_key),
    }
    if as_json:
        print_line(words)
        return
    console = errors()
    console.print(f"northbound {__version__}")
    console.print(f"  web     {words['web']}")
    console.print(f"  intake  {words['intake']}")
    console.print(f"  data    {words['data']}")
    console.print(f"  the first admin key is in {words['admin_key_file']}")
