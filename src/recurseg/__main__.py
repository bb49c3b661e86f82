"""`python -m recurseg`: the same as the command `recurseg`."""

import sys

from recurseg.cli.main import main

sys.exit(main())
