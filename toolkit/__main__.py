"""`toolkit`, and `python -m hvd.toolkit`: the command line."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly from its first moment."""
    try:
        from hvd.toolkit.cli import main as run
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
