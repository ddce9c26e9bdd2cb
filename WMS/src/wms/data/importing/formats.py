"""The formats that the import knows, and the choice of the format of an export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wms.data.importing import coco, cvat, label_studio, labelme, supervisely, voc, yolo
from wms.data.importing.records import Format
from wms.data.importing.source import Tree
from wms.data.qa.names import shown
from wms.errors import DataNotFoundError, ExportUnknownError

FORMATS: Final = tuple(one.FORMAT for one in (coco, yolo, labelme, cvat, label_studio, voc, supervisely))
NAMES: Final = tuple(one.name for one in FORMATS)


def recognised(tree: Tree, wanted: str | None) -> tuple[Format, Sequence[str]]:
    """The format of an export and the files that have the format; `wanted` names it, else each format is tried.

    Raises ExportUnknownError if no format fits or several do, DataNotFoundError for an export without files, and the
    errors of `Tree` for a damaged file.
    """
    if not tree.names:
        raise DataNotFoundError(f"{shown(tree.where)} holds no files; name the folder or the .zip of an export.")
    tried = [one for one in FORMATS if wanted in (None, one.name)]
    found = [(one, files) for one in tried if (files := one.find(tree))]
    if not found:
        looked_for = "; ".join(f"{one.name}: {one.looked_for}" for one in tried)
        raise ExportUnknownError(f"{shown(tree.where)} is no export that the import knows. Looked for {looked_for}.")
    if len(found) > 1:
        names = " and ".join(one.name for one, _ in found)
        raise ExportUnknownError(
            f"{shown(tree.where)} holds labels in several formats, {names}; name one by `--format {found[0][0].name}`."
        )
    return found[0]
