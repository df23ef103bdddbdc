"""The settings as the command line sees them: the same file and variables as `serve`, less what is ours alone."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from northbound.config import Config, layered, load_config

KEY_VARIABLE = "NORTHBOUND_API_KEY"
SERVER_VARIABLE = "NORTHBOUND_SERVER"
OWN_VARIABLES = frozenset({KEY_VARIABLE, SERVER_VARIABLE})

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings; variables and options win over it.")
]
DataFolder = Annotated[str | None, typer.Option("--data", help="Folder of databases, keys and sockets.")]


def read_settings(path: Path | None = None, **options: Any) -> Config:
    """Return the settings in force: defaults, file, variables, options."""
    return load_config(path, environment(), options)


def origins(path: Path | None = None) -> dict[str, str]:
    """Return where each setting that is set comes from."""
    return layered(path, environment(), None)[1]


def environment() -> dict[str, str]:
    """Return the environment without the variables that only clients read."""
    return {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
