"""Publishes promoted models to the S3 store and to a release on GitHub: complete, verified, and once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from wms.errors import ModelDamagedError, ModelNotFoundError
from wms.files import parse_json, sha256_bytes
from wms.registry.lineage import CARD, DOCUMENTS, FILES, MODEL_CARD_PAGE, ONNX, WEIGHTS, WORST_PHOTOS
from wms.registry.weights import check_architecture
from wms_ops.base.errors import DamagedBlobError
from wms_ops.pulls.erase_pages import mentions
from wms_ops.pulls.gh import GitHub
from wms_ops.release.releases import GitHubRelease, Releases
from wms_ops.release.sources import STORE, all_of, key_of, read_folder, release_tag
from wms_ops.storage.remote import S3Remote


def publish_model(store: S3Remote, model: Path | Mapping[str, bytes]) -> bool:
    """Upload a model (its folder, or its files by the names of FILES) to the S3 store, and read the upload back.

    Returns whether anything was uploaded; repeat the call after an error or a kill. Raises ModelNotFoundError or
    ModelDamagedError for files that don't belong together, also if the store already holds these weights with
    another sound ONNX file; DamagedBlobError if the store gives back other bytes; the store's own errors.

    >>> publish_model(store, Path("WMS/models"))  # doctest: +SKIP
    True
    """
    files = _files(model)
    weights_sha256 = _check_set(files)
    stored = {name: store.read_note(key_of(weights_sha256, name)) for name in FILES}
    if {**files} == stored:
        return False
    _refuse_other_set(stored, files, store.config.url)
    for name in FILES:  # the card last: a reader who finds it finds the others, too
        if stored[name] == files[name]:
            continue
        key = key_of(weights_sha256, name)
        store.write_note(key, files[name])
        if store.read_note(key) != files[name]:
            raise DamagedBlobError(f"{store.config.url}/{key} isn't what was sent there; run this again.")
    return True


def publish_release(
    github: GitHub, model: Path | Mapping[str, bytes], *, step: Callable[[str], None] = lambda _: None
) -> bool:
    """Upload a model to the release on GitHub from which `wms sync` downloads; the release is a draft until complete.

    Returns whether anything was uploaded; repeat the call after an error or a kill. `step` gets each step's name at its
    beginning. Raises the errors of `publish_model` and of `Releases`.
    """
    files = _files(model)
    weights_sha256 = _check_set(files)
    releases, tag = Releases(github), release_tag(weights_sha256)
    release = releases.published(tag)
    if release and all(releases.holds(release, name, files[name]) for name in FILES):
        return False
    if release:
        stored = {name: releases.read(found) if (found := release.asset(name)) else None for name in (CARD, ONNX)}
        _refuse_other_set(stored, files, release.url)
    else:
        step("draft")
        drafts = releases.drafts(tag)
        # The oldest draft is continued, as every killed or parallel run would do.
        release = drafts[0] if drafts else releases.create_draft(tag, f"Model {tag}", _notes(files))
    release = _fill(releases, release, files, step)
    if release.draft:
        step("publish")
        releases.publish(release)
        step("tidy")
        for other in releases.drafts(tag):  # of runs that were killed, or came at the same moment
            releases.remove(other)
    step("done")
    return True


def publish_documents(store: S3Remote, weights_sha256: str, documents: Mapping[str, bytes]) -> None:
    """Put a published model's card beside the model's files in the S3 store; an equal file is left alone.

    A card changes at a rollback, and loses its photos with `publish_photos` in wms.toml. Raises the store's errors.
    """
    for name in DOCUMENTS:
        key = key_of(weights_sha256, name)
        if name in documents and store.read_note(key) != documents[name]:
            store.write_note(key, documents[name])
        elif name not in documents:
            store.erase_note(key)


def erase_documents(store: S3Remote, names: Collection[str]) -> list[str]:
    """Delete published cards that name one of these photos, in all their versions; return the keys. Safe to repeat."""
    pages = [key for key in store.notes(f"{STORE}/") if key.endswith(f"/{MODEL_CARD_PAGE}")]
    named = [key for key in pages if mentions(store.read_note(key) or b"", names)]
    for page in named:
        store.erase_note(f"{page.removesuffix(MODEL_CARD_PAGE)}{WORST_PHOTOS}")
        store.erase_note(page)  # last: a killed erasure finds the card by its page
    return named


def release_documents(github: GitHub, weights_sha256: str, documents: Mapping[str, bytes]) -> None:
    """Put a published model's card into the model's release on GitHub; an equal file is left alone.

    Raises ModelNotFoundError without a published release, and the errors of `Releases`.
    """
    releases, tag = Releases(github), release_tag(weights_sha256)
    if (release := releases.published(tag)) is None:
        raise ModelNotFoundError(f"GitHub has no release {tag} for the model card; promote with --publish-release.")
    for name in DOCUMENTS:
        if name in documents and not releases.holds(release, name, documents[name]):
            releases.replace(release, name, documents[name])
        elif name not in documents and (asset := release.asset(name)):
            releases.remove_asset(release, asset)


def _fill(
    releases: Releases, release: GitHubRelease, files: Mapping[str, bytes], step: Callable[[str], None]
) -> GitHubRelease:
    """Upload the files that a release lacks, and verify all of them."""
    for name in FILES:
        if not releases.holds(release, name, files[name]):
            step(f"upload {name}")
            releases.replace(release, name, files[name])
    step("verify")
    release = releases.again(release)
    if wrong := [name for name in FILES if not releases.holds(release, name, files[name])]:
        raise DamagedBlobError(f"{', '.join(wrong)} in {release.url} isn't what was sent there; run this again.")
    return release


def _notes(files: Mapping[str, bytes]) -> str:
    rows = "".join(f"| `{name}` | `{sha256_bytes(files[name])}` |\n" for name in FILES)
    return (
        "A model that was promoted; `wms sync` brings the newest one to `WMS/models` and "
        f"checks it against the ledger.\n\n| file | SHA-256 |\n|---|---|\n{rows}"
    )


def _check_set(files: Mapping[str, bytes]) -> str:
    """Return the weights' hash after comparing weights and ONNX file with the card."""
    try:
        card: Any = parse_json(files[CARD])
        expected = (card["weights_sha256"], card["onnx_sha256"])
    except (ValueError, TypeError, KeyError) as error:
        raise ModelDamagedError(f"{CARD} doesn't describe a model ({error!r}); export it again.") from error
    for name, digest in zip((WEIGHTS, ONNX), expected, strict=True):
        if sha256_bytes(files[name]) != digest:
            raise ModelDamagedError(f"{name} isn't the file that {CARD} beside it describes; nothing was published.")
    check_architecture(files[WEIGHTS], WEIGHTS, card)
    return str(expected[0])


def _files(model: Path | Mapping[str, bytes]) -> dict[str, bytes]:
    found = all_of(read_folder(model) if isinstance(model, Path) else model, "The folder to publish", None)
    return {name: found[name] for name in FILES}


def _refuse_other_set(stored: Mapping[str, bytes | None], files: Mapping[str, bytes], url: str) -> None:
    """Allow the repair of a damaged upload, but not the replacement of a sound ONNX file of an earlier version."""
    card, graph = stored[CARD], stored[ONNX]
    if card is None or graph is None or graph == files[ONNX]:
        return
    try:
        sound = parse_json(card)["onnx_sha256"] == sha256_bytes(graph)
    except (ValueError, TypeError, KeyError):
        return
    if sound:
        raise ModelDamagedError(
            f"{url} already holds these weights with another {ONNX}, of a version that people may go back to; train "
            "again instead of exporting the same weights with other settings."
        )
