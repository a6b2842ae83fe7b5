"""`python -m hvd.toolkit`: the command line, as `torchrun -m hvd.toolkit train` starts it."""

from hvd.toolkit.cli import main

if __name__ == "__main__":
    main()
