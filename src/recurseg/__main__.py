"""`python -m recurseg` is the command `recurseg`."""

import sys

from recurseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
