"""`python -m northbound.cli` is `northbound`."""

from northbound.cli.main import main

main()
