"""`python -m galerne` is the `galerne` command."""

import sys

from galerne.cli.main import main

sys.exit(main())
