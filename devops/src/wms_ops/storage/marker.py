"""The mark of a project below a DVC remote's prefix: the data sets of two projects never mix there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from wms.files import parse_json
from wms.formats import refuse_newer
from wms.json_text import to_json
from wms_ops.base.errors import AccessDeniedError, StoreConfigError
from wms_ops.storage.config import FILES
from wms_ops.storage.remote import S3Remote

MARKER: Final = "wms-project.json"


def claim(store: S3Remote, project: str) -> bool:
    """Mark the remote as that of `project`; returns whether the mark is new.

    Of two projects that claim an unmarked remote at once, the store lets one win. Raises StoreConfigError if the remote
    is marked for another project or lies inside another's, and the store's errors.
    """
    if (owner := owner_of(store)) is None:
        _refuse_nested(store, project)
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        text = to_json({"format": 1, "project": project, "made_at": made_at}, indent=1)
        made = store.create_note(MARKER, f"{text}\n".encode())
        # Read again even after an own write: some stores ignore the condition, and then the last write counts.
        owner = owner_of(store)
    else:
        made = False
    refuse_another(store, owner, project)
    return made


def refuse_another(store: S3Remote, owner: str | None, project: str) -> None:
    """Raise StoreConfigError if `owner`, for which the remote is marked, is another project; None is no mark."""
    if owner not in (None, project):
        raise StoreConfigError(
            f"{store.config.url} holds the data set of the project {owner!r}, and this is the project {project!r}, so "
            "nothing was written: take a bucket or a prefix of its own with `wms init --bucket s3://BUCKET/PREFIX`, or "
            f"the other project's name with `wms init --project {owner}` if both are the same one."
        )


def _refuse_nested(store: S3Remote, project: str) -> None:
    """Raise StoreConfigError if a prefix above is another project's, or this one lies among an own data set's files."""
    parts = store.config.prefix.split("/") if store.config.prefix else []
    for level in reversed(range(len(parts))):
        above = store.at("/".join(parts[:level]))
        try:
            owner = owner_of(above)
        except AccessDeniedError:
            continue  # keys may be limited to the own prefix
        if owner is not None and (owner != project or parts[level] == FILES):
            raise StoreConfigError(
                f"{store.config.url} lies inside {above.config.url}, which holds the data set of the project "
                f"{owner!r}, so nothing was written: take a bucket or a prefix of its own with "
                "`wms init --bucket s3://BUCKET/PREFIX`."
            )


def owner_of(store: S3Remote) -> str | None:
    """Return the project for which the remote is marked, None without a mark.

    Raises StoreConfigError for a damaged mark, and the store's errors.
    """
    content = store.read_note(MARKER)
    if content is None:
        return None
    where = f"{store.config.url}/{MARKER}"
    try:
        found: Any = parse_json(content)
        refuse_newer(found, where, StoreConfigError)
        owner = found["project"]
        if not isinstance(owner, str) or not owner:
            raise ValueError("it names no project")
    except (ValueError, TypeError, KeyError) as error:
        raise StoreConfigError(
            f"{where} doesn't say whose data set lies there ({error}); look at the object, delete it if it's no "
            "project's, and run this again."
        ) from error
    return owner
