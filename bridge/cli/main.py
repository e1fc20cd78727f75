"""The entry point of `bridge`: runs a command, and turns errors into one line and exit code 1."""

import sys

from bridge import __version__


def main() -> None:
    """Run a command; whatever the bridge itself has to say against it is told in a line, with exit code 1."""
    if sys.argv[1:] == ["--version"]:  # it is asked in scripts and by monitoring, and needs nothing of the below
        sys.stdout.write(f"{__version__}\n")
        raise SystemExit(0)
    from bridge.cli.commands import app
    from bridge.errors import BridgeError, ConfigError

    try:
        app(prog_name="bridge")
    except ConfigError as error:
        from bridge.cli.output import print_problems

        print_problems(error.problems)
        raise SystemExit(1) from None
    except BridgeError as error:
        from bridge.cli.output import fail

        fail(str(error))
