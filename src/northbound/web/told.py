"""The addresses that others are told, and therefore the ones that signatures are made over (ruling 7)."""

from msgspec.structs import replace

from northbound.config import Config
from northbound.model.app import Source
from northbound.model.wire import Request


def hub_base(config: Config) -> str:
    """Return the base URL of the web process: the setting `public_url`, else the address it listens on."""
    return config.public_url.rstrip("/") or f"{_scheme(config)}://{config.listen}"


def intake_base(config: Config) -> str:
    """Return the base URL of the intake: the setting `public_intake`, else the address it listens on."""
    return config.public_intake.rstrip("/") or f"{_scheme(config)}://{config.intake}"


def told_url(source: Source, config: Config) -> str:
    """Return the URL that the vendor of *source* was told: its own `public_url`, else one below the intake's base."""
    return source.public_url or f"{intake_base(config)}/in/{source.id}/{source.token}"


def as_told(request: Request, source: Source, config: Config) -> Request:
    """Return *request* with the URL that was told; of the client's own (Host, scheme, path) only the query stays."""
    url = told_url(source, config).partition("#")[0].partition("?")[0]
    return replace(request, url=f"{url}?{request.query}" if request.query else url)


def _scheme(config: Config) -> str:
    return "https" if config.tls_cert else "http"
