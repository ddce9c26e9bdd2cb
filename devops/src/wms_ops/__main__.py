"""`python -m wms_ops`: the command `wms`, for a Python into which the project isn't installed."""

import sys


def main() -> int:
    """Run `wms`; returns the exit code, also after a Ctrl-C that comes before the command begins."""
    try:
        from wms.start import run_wms

        return run_wms()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
