"""The command line: `northbound`, one module for commands that belong together."""

from northbound.cli.main import app, main

__all__ = ["app", "main"]
