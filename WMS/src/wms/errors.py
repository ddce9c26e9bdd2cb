"""Every kind of failure that a user can meet: each has a class, a sentence and an exit code.

An error's text says the failure, its place (file, field, line) and the next step. Only `run_main` turns an error into
an exit code; library code raises and never exits.
"""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wms.libraries import lacking
from wms.names import harmless
from wms.pipes import open_streams, reader_is_gone
from wms.quiet import be_quiet


class WmsError(Exception):
    """Base of all failures that a user's mistake or the environment causes, never a bug in this code.

    A subclass names its exit code: `class DiskFullError(WmsError, code=30)`.
    """

    exit_code = 1

    def __init_subclass__(cls, code: int | None = None) -> None:
        cls.exit_code = cls.exit_code if code is None else code


class UsageError(WmsError, code=2):
    """A command-line argument that can't be honoured."""


class ConfigError(WmsError, code=10):
    """A recipe that doesn't parse, names an unknown key or contradicts itself."""


class DataNotFoundError(WmsError, code=20):
    """A folder of images or masks that is absent or holds no image."""


class PairingError(WmsError, code=21):
    """An image without a mask, a mask without an image, or two files that claim the same stem."""


class GreyMaskError(WmsError, code=22):
    """A mask whose values are neither black nor white."""


class SizeMismatchError(WmsError, code=23):
    """A mask that differs in size from its upright image."""


class TruncatedImageError(WmsError, code=24):
    """An image file that ends too early or is damaged inside."""


class NotAnImageError(WmsError, code=25):
    """A file with an image's name whose content isn't an image."""


class ImageTooLargeError(WmsError, code=26):
    """An image whose header announces more pixels than are allowed."""


class SplitError(WmsError, code=27):
    """A split record that is damaged, or a data set too small to be split."""


class DataQualityError(WmsError, code=28):
    """Photos or masks that the data check refuses."""


class ManifestError(WmsError, code=29):
    """A .dvc file or a manifest of the data set that can't be read."""


class DiskFullError(WmsError, code=30):
    """No space is left for a file that must be written."""


class UnwritableError(WmsError, code=31):
    """A folder that can't be created or written."""


class DeviceError(WmsError, code=32):
    """A device that this machine lacks, or a machine without the requested memory."""


class ResumeMismatchError(WmsError, code=33):
    """`--resume` with a config, data or code layout that differs from the run's own."""


class NothingToResumeError(WmsError, code=34):
    """`--resume` without a run or a readable checkpoint."""


class CheckpointError(WmsError, code=35):
    """A checkpoint that is damaged or belongs to another run."""


class DivergedError(WmsError, code=36):
    """A loss that became NaN or infinite."""


class EmptyMaskError(WmsError, code=37):
    """A mask that reads as empty although its file marks pixels, or masks of which most mark nothing."""


class UselessModelError(WmsError, code=38):
    """A trained model that marks nothing on any test photo."""


class MaskClassesError(WmsError, code=39):
    """A mask of several classes that doesn't tell which of them is the strip."""


class ModelNotFoundError(WmsError, code=40):
    """No model exists where a command needs one."""


class ModelDamagedError(WmsError, code=41):
    """A model file whose hash, shape or format differs from its record."""


class TrackingError(WmsError, code=50):
    """A run's own records (metrics, metadata) that can't be read."""


class ExportUnknownError(WmsError, code=51):
    """An export of a labelling tool in no format that the import knows, or in several."""


class ExportDamagedError(WmsError, code=52):
    """A file of a labelling tool's export that can't be parsed."""


class ExportUnsafeError(WmsError, code=53):
    """An export that could harm: a name that leads out of the export, a link, too many or too large files."""


class ExportClassError(WmsError, code=54):
    """An export with several classes of which none was chosen, or without the chosen class."""


class NameTakenError(WmsError, code=55):
    """Two photos of one name, in an export or in the folder that it goes to."""


class ImportIncompleteError(WmsError, code=56):
    """Labelled photos that weren't imported; the others were."""


class StageError(WmsError, code=60):
    """A pipeline that is put together wrongly: a cycle, an unknown dependency, a stage defined twice."""


class StageFailedError(WmsError, code=61):
    """A stage that failed or returned an invalid result; carries the stage's name."""


class InstallError(WmsError, code=65):
    """Packages that can't be fetched or installed, or a wheelhouse that lacks packages."""


class NotImprovedError(WmsError, code=90):
    """The gate's verdict: the challenger isn't better than the champion, or a stricter gate refused the challenger."""


class CannotDecideError(WmsError, code=91):
    """A comparison of two models that can't be trusted."""


class RegistryUnreachableError(WmsError, code=92):
    """An MLflow server that doesn't answer, answers too late or answers only with server errors."""


class PromotionLostError(WmsError, code=93):
    """Production is no longer the version that the gate compared with."""


class LedgerError(WmsError, code=94):
    """A ledger of promotions that is damaged, forged, contradicts another place, or is missing after a promotion."""


class LineageError(WmsError, code=95):
    """A broken link between a model and the run, data or commit behind it."""


class RegistryError(WmsError, code=96):
    """An MLflow server that refuses a request."""


DECLINED = 3
"""Exit code after a question was answered with no; nothing was changed."""

UNHEALTHY = 4
"""Exit code of `wms doctor` and `wms github` if something that is needed is missing."""

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


def refuse_special(path: Path) -> None:
    """Raise UnwritableError if `path` names a folder, a device, a pipe or a socket, which no file may replace.

    A link counts as the file behind the link. Raises OSError if `path` can't be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise UnwritableError(f"Can't write {path}: it is {kind}, which no file may replace; choose another name.")


def run_main(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run an entry point and map its failures to exit codes.

    Returns the exit code. Only unforeseen errors keep their traceback: they are bugs.
    """
    code = 0
    be_quiet()
    open_streams()
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
        print(harmless(f"error: {error}", keep="\t\n"), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        mapped = from_os_error(error, error.filename or "a file")
        print(f"error: {mapped}", file=sys.stderr)
        return mapped.exit_code
    except ModuleNotFoundError as error:
        if (told := lacking(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return UsageError.exit_code
    except KeyboardInterrupt:
        print("Stopped by the user; what was finished is kept.", file=sys.stderr)
        return INTERRUPTED
