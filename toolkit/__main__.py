"""`python -m toolkit`: the command line, as `torchrun -m toolkit train` starts it."""

from toolkit.cli import main

main()
