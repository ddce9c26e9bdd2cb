"""`python -m wms.serving`."""

import sys

from wms.errors import run_main
from wms.serving.cli import main

if __name__ == "__main__":
    sys.exit(run_main(main))
