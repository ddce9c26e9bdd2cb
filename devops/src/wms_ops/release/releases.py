"""Releases on GitHub: drafts are filled, then published; files are compared by GitHub's digests."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wms.errors import WmsError
from wms.files import sha256_bytes
from wms_ops.base.errors import AccessDeniedError, StoreUnreachableError
from wms_ops.pulls.gh import REPO, GhResponse, GitHub

_PAGE = 100


@dataclass(frozen=True)
class Asset:
    """A release's file: `size` in bytes, `digest` such as sha256:0a1b..., "" from a GitHub without digests."""

    name: str
    size: int
    whole: bool
    digest: str
    url: str


@dataclass(frozen=True)
class GitHubRelease:
    """A release: `url` is for people, `uploads` takes files. A draft is invisible to users with read access only."""

    id: int
    tag: str
    draft: bool
    url: str
    uploads: str
    assets: tuple[Asset, ...]

    def asset(self, name: str) -> Asset | None:
        """The file of this name."""
        return next((asset for asset in self.assets if asset.name == name), None)


@dataclass(frozen=True)
class Releases:
    """Requests about releases. All raise the errors of `GitHub.ask`, also if GitHub refuses."""

    github: GitHub

    def published(self, tag: str) -> GitHubRelease | None:
        """The published release of a tag."""
        answer = self.github.ask(f"{REPO}/releases/tags/{quote(tag)}", what=f"the release {tag}")
        return None if answer.status == 404 else _release(_done(answer, f"the release {tag}"))

    def drafts(self, tag: str) -> list[GitHubRelease]:
        """Drafts for a tag, oldest first: GitHub creates a tag only on publication, so several drafts may name it."""
        found: list[GitHubRelease] = []
        for page in range(1, 1000):
            answer = self.github.ask(f"{REPO}/releases?per_page={_PAGE}&page={page}", what="the list of releases")
            some = [_release(data) for data in _done(answer, "the list of releases")]
            found += [release for release in some if release.draft and release.tag == tag]
            if len(some) < _PAGE:
                break
        return sorted(found, key=lambda release: release.id)

    def create_draft(self, tag: str, title: str, text: str) -> GitHubRelease:
        """Create a draft without files."""
        data = {"tag_name": tag, "name": title, "body": text, "draft": True, "make_latest": "false"}
        answer = self.github.ask(f"{REPO}/releases", method="POST", body=data, what=f"a new release {tag}")
        return _release(_done(answer, f"a new release {tag}"))

    def again(self, release: GitHubRelease) -> GitHubRelease:
        """Read the release's present state."""
        answer = self.github.ask(f"{REPO}/releases/{release.id}", what=f"the release {release.tag}")
        return _release(_done(answer, f"the release {release.tag}"))

    def publish(self, release: GitHubRelease) -> None:
        """Make a draft visible."""
        data = {"draft": False, "make_latest": "false"}
        path, what = f"{REPO}/releases/{release.id}", f"the release {release.tag}"
        _done(self.github.ask(path, method="PATCH", body=data, what=what), what)

    def remove(self, release: GitHubRelease) -> None:
        """Delete a draft; a draft that is gone already is no error."""
        path, what = f"{REPO}/releases/{release.id}", f"the draft of {release.tag}"
        _gone(self.github.ask(path, method="DELETE", what=what), what)

    def remove_asset(self, release: GitHubRelease, asset: Asset) -> None:
        """Delete a file; a file that is gone already is no error."""
        what = f"{asset.name} of the release {release.tag}"
        _gone(self.github.ask(asset.url, method="DELETE", what=what), what)

    def replace(self, release: GitHubRelease, name: str, content: bytes) -> None:
        """Upload a file; replaces a file of the same name."""
        what = f"{name} of the release {release.tag}"
        if old := release.asset(name):
            self.remove_asset(release, old)
        with tempfile.TemporaryDirectory(prefix="wms-upload-") as folder:
            path = Path(folder) / "asset"  # a file and no pipe: GitHub wants to know the length
            path.write_bytes(content)
            _done(self.github.send_file(f"{release.uploads}?name={quote(name)}", path, what), what)

    def read(self, asset: Asset) -> bytes:
        """A file's content, also of a draft. Raises ModelNotFoundError if the file is gone."""
        return self.github.read_asset(asset.url, asset.name)

    def holds(self, release: GitHubRelease, name: str, content: bytes) -> bool:
        """Whether a release has exactly this file: by GitHub's own digest, else by downloading."""
        asset = release.asset(name)
        if asset is None or not asset.whole or asset.size != len(content):
            return False
        if asset.digest.startswith("sha256:"):
            return asset.digest.removeprefix("sha256:") == sha256_bytes(content)
        return self.read(asset) == content


def _release(data: Any) -> GitHubRelease:
    assets = [
        Asset(one["name"], one["size"], one["state"] == "uploaded", one.get("digest") or "", one["url"])
        for one in data["assets"]
    ]
    uploads = data["upload_url"].partition("{")[0]
    return GitHubRelease(data["id"], data["tag_name"], data["draft"], data["html_url"], uploads, tuple(assets))


def _done(answer: GhResponse, what: str) -> Any:
    if not answer.ok:
        raise _refusal(answer, what)
    return answer.data


def _gone(answer: GhResponse, what: str) -> None:
    if not answer.ok and answer.status != 404:
        raise _refusal(answer, what)


def _refusal(answer: GhResponse, what: str) -> WmsError:
    if answer.status in (403, 404):
        return AccessDeniedError(
            f"GitHub refuses access to {what} ({answer.words}); the login needs the right to write this repository's "
            "contents."
        )
    return StoreUnreachableError(f"GitHub refuses {what}: {answer.words}; run this again.")
