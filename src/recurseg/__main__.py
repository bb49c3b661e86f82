"""`python -m recurseg`: the same as the command `recurseg`."""

import sys

from recurseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
