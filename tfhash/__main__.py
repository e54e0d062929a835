"""`python -m tfhash` is the command `tfhash`."""

import sys

from tfhash.cli import main

if __name__ == "__main__":
    sys.exit(main())
