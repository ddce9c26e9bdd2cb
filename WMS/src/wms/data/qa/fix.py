"""`--fix`: writes binary PNG masks and upright images, and never loses an original.

Each run has a folder `originals-YYYYMMDD-HHMMSS` beside images/ and masks/. For each file, the run copies the original
to that folder, writes the change into `journal.jsonl`, then replaces the file; at the end `fixes.json` lists the
changes. After a kill at any point the next run finishes the journal's changes: see `recover`.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Final

from PIL import Image, JpegImagePlugin

from wms.config import DataConfig
from wms.data.bare import ORIENTATION_TAG, bare
from wms.data.heic import jpeg_of_heic
from wms.data.images import UPRIGHT, decode_image, orientation_in
from wms.data.kinds import FORMATS, HEAD_BYTES, HEIC_SUFFIXES, kind_of
from wms.data.masks import black_white, decode_mask
from wms.data.qa.checks_content import files_with
from wms.data.qa.facts import FolderFacts, ImageFacts, Listing, MaskFacts, Unreadable
from wms.data.qa.names import is_undecodable
from wms.data.qa.naming import LIST, PREFIX, doubts, needs_a_name
from wms.errors import ImageTooLargeError, NotAnImageError, TruncatedImageError, from_os_error
from wms.files import append_line, canonical_json, cut_torn_tail, read_json_lines, remove, sha256_bytes, write_atomic
from wms.json_text import to_json
from wms.pictures import encoded
from wms.regular import read_regular

JOURNAL: Final = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class MaskFix:
    """The planned change of a file such as "masks/a.jpg"; `becomes` is the name afterwards."""

    file: str
    becomes: str
    what: str
    wanted: str = ""
    """The name of the class that is the strip, for a mask that doesn't tell."""


def plan_fixes(facts: FolderFacts, config: DataConfig, wanted: str = "") -> tuple[MaskFix, ...]:
    """Plan the changes of `--fix`. Pure.

    `wanted` names the class that is the strip. Truly grey masks, masks of several classes without a named one, masks
    whose strip the set doubts (see `doubts`) and masks of another size are left to a person, and so are names that no
    list can hold, which the check reports.
    """
    return (*_mask_changes(facts, config, wanted), *_image_changes(facts))


def masks_without(facts: FolderFacts, wanted: str) -> tuple[dict[str, MaskFacts], bool]:
    """The masks whose classes lack the named one, by file; and whether any mask has the class.

    Masks of 0 and 255 and masks with soft edges don't count: nobody has to name their strip.
    """
    named = {
        file: mask
        for file, mask in files_with(facts, "masks/", facts.mask_facts)
        if isinstance(mask, MaskFacts) and needs_a_name(mask)
    }
    lacking = {file: mask for file, mask in named.items() if not _has(mask, wanted)}
    return lacking, len(lacking) < len(named)


def apply_fixes(
    folder: Path, changes: Sequence[MaskFix], facts: FolderFacts, *, max_megapixels: float, now: datetime
) -> list[dict[str, Any]]:
    """Carry out `changes` in `folder`; returns the changes made, as fixes.json lists them.

    A file whose content has changed since the check stays as is, and so does a file that a change would harm: a mask
    that would lose all marks, a photo with EXIF data that can't be written again, HEIC without a safe
    decoder. Raises UnwritableError, DiskFullError, and the errors of `wms.data.images.read_image`.
    """
    if not changes:
        return []
    kept = _new_folder(folder, now)
    for change in changes:
        before, sha256 = _content(folder / change.file), facts.hashes[change.file]
        is_taken = change.becomes != change.file and os.path.lexists(folder / change.becomes)
        if before is None or is_taken or sha256_bytes(before) != sha256:
            continue
        name = str(folder / change.file)
        if change.file.startswith("masks/"):
            after = _binary_png(before, name, max_megapixels, change.wanted)
        else:
            after = _upright(before, name, max_megapixels)
        if after is None:
            continue
        write_atomic(kept / change.file, before)
        entry = {**asdict(change), "sha256_before": sha256, "sha256_after": sha256_bytes(after)}
        append_line(kept / JOURNAL, canonical_json(entry))
        write_atomic(folder / change.becomes, after)
        if change.becomes != change.file:
            remove(folder / change.file)
    return _finish(folder, kept)


def recover(folder: Path) -> list[dict[str, Any]]:
    """Finish the changes of a killed `apply_fixes`; returns the changes that the killed run had made.

    Raises TrackingError for a damaged journal, UnwritableError or DiskFullError.
    """
    done = []
    for kept in sorted(folder.glob(f"{PREFIX}*")):
        if kept.is_dir() and (kept / JOURNAL).exists() and not (kept / LIST).exists():
            cut_torn_tail(kept / JOURNAL)
            done += _finish(folder, kept)
    return done


def _mask_changes(facts: FolderFacts, config: DataConfig, wanted: str) -> Iterator[MaskFix]:
    masks = facts.masks or Listing(())
    taken = {f"masks/{name}".casefold() for name in (*masks.files, *(name for name, _ in masks.others))}
    known = dict(files_with(facts, "masks/", facts.mask_facts))
    doubted = doubts({file: mask for file, mask in known.items() if isinstance(mask, MaskFacts)}, facts.named)
    for file, mask in known.items():
        if not isinstance(mask, MaskFacts) or _is_a_persons(mask, wanted, file in doubted, config.max_grey_fraction):
            continue
        reasons = [
            *([_change(mask, wanted)] if mask.neither or mask.ambiguous else []),
            *([f"turned upright (EXIF orientation {mask.orientation})"] if mask.orientation != 1 else []),
        ]
        becomes = file if file.lower().endswith(".png") else f"{file.rpartition('.')[0]}.png"
        # Another mask of that name may be a labeller's work; the report says that both claim the name.
        if reasons and not is_undecodable(file) and (becomes == file or becomes.casefold() not in taken):
            yield MaskFix(file, becomes, "; ".join(reasons), wanted if needs_a_name(mask) else "")


def _is_a_persons(mask: MaskFacts, wanted: str, is_doubted: bool, most_grey: float) -> bool:
    """Whether only a person can tell what the mask marks."""
    if needs_a_name(mask) and wanted:
        return not _has(mask, wanted)
    return mask.ambiguous or is_doubted or mask.grey > most_grey or bool(mask.hides)


def _has(mask: MaskFacts, wanted: str) -> bool:
    return any(one.is_named(wanted) for one in mask.classes)


def _change(mask: MaskFacts, wanted: str) -> str:
    if wanted and mask.classes:
        return f"{wanted} became white, all else black"
    if len(mask.classes) == 2:
        return f"{' and '.join(sorted(one.value or one.colour for one in mask.classes))} became 0 and 255"
    return f"{mask.neither:.2%} grey pixels became black or white"


def _image_changes(facts: FolderFacts) -> Iterator[MaskFix]:
    for file, image in files_with(facts, "images/", facts.image_facts):
        if isinstance(image, ImageFacts) and image.orientation != 1 and not is_undecodable(file):
            yield MaskFix(file, file, f"turned upright (EXIF orientation {image.orientation})")
        elif isinstance(image, Unreadable) and image.check == "heic" and not is_undecodable(file):
            path = PurePath(file)
            becomes = str(path.with_suffix(".jpg")) if path.suffix.lower() in HEIC_SUFFIXES else file
            yield MaskFix(file, becomes, "HEIC became JPEG")


def _new_folder(folder: Path, now: datetime) -> Path:
    """Create the folder for this run's originals, distinct even for two runs in the same second."""
    name = f"{PREFIX}{now:%Y%m%d-%H%M%S}"
    for number in range(1, 1000):
        kept = folder / (name if number == 1 else f"{name}-{number}")
        try:
            kept.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise from_os_error(error, kept) from error
        return kept
    raise FileExistsError(name)


def _finish(folder: Path, kept: Path) -> list[dict[str, Any]]:
    """Remove originals whose replacement is in place, and list the changes."""
    done = []
    for _, entry in read_json_lines(kept / JOURNAL):
        old, new, copy = folder / entry["file"], folder / entry["becomes"], kept / entry["file"]
        if _sha256(new) != entry["sha256_after"]:
            continue  # killed before it was replaced: the next check plans it anew
        if old != new and _sha256(old) == _sha256(copy) == entry["sha256_before"]:
            remove(old)
        done.append({**entry, "original": f"{kept.name}/{entry['file']}"})
    write_atomic(kept / LIST, to_json(done, indent=2, ensure_ascii=False) + "\n")
    return done


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:  # taken away since the check
        return None


def _sha256(path: Path) -> str | None:
    content = _content(path)
    return None if content is None else sha256_bytes(content)


def _binary_png(content: bytes, name: str, max_megapixels: float, wanted: str) -> bytes | None:
    """A mask as an upright PNG of 0 and 255, as `read_mask` reads it; None if the strip is unknown or would be lost."""
    mask = decode_mask(content, name, max_megapixels=max_megapixels, wanted=wanted)
    if mask.ambiguous or mask.hides:
        return None
    return encoded(Image.fromarray(black_white(mask.strip)), "PNG")


def _upright(content: bytes, name: str, max_megapixels: float) -> bytes | None:
    """A photo stored upright, in the same format, with the other EXIF data; None if the data can't be written."""
    if kind_of(content[:HEAD_BYTES]) == "HEIC":
        return _from_heic(content, name, max_megapixels)
    decode_image(content, name, max_megapixels=max_megapixels)  # raises a clear error for an unreadable file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _stored_upright(content)
    except Exception:  # Pillow reads and writes all of the EXIF data anew, odd values too
        return None


def _from_heic(content: bytes, name: str, max_megapixels: float) -> bytes | None:
    """A HEIC photo as an upright JPEG without EXIF data; None without a safe decoder, which the check tells."""
    try:
        return jpeg_of_heic(content, name, max_megapixels=max_megapixels)
    except (NotAnImageError, TruncatedImageError, ImageTooLargeError):
        return None


def _stored_upright(content: bytes) -> bytes:
    options: dict[str, Any] = {}
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        exif, profile = image.getexif(), image.info.get("icc_profile")
    exif.pop(ORIENTATION_TAG, None)
    # The orientation is read as everywhere, and not from what Pillow makes of odd data.
    with Image.open(io.BytesIO(bare(content).content), formats=FORMATS) as image:
        kind = str(image.format)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            # The same quantisation tables lose almost nothing: most coefficients round to the old values.
            options = {"qtables": image.quantization, "subsampling": JpegImagePlugin.get_sampling(image)}
        elif kind == "WEBP":
            options = {"lossless": True}
        elif kind == "AVIF":
            options = {"quality": 100, "subsampling": "4:4:4"}
        image.load()
        turn = UPRIGHT.get(orientation_in(content))
        image.info.pop("exif", None)
        upright = image if turn is None else image.transpose(turn)
        if kind != "TIFF" and len(exif):
            options["exif"] = exif.tobytes()
        if profile:
            options["icc_profile"] = profile
        return encoded(upright, kind, **options)
