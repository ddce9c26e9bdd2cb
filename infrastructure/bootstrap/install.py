#!/usr/bin/env python3
"""Install this project into .venv, or say that this Python is too old: `install.py --help`.

Python 2.7 must be able to read this file, or it would answer with a syntax error; `wms.install` does the work.
"""

import os
import sys

OLDEST = (3, 11)


def main():
    """Run the installer; returns its exit code."""
    if sys.version_info < OLDEST:
        sys.stderr.write(
            "error: Python %s is too old; install 3.11 or newer from https://www.python.org/downloads, "
            "then run this again with it.\n" % sys.version.split()[0]
        )
        return 2
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(0, os.path.join(root, "WMS", "src"))
    from wms.install.main import main as install

    return install()


if __name__ == "__main__":
    sys.exit(main())
