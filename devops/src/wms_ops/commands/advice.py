"""Sentences about failed questions: the reason, and the remedy that fits the kind of the error."""

from __future__ import annotations

import re
from typing import Final

from wms.errors import WmsError
from wms.libraries import lacking
from wms_ops.base.errors import CredentialsExpiredError, CredentialsMissingError

AGAIN: Final = "try again, or look at the network"
KEYS: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`"
_PARTS: Final = re.compile(r"; |\. (?=[A-Z])")


def reason(error: BaseException) -> str:
    """One line about an error: an expected error's own sentence, else a sentence with the exception's type."""
    lines = str(error).splitlines() or [""]
    if isinstance(error, WmsError) and lines[0]:
        return lines[0]
    if isinstance(error, ModuleNotFoundError) and (told := lacking(error)):
        return told
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the connection'}: {error.strerror}"
    return f"the question failed by a fault of this program: {type(error).__name__}: {lines[0]}".rstrip(": ")


def remedy(error: BaseException) -> str:
    """The next step after an error. The sentences of this project's errors end with it."""
    if isinstance(error, CredentialsMissingError | CredentialsExpiredError):
        return KEYS
    if isinstance(error, WmsError | ModuleNotFoundError):
        return remedy_in(reason(error))
    if isinstance(error, ConnectionError | TimeoutError):
        return AGAIN
    if isinstance(error, OSError) and error.filename:
        return f"look at {error.filename} and at its permissions"
    return "report this line as a fault of this program"


def remedy_in(sentence: str) -> str:
    """The remedy at a sentence's end.

    >>> remedy_in("a.json is damaged; restore it from Git.")
    'restore it from Git'
    """
    parts = _PARTS.split(sentence.rstrip("."))
    return parts[-1] if len(parts) > 1 else "correct that, then try again"
