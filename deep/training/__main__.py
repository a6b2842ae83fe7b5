"""`torchrun -m hvd.deep.training TASK --data DIR --out RUN`: the same as `toolkit train`."""

import sys

from hvd.toolkit.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
