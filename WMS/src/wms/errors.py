"""Every kind of failure that a user can meet: each has a class, a sentence and an exit code.

An error's text says the failure, its place (file, field, line) and the next step. Only `run_main` turns an error into
an exit code; library code raises and never exits.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence

from wms.pipes import reader_is_gone


class WmsError(Exception):
    """Base of all failures that a user's mistake or the environment causes, never a bug in this code."""

    exit_code = 1


class UsageError(WmsError):
    """A command-line argument that can't be honoured."""

    exit_code = 2


class ConfigError(WmsError):
    """A recipe that doesn't parse, names an unknown key or contradicts itself."""

    exit_code = 10


class DataNotFoundError(WmsError):
    """A folder of images or masks that is absent or holds no image."""

    exit_code = 20


class PairingError(WmsError):
    """An image without a mask, a mask without an image, or two files that claim the same stem."""

    exit_code = 21


class GreyMaskError(WmsError):
    """A mask whose values are neither black nor white."""

    exit_code = 22


class SizeMismatchError(WmsError):
    """A mask that differs in size from its upright image."""

    exit_code = 23


class TruncatedImageError(WmsError):
    """An image file that ends too early or is damaged inside."""

    exit_code = 24


class NotAnImageError(WmsError):
    """A file with an image's name whose content isn't an image."""

    exit_code = 25


class ImageTooLargeError(WmsError):
    """An image whose header announces more pixels than are allowed."""

    exit_code = 26


class SplitError(WmsError):
    """A split record that is damaged, or a data set too small to be split."""

    exit_code = 27


class DataQualityError(WmsError):
    """Photos or masks that the data check refuses."""

    exit_code = 28


class ManifestError(WmsError):
    """A .dvc file or a manifest of the data set that can't be read."""

    exit_code = 29


class DiskFullError(WmsError):
    """No space is left for a file that must be written."""

    exit_code = 30


class UnwritableError(WmsError):
    """A folder that can't be created or written."""

    exit_code = 31


class DeviceError(WmsError):
    """A device that this machine lacks, or a machine without the requested memory."""

    exit_code = 32


class ResumeMismatchError(WmsError):
    """`--resume` with a config, data or code layout that differs from the run's own."""

    exit_code = 33


class NothingToResumeError(WmsError):
    """`--resume` without a run or a readable checkpoint."""

    exit_code = 34


class CheckpointError(WmsError):
    """A checkpoint that is damaged or belongs to another run."""

    exit_code = 35


class DivergedError(WmsError):
    """A loss that became NaN or infinite."""

    exit_code = 36


class EmptyMaskError(WmsError):
    """A mask that reads as empty although its file marks pixels, or masks of which most mark nothing."""

    exit_code = 37


class UselessModelError(WmsError):
    """A trained model that marks nothing on any test photo."""

    exit_code = 38


class ModelNotFoundError(WmsError):
    """No model exists where a command needs one."""

    exit_code = 40


class ModelDamagedError(WmsError):
    """A model file whose hash, shape or format differs from its record."""

    exit_code = 41


class TrackingError(WmsError):
    """A run's own records (metrics, metadata) that can't be read."""

    exit_code = 50


class StageError(WmsError):
    """A pipeline that is put together wrongly: a cycle, an unknown dependency, a stage defined twice."""

    exit_code = 60


class StageFailedError(WmsError):
    """A stage that failed or returned an invalid result; carries the stage's name."""

    exit_code = 61


class NotImprovedError(WmsError):
    """The gate's verdict: the challenger is not better than the champion."""

    exit_code = 90


class CannotDecideError(WmsError):
    """A comparison of two models that can't be trusted."""

    exit_code = 91


class RegistryUnreachableError(WmsError):
    """An MLflow server that doesn't answer, answers too late or answers only with server errors."""

    exit_code = 92


class PromotionLostError(WmsError):
    """Production is no longer the version that the gate compared with."""

    exit_code = 93


class LedgerError(WmsError):
    """A ledger of promotions that is damaged, contradicts the registry, or is missing although a model was promoted."""

    exit_code = 94


class LineageError(WmsError):
    """A broken link between a model and the run, data or commit behind it."""

    exit_code = 95


class RegistryError(WmsError):
    """An MLflow server that refuses a request."""

    exit_code = 96


DECLINED = 3
"""Exit code after a question was answered with no; nothing was changed."""

UNHEALTHY = 4
"""Exit code of `wms doctor` if a requirement of the next step is missing."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as in shells."""

BROKEN_PIPE = 141
"""Exit code if the reader of the output went away, as `head` does: 128 + SIGPIPE, as in shells."""


def from_os_error(error: OSError, path: object) -> WmsError:
    """The sentence for an operating-system error met while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"No space left on the disk while writing {path}; free some and run it again.")
    reason = error.strerror or type(error).__name__
    return UnwritableError(f"Can't write {path}: {reason}; choose another folder or change its permissions.")


def run_main(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run an entry point and map its failures to exit codes.

    Returns the exit code. Only unforeseen errors keep their traceback: they are bugs.
    """
    code = 0
    try:
        code = _run_mapped(main, argv)
        sys.stdout.flush()  # at the interpreter's end a closed pipe would print a traceback
    except BrokenPipeError:
        if not reader_is_gone():
            raise
        return code or BROKEN_PIPE
    return code


def _run_mapped(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None) -> int:
    try:
        return main(argv)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # so rich ends, with 1
            return BROKEN_PIPE
        sys.stdout.flush()  # the help, after which argparse exits
        raise
    except WmsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        mapped = from_os_error(error, error.filename or "a file")
        print(f"error: {mapped}", file=sys.stderr)
        return mapped.exit_code
    except KeyboardInterrupt:
        print("Stopped by the user; what was finished is kept.", file=sys.stderr)
        return INTERRUPTED
