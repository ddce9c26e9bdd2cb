"""Two CPU processes against one at the same global batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from servers import free_port
from small import TRAIN, config_in, environment, only_run, photos, train, train_command, write_recipe

from wms.errors import DeviceError, UsageError
from wms.training.distributed import Processes, pick_device, pick_precision
from wms.training.prepare import load_samples, split_samples
from wms.training.tracker import read_metrics

HERE = Path(__file__).parent


def torchrun(processes, script, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}", str(script), *map(str, arguments)]
    paths = f"{TRAIN.parent}:{HERE}"
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(PYTHONPATH=paths), timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def trained(folder, processes, kind):
    output = folder / f"{kind}_{processes}.pt"
    torchrun(processes, HERE / "ddp_worker.py", folder, output, kind)
    return torch.load(output, weights_only=True)


def test_two_processes_do_what_one_does_but_for_batch_statistics(tmp_path, capsys):
    photos(tmp_path)
    config = config_in(tmp_path)
    split_samples(load_samples(config), config)
    one, two = (trained(tmp_path, n, "plain") for n in (1, 2))
    # Without batch norm the arithmetic is the same but for the order of sums.
    assert two["losses"] == pytest.approx(one["losses"], abs=2e-4)
    for name, value in one["weights"].items():
        assert torch.allclose(value, two["weights"][name], atol=1e-4), name
    one, two = (trained(tmp_path, n, "normalised") for n in (1, 2))
    difference = max(abs(a - b) for a, b in zip(one["losses"], two["losses"], strict=True))
    with capsys.disabled():
        print(f"\nper-process batch norm, 2 processes: train loss differs by at most {difference:.4f}")
    assert 0 < difference < 0.25


def test_train_under_torchrun_writes_once_and_sees_each_image_once(tmp_path):
    photos(tmp_path)
    write_recipe(tmp_path)
    torchrun(2, TRAIN, *train_command(tmp_path)[2:])
    run = only_run(tmp_path / "runs")
    metadata = json.loads((run / "metadata.json").read_text())
    assert metadata["processes"] == 2
    assert train(tmp_path, runs="alone").returncode == 0
    alone = only_run(tmp_path / "alone")
    seen = {r: read_metrics(r).filter(metric="images")["value"].to_list() for r in (run, alone)}
    assert seen[run] == seen[alone]
    for folder in (run, alone):
        scores = json.loads((folder / "artifacts" / "test_scores.json").read_text())
        assert len({row["stem"] for row in scores}) == len(scores) >= 3


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps", ""])
def test_devices_that_are_not_here_are_refused(name):
    with pytest.raises(DeviceError, match="use"):
        pick_device(name)


def test_precision_is_what_the_recipe_says_or_the_processor_can():
    cpu = torch.device("cpu")
    assert pick_precision("float32", cpu) == torch.float32
    assert pick_precision("bfloat16", cpu) == torch.bfloat16
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    assert pick_precision("auto", cpu) == (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("RANK=5 WORLD_SIZE=2", "RANK is 5, but WORLD_SIZE is 2"),
        ("RANK=1", "RANK is 1, but WORLD_SIZE is 1"),
        ("RANK=1 WORLD_SIZE=2", "without MASTER_ADDR, MASTER_PORT;"),
        ("WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=1", "without RANK;"),
        ("RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=x", "give a port"),
    ],
)
def test_variables_of_torchrun_that_contradict_each_other(given, words, monkeypatch):
    for pair in given.split():
        monkeypatch.setenv(*pair.split("="))
    with pytest.raises(UsageError, match=words):
        Processes.join("cpu")
