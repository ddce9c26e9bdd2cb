"""`make prove-gate`: the tables of docs/gate.md, from fixed seeds, with the promises that they must keep.

How often equal and better models pass a comparison, what becomes of fifty pushes on the same test photos, and how often
a better model loses much on one photo. A case is a row, or the rows of all rules.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from gate_pushes import PUSHES, RULES, WORLDS, History, World, history, spent
from gate_worlds import ALPHA, COMPARISONS, KINDS, RATES, SIZES, UNSEEN, large_losses, one_sided, passed
from proofs import Part, run_part

from wms.errors import run_main

HISTORIES: Final = 500
_ONCE: Final = tuple(product(KINDS, SIZES))
_UNSEEN: Final = tuple(product(RATES, SIZES))
_LOSSES: Final = tuple(product(tuple(KINDS)[:2] + tuple(KINDS)[-1:], SIZES))
_PUSHES: Final = tuple(product(WORLDS, SIZES))


def _noise(trials: int) -> float:
    """Two and a half standard errors of a share of ALPHA."""
    return float(2.5 * (ALPHA * (1 - ALPHA) / trials) ** 0.5)


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _once(case: int, _folder: Path) -> str:
    name, n = _ONCE[case]
    found = passed(KINDS[name], n, seed=case)
    # Only the challenger's failures, which few photos mostly lack, may break the promise without `unseen_loss`.
    kept = [found.equal_unseen] if name.startswith("only") else [found.equal, found.equal_unseen]
    assert max(kept) <= ALPHA + _noise(COMPARISONS), f"{name}, {n} photos: {found}"
    assert 0.4 <= found.record <= 0.7, f"{name}, {n} photos: a bare comparison passes half of the equal models"
    shares = (found.equal, found.better, found.equal_unseen, found.better_unseen, found.record)
    return _row(name, n, *(f"{share:.3f}" for share in shares))


def _unseen(case: int, _folder: Path) -> str:
    rate, n = _UNSEEN[case]
    found = passed(one_sided(rate, 0.001), n, seed=case)
    assert found.equal_unseen <= ALPHA + _noise(COMPARISONS), f"{rate:.0%} fail, {n} photos: {found}"
    return _row(f"{rate:.0%}", n, f"{(1 - rate) ** n:.3f}", f"{found.equal:.3f}", f"{found.equal_unseen:.3f}")


def _losses(case: int, _folder: Path) -> str:
    name, n = _LOSSES[case]
    small, large = (large_losses(KINDS[name], n, gain, seed=case) for gain in (0.005, 0.02))
    assert all(large[limit] <= small[limit] + 0.01 for limit in small), f"{name}, {n} photos: {small}, {large}"
    return _row(name, n, *(f"{found[limit]:.2f}" for limit in (0.1, 0.2, 0.3) for found in (small, large)))


def _pushes(case: int, _folder: Path) -> str:
    world, n = _PUSHES[case]
    found = {name: history(rule, world, n, seed=case, histories=HISTORIES) for name, rule in RULES.items()}
    last = next(found[name] for name, rule in RULES.items() if rule is spent)
    assert last.any_false <= ALPHA + _noise(HISTORIES), f"{world.name}, {n} photos: {last}"
    assert last.any_false < found["rule of record"].any_false, f"{world.name}, {n} photos: {found}"
    return _histories(world, n, found)


def _histories(world: World, n: int, found: Mapping[str, History]) -> str:
    return "\n".join(
        _row(
            world.name,
            n,
            name,
            f"{one.false:.2f}",
            f"{one.any_false:.3f}",
            f"{one.true:.2f}" if max(world.steps) > 0 else "",
            f"{one.drift:+.4f}",
            f"{one.gained:+.4f}",
        )
        for name, one in found.items()
    )


def of_runs(before: Path, now: Path) -> list[str]:
    """Tables about two real models from their runs' artifacts/test_scores.json: large losses, and fifty pushes.

    The photos are drawn anew, as many as there are; the pushes are of models that differ as these two do.
    """
    old, new = ({row["stem"]: row["dice"] for row in json.loads(path.read_text())} for path in (before, now))
    gains = np.array([new[stem] - old[stem] for stem in sorted(old.keys() & new.keys())])
    n, rng = len(gains), np.random.default_rng(1)
    drawn = -gains[rng.integers(0, n, (4000, n))].min(axis=1)
    shares = [f"{float((drawn > limit).mean()):.2f}" for limit in (0.1, 0.2, 0.3)]
    world = World("none is better, differing as these two", [0.0] * PUSHES, differences=gains)
    found = {name: history(rule, world, n, seed=1, histories=HISTORIES) for name, rule in RULES.items()}
    return [
        "| photos | mean gain in Dice | deviation | largest loss | draws with a loss over 0.1 | over 0.2 | over 0.3 |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        _row(n, f"{gains.mean():+.4f}", f"{gains.std():.4f}", f"{max(0.0, -gains.min()):.3f}", *shares),
        f"\n{HEADS['pushes']}",
        _histories(world, n, found),
    ]


PARTS: Final = (
    Part("once", len(_ONCE), 3, _once),
    Part("unseen", len(_UNSEEN), 2, _unseen),
    Part("losses", len(_LOSSES), 2, _losses),
    Part("pushes", len(_PUSHES), 1, _pushes),
)
HEADS: Final = {
    "once": "| differences in Dice | photos | equal models that pass | at +0.02 | equal, unseen_loss 0.1 | at +0.02, "
    "unseen_loss 0.1 | equal, rule of record |\n|---|---:|---:|---:|---:|---:|---:|",
    "unseen": f"| only the challenger fails, by {UNSEEN:g} on average, on | photos | test sets without such a photo | "
    "equal models that pass | with unseen_loss 0.1 |\n|---:|---:|---:|---:|---:|",
    "losses": "| differences in Dice | photos | over 0.1 at +0.005 | at +0.02 | over 0.2 at +0.005 | at +0.02 | "
    "over 0.3 at +0.005 | at +0.02 |\n|---|---:|---:|---:|---:|---:|---:|---:|",
    "pushes": "| 50 pushes | photos | rule | false promotions | histories with one | true, of 10 | drift | Dice "
    "gained |\n|---|---:|---|---:|---:|---:|---:|---:|",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, whole or the parts and cases named; returns 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="make prove-gate", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", nargs="+", type=int, help="these cases only (default: all)")
    parser.add_argument(
        "--scores", nargs=2, type=Path, metavar="FILE", help="two runs' artifacts/test_scores.json instead"
    )
    arguments = parser.parse_args(argv)
    if arguments.scores:
        print(*of_runs(*arguments.scores), sep="\n")
        return 0
    faults = 0
    for part in PARTS:
        if part.name in arguments.parts:
            result = run_part(part, range(part.cases) if arguments.seeds is None else arguments.seeds)
            print(f"\n{HEADS[part.name]}", *result.outcomes, sep="\n", flush=True)
            print(f"{part.name}: {sum(result.outcomes.values())} cases in {result.seconds:.0f} s", file=sys.stderr)
            for seed, fault in sorted(result.faults.items()):
                print(f"\nfault in {part.name}, --parts {part.name} --seeds {seed}:\n{fault}")
            faults += len(result.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
