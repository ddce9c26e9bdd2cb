"""The tree of `wms`: every group and every command, with its line in the help, its module and an example.

This module imports only the standard library. A string names each command's module, which is imported when the
command is chosen, so that `wms --help` starts at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_OPS: Final = "wms_ops.commands"


@dataclass(frozen=True)
class Leaf:
    """A command. `entry` is "module:name" of a `wms.command.Command`, or of a function that makes one from `given`.

    `example` follows the command's name on a command line that the command's parser accepts.
    """

    text: str
    entry: str
    example: str = ""
    given: str = ""


@dataclass(frozen=True)
class Group:
    """Commands and groups by name; `usual` names the command that runs if no name follows the group's."""

    text: str
    members: Mapping[str, Leaf | Group] = field(default_factory=dict)
    usual: str = ""


def leaves(group: Group, path: tuple[str, ...] = ("wms",)) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Yield every command below a group, with its path of names."""
    for name, member in group.members.items():
        if isinstance(member, Leaf):
            yield (*path, name), member
        else:
            yield from leaves(member, (*path, name))


_DATA: Final = {
    "check": Leaf("Check a folder of photos and masks.", "wms.data.qa.cli:COMMAND", "WMS/data/training --fix"),
    "import": Leaf(
        "Import what a labelling tool exported.", "wms.data.importing.cli:COMMAND", "export.zip --class strip"
    ),
    "merge": Leaf("Merge the photos of a commit and push a data branch.", f"{_OPS}.data:MERGE", "HEAD --replace"),
    "fetch": Leaf("Bring the data set of this commit here.", f"{_OPS}.data:FETCH"),
    "verify": Leaf("Check that the remote holds a commit's data set.", f"{_OPS}.data:VERIFY", "--base origin/main"),
    "join": Leaf("Bring main's photos into a data branch.", f"{_OPS}.data:JOIN", "data/20261121-103000"),
    "resolve": Leaf("Settle the .dvc files of a merge that git stopped.", f"{_OPS}.data:RESOLVE"),
    "take-back": Leaf(
        "Take photos out of commits, or back from a branch.", f"{_OPS}.data:TAKE_BACK", "data/20261121-103000"
    ),
    "remove": Leaf("Remove photos from the data set, on a branch.", f"{_OPS}.data:REMOVE", "meter_0007 meter_0008"),
    "revert": Leaf("Take one push back, on a branch.", f"{_OPS}.data_history:REVERT", "12"),
    "erase": Leaf(
        "Erase photos for good.",
        f"{_OPS}.data_erase:ERASE",
        'meter_0007 --reason "shows a person" --yes-erase meter_0007',
    ),
    "log": Leaf("Show who brought a photo, when, by which pull request.", f"{_OPS}.data_history:LOG", "meter_0007"),
    "prepare": Leaf("Check, hash and split the data set.", "wms.training.prepare_cli:COMMAND"),
    "uses": Leaf("List the runs that used an image.", "wms.data.versions_cli:USES", "meter_0007"),
    "history": Leaf("List all runs with their data versions.", "wms.data.versions_cli:HISTORY", "--folder runs"),
    "diff": Leaf("Show what changed between two data versions.", "wms.data.versions_cli:DIFF", "4ba3c92f 91d0e7aa"),
    "draw": Leaf("Draw synthetic photos with exact masks.", "wms.data.synthetic:COMMAND", "drawn --count 40 --seed 7"),
    "calibrate": Leaf("Show what the check's limits catch.", "wms.data.qa.calibrate:COMMAND", "WMS/data/dataset"),
}

_VERSIONS: Final = {
    "list": Leaf("List versions, and runs that wait to be one.", f"{_OPS}.versions:LIST", "--json"),
    "scores": Leaf("Show their scores, and plot them.", "wms.registry.history_cli:COMMAND", "--all --plot history.png"),
    "compare": Leaf("Put two side by side.", f"{_OPS}.versions:COMPARE", "3 4 --html compare.html"),
    "ledger": Leaf("Check the ledger of promotions.", f"{_OPS}.ledger:COMMAND", "WMS/models"),
    "baseline": Leaf("Print what a new model has to beat.", f"{_OPS}.promote:BASELINE"),
    "metadata": Leaf("Write model-metadata.json.", f"{_OPS}.promote:METADATA_FILE"),
    "export": Leaf("Make production.onnx again.", "wms.inference.export_cli:COMMAND", "WMS/models"),
}

_RUNS: Final = {
    "list": Leaf("List trainings, here and at MLflow.", "wms.training.runs_cli:LIST", "--all --json"),
    "best": Leaf("Show which run is best by a metric.", "wms.training.runs_cli:BEST", "--metric val/iou"),
    "compare": Leaf(
        "Put runs side by side, with a plot.", "wms.training.runs_cli:COMPARE", "runs/RUN_A runs/RUN_B --plot runs.png"
    ),
    "send": Leaf("Send to MLflow what a run couldn't.", "wms.training.mlflow_sync:COMMAND", "runs/RUN"),
}

_STEPS: Final = {  # a test compares this with wms_ops.runs.record.STEPS
    "merge": "Join main's photos into the branch.",
    "validate": "Check the data set of the branch.",
    "budget": "Estimate the cost and ask the budget.",
    "up": "Start the instance.",
    "train": "Train the model there.",
    "gate": "Compare the model with Production.",
    "promote": "Make the model Production.",
    "smoke-deploy": "Serve the model and ask it for a mask.",
    "metadata": "Commit ledger and model-metadata.json.",
    "report": "Write the run's report.",
    "pull-request": "Open, merge or block the pull request.",
    "down": "End the instance.",
}
_LOOP: Final = {
    "run": Leaf("All steps, for the newest data branch.", f"{_OPS}.loop:RUN", "--branch data/20261121-103000"),
    "part": Leaf(
        "A part of the steps, as a job of a workflow carries it out.",
        f"{_OPS}.loop:PART",
        "train --branch data/7 --commit 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    ),
    "list": Leaf("List the runs so far.", f"{_OPS}.loop:LIST", "--json"),
    **{
        name: Leaf(f"Only this step: {text[0].lower()}{text[1:]}", f"{_OPS}.loop:step", given=name)
        for name, text in _STEPS.items()
    },
}


def _cloud(name: str, text: str, example: str = "") -> Leaf:
    return Leaf(text, f"{_OPS}.cloud:command", example, name)


_GITHUB: Final = {
    "changes": Leaf(
        "Say whether a pull request brings data.",
        f"{_OPS}.github:CHANGES",
        "origin/main HEAD",
    ),
    "start": Leaf(
        "Start the pipeline for a pushed data branch.",
        f"{_OPS}.github:START",
        "data/7 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    ),
    "setup": Leaf("Set the repository's settings at GitHub.", f"{_OPS}.github_settings:SETUP", "--dry-run"),
    "check": Leaf("Show which settings at GitHub aren't as they must be.", f"{_OPS}.github_settings:CHECK"),
}

_CLOUD: Final = {
    "up": _cloud("up", "Start MLflow, and what it needs; asks nothing.", "--target aws --hours 2"),
    "down": _cloud("down", "End MLflow and the service; asks nothing.", "--target local --all"),
    "status": _cloud("status", "Show the instance, its addresses, its price.", "--json"),
    "environ": _cloud("environ", "Print this cloud's variables for a shell."),
    "deploy": _cloud("deploy", "Start it and serve Production; asks first.", "--target aws --yes"),
    "stop": _cloud("stop", "End any instance and prove it; asks first.", "--target aws"),
    "allow": _cloud("allow", "Let this machine's address in.", "--target aws"),
    "revoke": _cloud("revoke", "Take away what allow gave.", "--target aws"),
    "store": _cloud("store", "Make the buckets that outlive instances.", "--target aws"),
    "reap": Leaf("Delete what is past its deadline at AWS.", f"{_OPS}.cloud_reap:COMMAND", "--all --dry-run"),
    "cleanup": _cloud("cleanup", "Delete everything of this environment.", "--target aws"),
}

TREE: Final = Group(
    "The loop from a pushed photo to a served model.",
    {
        "init": Leaf(
            "Name this project, its bucket and its branches.",
            f"{_OPS}.init:COMMAND",
            "--project acme-meters --bucket s3://acme-meters/dvc",
        ),
        "doctor": Leaf(
            "Look at what is needed, and say what mends the rest.", f"{_OPS}.doctor:COMMAND", "labeller --json"
        ),
        "status": Leaf("Show this clone, Production, the instance, the runs.", f"{_OPS}.status:COMMAND", "--json"),
        "upgrade": Leaf("Bring this clone to what a new version needs.", f"{_OPS}.upgrade:COMMAND", "--check"),
        "data": Group("Photos and masks: check, merge, fetch, join, remove them.", _DATA),
        "train": Leaf("Train the U-Net once.", "wms.training.cli:COMMAND", "--config WMS/configs/train.yaml --seed 7"),
        "predict": Leaf(
            "Mark the reading strip on photos.", "wms.inference.cli:COMMAND", "--input photos --output masks --overlay"
        ),
        "runs": Group("Trainings: list and compare them, send them to MLflow.", _RUNS, usual="list"),
        "gate": Leaf(
            "Decide whether a run may replace Production.",
            f"{_OPS}.gate:COMMAND",
            "--run run_20261121_103000_0a1b2c3d --html page.html",
        ),
        "promote": Leaf(
            "Make a run or a version Production.", f"{_OPS}.promote:PROMOTE", "run_20261121_103000_0a1b2c3d"
        ),
        "rollback": Leaf(
            "Go back to an earlier Production.",
            f"{_OPS}.promote:ROLLBACK",
            '--version 5 --reason "reads sevens as ones"',
        ),
        "restore": Leaf("Rebuild what was lost from Git and the bucket.", f"{_OPS}.restore:COMMAND", "--dry-run"),
        "sync": Leaf("Bring Production to this machine.", f"{_OPS}.sync:COMMAND", "--from s3"),
        "versions": Group("The model's versions: list, scores, compare.", _VERSIONS, usual="list"),
        "lineage": Leaf("Prove where a model is from.", f"{_OPS}.versions:LINEAGE", "4ba3c92"),
        "serve": Leaf(
            "Serve a model over HTTP.", "wms.serving.cli:COMMAND", "--model WMS/models --ledger WMS/models --port 8000"
        ),
        "loop": Group("Bring a data branch through all steps, or one.", _LOOP),
        "github": Group("GitHub: the repository's settings, and the start of its pipeline.", _GITHUB),
        "cloud": Group("The instance with MLflow and the service.", _CLOUD),
        "cost": Group(
            "What instances have cost, and what they cost an hour.",
            {
                "report": Leaf("Show the bill.", f"{_OPS}.cost:REPORT", "--month 2026-11 --json"),
                "prices": Leaf("Show prices an hour.", f"{_OPS}.cost:PRICES", "--region eu-west-1"),
            },
        ),
        "accept": Leaf("Accept a real account: one run, each seam judged.", f"{_OPS}.accept:COMMAND", "--usd 0.5"),
        "hook": Leaf("Install the pre-push hook into this clone.", "wms_ops.hook.install:COMMAND"),
        "completion": Leaf("Print the completion for bash or zsh.", f"{_OPS}.completion:COMMAND", "bash"),
    },
)
