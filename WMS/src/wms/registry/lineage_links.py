"""The links of the chain, each checked against sound neighbours only, so a changed byte is blamed on its own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wms.config import parse_config
from wms.errors import ConfigError, ModelDamagedError
from wms.files import parse_json, sha256_bytes
from wms.json_text import to_json
from wms.metrics import DICE, FINAL, FINAL_DICE, FINAL_IOU, IOU
from wms.registry.lineage import CARD, CONFIG, DATA, METADATA, ONNX, SCORES, WEIGHTS, Copy, LineageEvidence, Link, State
from wms.registry.metadata import metadata_of
from wms.registry.weights import check_architecture

_HASHES: Final = ("weights_sha256", "onnx_sha256", "config_hash", "data_version", "git_commit")
_DIGITS: Final = 6
"""Decimals of the scores in the card."""


def check_lineage(evidence: LineageEvidence) -> tuple[Link, ...]:
    """Every link of the chain, from the weights to the registry, in this order."""
    return _Chain(evidence).links()


class _Broken(Exception):
    """Raised with the reason why a link doesn't hold."""


class _Unknown(Exception):
    """Raised with the reason why a link can't be checked."""


class _Chain:
    """The checks of a chain; each check returns a text about the comparison, or raises _Broken or _Unknown."""

    def __init__(self, evidence: LineageEvidence) -> None:
        self.seen = evidence
        self.done: dict[str, Link] = {}
        self.checks: dict[str, Callable[[], str]] = {
            WEIGHTS: self.weights,
            ONNX: self.onnx,
            CARD: self.card,
            "ledger": self.ledger,
            "anchor": self.anchor,
            METADATA: self.metadata,
            DATA: self.data,
            CONFIG: self.config,
            SCORES: self.scores,
            "Git commit": self.commit,
            "registry": self.registry,
        }

    def links(self) -> tuple[Link, ...]:
        return tuple(self.link(name) for name in self.checks)

    def link(self, name: str) -> Link:
        """Check a link, at most once; other checks call this before they rely on the link."""
        if name not in self.done:
            state: State = "holds"
            try:
                text = self.checks[name]()
            except _Broken as broken:
                state, text = "broken", str(broken)
            except _Unknown as unknown:
                state, text = "not checked", str(unknown)
            self.done[name] = Link(name, state, text)
        return self.done[name]

    def holds(self, name: str) -> bool:
        return self.link(name).state == "holds"

    # ---- the model's own files

    def weights(self) -> str:
        return self._model_file(WEIGHTS, "weights_sha256")

    def onnx(self) -> str:
        return self._model_file(ONNX, "onnx_sha256")

    def _model_file(self, name: str, key: str) -> str:
        found = sha256_bytes(self._need(name))
        source, expected = self._expected(key)
        _same("its SHA-256", found, expected, source)
        return f"SHA-256 {found[:12]} is the {source}'s"

    def card(self) -> str:
        content = self._need(CARD)
        card = _object(content)
        _check_form(content, to_json(card, indent=2, sort_keys=True, ensure_ascii=False))
        self._check_recorded(CARD, content)
        if self.seen.entry:
            for key in _HASHES:
                _same(key, card.get(key), self._recorded(key), "ledger")
        if self.holds(WEIGHTS):
            try:
                check_architecture(self.seen.files[WEIGHTS], WEIGHTS, card)
            except ModelDamagedError as error:
                raise _Broken(str(error).partition(";")[0]) from error
        if self.holds(ONNX):
            _check_settings(self.seen.files[ONNX], card)
        compared = "hashes, config, data and commit are the ledger's" if self.seen.entry else "there is no ledger yet"
        return f"it describes both files; {compared}; run {card.get('run')}"

    # ---- the books

    def ledger(self) -> str:
        seen = self.seen
        if seen.ledger_error:
            raise _Broken(seen.ledger_error.rstrip("."))
        if not seen.entry:
            raise _Unknown("nothing was ever promoted here")
        weights = seen.files.get(WEIGHTS)
        if weights is not None and sha256_bytes(weights) != seen.entry.weights_sha256:
            raise _Unknown(f"{seen.ledger_text}, but these weights are in none of its entries")
        role = "is Production" if seen.entry == seen.newest else "was Production once"
        return f"{seen.ledger_text}; version {seen.entry.to_version} {role}"

    def anchor(self) -> str:
        if self.seen.not_vouched:
            raise _Broken(self.seen.not_vouched.rstrip("."))
        if not self.seen.vouched:
            raise _Unknown(self.seen.no_witness)
        return self.seen.vouched

    def metadata(self) -> str:
        newest, content = self.seen.newest, self.seen.metadata
        if content is None:
            raise _Unknown("there is none")
        values = _object(content)
        if newest is None:
            if values.get("model_version", 0) is None and not self.seen.ledger_error:
                return "no model is Production yet, as the ledger says"
            raise _Unknown("there is no ledger entry to compare it with")
        expected = _object(metadata_of(newest).text.encode())
        for key, value in sorted(expected.items()):
            _same(key, values.get(key), value, "ledger's newest entry")
        _check_form(content, to_json(values, indent=2, ensure_ascii=False))
        more = sorted(values.keys() - expected.keys())
        unknown = f"; {', '.join(more)} is of a later version and wasn't compared" if more else ""
        return f"it is what the ledger says of version {newest.to_version}{unknown}"

    # ---- what the run keeps of its origin

    def data(self) -> str:
        source, expected = self._expected("data_version")
        copies = self._copies(DATA)
        for copy in copies:
            _same(f"the SHA-256 of the copy in {copy.where}", sha256_bytes(copy.content), expected, source)
        count = len(copies[0].content.splitlines())
        return f"its SHA-256 is the data version {expected[:12]}, {count} images{_places(copies)}"

    def config(self) -> str:
        source, expected = self._expected("config_hash")
        copies = self._copies(CONFIG)
        for copy in copies:
            try:
                values = _object(copy.content)
                config = parse_config(values, f"the copy in {copy.where}", stored=True)
            except ConfigError as error:
                raise _Broken(str(error).rstrip(".")) from error
            _same(f"the config hash of the copy in {copy.where}", config.hash, expected, source)
            _check_form(copy.content, to_json(values, indent=2))
            self._check_recorded(CONFIG, copy.content)
        return f"it hashes to {expected[:12]}, as the {source} says{_places(copies)}"

    def scores(self) -> str:
        card, copies = self._card(), self._copies(SCORES)
        for copy in copies:
            self._check_recorded(SCORES, copy.content)
            try:
                rows = parse_json(copy.content)
                means = {key: sum(row[key] for row in rows) / len(rows) for key in (DICE, IOU)}
            except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
                raise _Broken(f"the copy in {copy.where} isn't a list of scores") from error
            for key, mean in means.items():
                text = str(card.get(f"{FINAL}{key}"))
                _same(f"the mean {key} of the copy in {copy.where}", f"{mean:.{_DIGITS}f}", text, CARD)
        return f"its means are the card's Dice and IoU{_places(copies)}"

    # ---- where it came from

    def commit(self) -> str:
        source, commit = self._expected("git_commit")
        if commit in ("", "None"):
            raise _Unknown("the run was trained outside of Git")
        if self.seen.commit_found is None:
            raise _Unknown(self.seen.no_commit)
        if not self.seen.commit_found:
            raise _Broken(f"the {source}'s commit {commit[:12]} isn't in this repository; run `git fetch --tags`")
        return f"{commit[:12]} is a commit of this repository"

    def registry(self) -> str:
        facts, entry = self.seen.registry, self.seen.entry
        if facts is None:
            raise _Unknown(self.seen.no_registry)
        if entry is None:
            raise _Unknown("there is no ledger entry to compare it with")
        _same(f"the run of version {entry.to_version}", facts.run_id, entry.run_id, "ledger")
        for key in ("config_hash", "data_version", "git_commit"):
            _same(f"the tag {key}", facts.tags.get(key), self._recorded(key), "ledger")
        if facts.weights_sha256 is not None:
            _same(f"the SHA-256 of its {WEIGHTS}", facts.weights_sha256, entry.weights_sha256, "ledger")
        card = self._card()
        _same("the run's name", facts.run_name, card.get("run"), CARD)
        for key in (FINAL_DICE, FINAL_IOU):
            if key in facts.metrics:
                _same(key, f"{facts.metrics[key]:.{_DIGITS}f}", str(card.get(key)), CARD)
        dirty = "; it was trained with changes that no commit has" if facts.tags.get("git_dirty") == "True" else ""
        return f"version {entry.to_version} has this run, these weights and these tags{dirty}"

    # ---- what they share

    def _need(self, name: str) -> bytes:
        if name not in self.seen.files:
            raise _Broken(f"{self.seen.models} holds no {name}")
        return self.seen.files[name]

    def _copies(self, name: str) -> Sequence[Copy]:
        if not (found := self.seen.origin.get(name, ())):
            raise _Unknown("no copy is at hand, neither in the run's folder nor from MLflow")
        return found

    def _card(self) -> Mapping[str, Any]:
        if not self.holds(CARD):
            raise _Unknown(f"{CARD}, which it is compared with, isn't sound")
        return _object(self.seen.files[CARD])

    def _expected(self, key: str) -> tuple[str, str]:
        """The source of a value (the ledger, else the card), and the value."""
        if self.seen.entry:
            return "ledger", self._recorded(key)
        # Not _card(), which itself relies on the weights: without a ledger both are compared with what is written.
        try:
            return CARD, str(_object(self._need(CARD)).get(key))
        except _Broken:
            raise _Unknown(f"there is neither a ledger entry nor a sound {CARD}") from None

    def _recorded(self, key: str) -> str:
        return str(getattr(self.seen.entry, key))

    def _check_recorded(self, name: str, content: bytes) -> None:
        if name in self.seen.recorded:
            _same("its SHA-256", sha256_bytes(content), self.seen.recorded[name], "ledger")


def _check_settings(graph: bytes, card: Mapping[str, Any]) -> None:
    """Compare the card's settings with the ONNX file's own record of them."""
    import onnx

    from wms.data.preprocessing import FIRST_PREPROCESSING

    properties = {item.key: item.value for item in onnx.load_model_from_string(graph).metadata_props}
    # Older exports lack these settings on both sides; a setting on either side must be on the other, too.
    optional = [key for key in ("second_look", "detail", "one_strip") if key in card or f"wms.{key}" in properties]
    for key in ("weights_sha256", "input_size", "threshold", "mirror", *optional):
        value = card.get(key)
        _same(key, value if isinstance(value, str) else to_json(value), properties.get(f"wms.{key}"), ONNX)
    key = "preprocessing"  # named by the ONNX file only where it isn't the first one
    _same(key, card.get(key, FIRST_PREPROCESSING), properties.get(f"wms.{key}", FIRST_PREPROCESSING), ONNX)


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        values: Any = parse_json(content)
    except ValueError as error:
        raise _Broken(f"it isn't JSON any more ({error})") from error
    if not isinstance(values, dict):
        raise _Broken("it isn't a JSON object")
    return values


def _check_form(content: bytes, text: str) -> None:
    """Compare with the writer's own form, so that a changed space counts as a change."""
    # Git on Windows may have changed the line ends, which is no damage.
    if _lf(content) != f"{text}\n".encode():
        raise _Broken("its bytes aren't as they were written")


def _lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _places(copies: Sequence[Copy]) -> str:
    return "; found in " + " and ".join(copy.where for copy in copies)


def _same(what: str, found: object, expected: object, source: str) -> None:
    if found != expected:
        raise _Broken(f"{what} is {_short(found)}, but {_short(expected)} in the {source}")


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 32 else text
