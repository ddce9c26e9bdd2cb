#!/usr/bin/env python3
"""Install this project into .venv, or say that this Python is too old: `install.py --help`.

Python 2.7 must be able to read this file, or it would answer with a syntax error; `wms.install` does the work.
"""

import sys

OLDEST = (3, 11)


def main():
    """Run the installer; returns its exit code."""
    if sys.version_info < OLDEST:
        version = sys.version.split()[0]
        sys.stderr.write("error: Python " + version + " is too old; install 3.11 or newer, for example from ")
        sys.stderr.write("https://www.python.org/downloads, then run this again with it.\n")
        return 2
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "WMS" / "src"))
    from wms.install.main import main as install

    return install()


if __name__ == "__main__":
    sys.exit(main())
