"""`toolkit`, and `python -m hvd.toolkit`: the command line."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly from its first moment."""
    try:
        from hvd.toolkit.cli import main as run
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)

    try:
        run()
    except SystemExit as leaving:
        end_at_once(leaving.code)
        raise


def end_at_once(status: object) -> None:
    """Leave without waiting for networks that did not end when they were to."""
    network = sys.modules.get("hvd.toolkit.network")
    if network is not None and any(
        thread.is_alive() for thread in network.ABANDONED
    ):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    main()
