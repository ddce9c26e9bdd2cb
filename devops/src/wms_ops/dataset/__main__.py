import sys

from wms.errors import run_main
from wms_ops.dataset.cli import main

sys.exit(run_main(main))
