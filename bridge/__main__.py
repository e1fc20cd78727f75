"""Runs the command line by `python -m bridge`."""

from bridge.cli.main import main

main()
