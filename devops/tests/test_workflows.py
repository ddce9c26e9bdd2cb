"""The workflows keep to the policy, each rule of which finds a workflow that breaks it; and what they rest on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from servers import require_tool
from workflow_policy import (
    ACTIONS,
    FILES,
    PIPELINE,
    PUSHED,
    RIGHTS,
    Workflow,
    faults,
    run_faults,
    shared_groups,
    unpinned,
)

from wms_ops.git.command import Git
from wms_ops.pulls.protocol import CHECK
from wms_ops.storage.names import holder_of

TEXTS = {path.name: path.read_text(encoding="utf-8") for path in FILES}
CHECKOUT = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"
KEY = "${{ secrets.AWS_SECRET_ACCESS_KEY }}"

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    # Rights and triggers.
    (PIPELINE, "permissions: {}", "permissions: write-all", "permissions on top"),
    (PIPELINE, "permissions: {}", "", "permissions on top"),
    ("lock.yaml", "      contents: read # checkout\n", "      contents: write\n", "rights: lock"),
    (PIPELINE, "      contents: read # checkout\n", "      contents: read\n      issues: write\n", "rights: down"),
    (PIPELINE, "  tell: #", "  said: #", "rights: said"),
    (PUSHED, "      actions: write # starts the pipeline\n", "", "rights: start"),
    ("lock.yaml", "  pull_request:\n", "  pull_request_target:\n", "pull_request_target"),
    ("lock.yaml", "  workflow_dispatch:\n", "  workflow_dispatch:\n  pull_request_target:\n", "pull_request_target"),
    # Machines and actions.
    ("lock.yaml", "ubuntu-24.04", "ubuntu-latest", "runner"),
    ("lock.yaml", "ubuntu-24.04", "self-hosted", "runner"),
    ("lock.yaml", "    timeout-minutes: 30\n", "", "job without a limit"),
    (PIPELINE, "timeout-minutes: 360", "timeout-minutes: 361", "job without a limit"),
    (PUSHED, CHECKOUT, "actions/checkout@v5", "unpinned"),
    (PUSHED, CHECKOUT, CHECKOUT.partition(" #")[0], "unpinned"),
    (PUSHED, CHECKOUT, CHECKOUT.replace("08c6", "08c"), "unpinned"),
    (PIPELINE, "./.github/actions/aws", "./.github/actions/other", "unpinned"),
    ("lock.yaml", "with: { persist-credentials: false }", "with: { fetch-depth: 0 }", "kept token"),
    (PUSHED, "          persist-credentials: false\n", "", "kept token"),
    (PUSHED, "          ref: ${{ github.event.repository.default_branch }} #", "          #", "code of a branch"),
    (PUSHED, "ref: ${{ github.event.repository.default_branch }}", "ref: ${{ github.sha }}", "code of a branch"),
    (PIPELINE, "{ persist-credentials: false }", "{ persist-credentials: false, ref: data/x }", "code of a branch"),
    # Steps.
    (PUSHED, 'start "$BRANCH"', "start ${{ github.ref_name }}", "expression in a run"),
    ("lock.yaml", "          git diff --exit-code .\n", "          git diff\n" * 4, "long run"),
    ("lock.yaml", "git diff --exit-code .", "cat <<END", "heredoc"),
    (PIPELINE, "exec .venv/bin/wms loop part train", ".venv/bin/wms loop part train", "no exec"),
    (PIPELINE, 'part tell --branch "$BRANCH"', 'part tell || true; echo "$BRANCH"', "no exec"),
    ("ec2-control.yaml", "exec .venv/bin/wms cloud down", ".venv/bin/wms cloud down", "no exec"),
    ("deploy-model.yaml", "        timeout-minutes: 50\n", "", "step without a limit: deploy"),
    (
        "reap-orphans.yaml",
        "        timeout-minutes: 25\n",
        "        timeout-minutes: 30\n",
        "step without a limit: reap",
    ),
    (PIPELINE, "        timeout-minutes: 30\n", "", "step without a limit: tell"),
    (PIPELINE, '          session-seconds: "5400"\n', "", "login too short: release"),
    (
        PIPELINE,
        "        timeout-minutes: 340\n",
        "        timeout-minutes: 340\n        continue-on-error: true\n",
        "continue-on-error",
    ),
    (PIPELINE, '"21600" #', '"7200" #', "login too short: train"),
    # Secrets.
    (PUSHED, "GH_TOKEN: ${{ github.token }}", "GH_TOKEN: ${{ secrets.WMS_TOKEN }}", "secret in a branch's file"),
    (PUSHED, "GH_TOKEN: ${{ github.token }}", "GH_TOKEN: ${{ toJSON(secrets) }}", "secret in a branch's file"),
    (
        PUSHED,
        "    timeout-minutes: 15\n",
        "    timeout-minutes: 15\n    environment: wms\n",
        "secret in a branch's file",
    ),
    (PIPELINE, "    environment: wms # which", "    # which", "secret outside of the environment: data"),
    ("deploy-model.yaml", "environment: wms #", "environment: other #", "secret outside of the environment: deploy"),
    (PIPELINE, "  WMS_CLOUD: aws\n", f"  WMS_CLOUD: aws\n  KEY: {KEY}\n", "early secret: KEY"),
    (PIPELINE, "  WMS_CLOUD: aws\n", "  GH_TOKEN: ${{ github.token }}\n", "early secret: GH_TOKEN"),
    (
        PUSHED,
        "        run: make install\n",
        "        run: make install\n        env: { GH_TOKEN: '${{ github.token }}' }\n",
        "early secret: start, Install",
    ),
    (
        PIPELINE,
        "with: { persist-credentials: false }",
        f"env: {{ A: '{KEY}' }}",
        "early secret: data, actions/checkout",
    ),
    # No account.
    (PIPELINE, "if: env.CONFIGURED == ''\n        run: echo", "run: true", "no account: nothing"),
    (
        "deploy-model.yaml",
        "      - name: Serve Production\n        if: env.CONFIGURED != ''\n",
        "      - name: Serve\n",
        "no account",
    ),
    # The end of the instance.
    (
        PIPELINE,
        "    if: always()\n    needs: [data, train, release]\n",
        "    needs: [data, train, release]\n",
        "down: not",
    ),
    (PIPELINE, "needs: [data, train, release]\n", "needs: [data, release]\n", "down: doesn't wait for ['train']"),
    (
        PIPELINE,
        "    if: always()\n    needs: [data, train, r",
        "    if: needs.train.result != ''\n    needs: [data, r",
        "down: not",
    ),
    (
        PIPELINE,
        "cloud down --target aws\n",
        "cloud down --target aws\n        env: { ID: '${{ needs.train.outputs.id }}' }\n",
        "down: needs what",
    ),
    (PIPELINE, "cloud down --target aws", "cloud status --target aws", "down: ends nothing"),
    (PIPELINE, "needs: [data, train, release, down]", "needs: [data, train, release]", "tell"),
    (PIPELINE, "    if: always()\n    needs: [data, train, release, down]", "    needs: [data, down]", "tell"),
    # One at a time.
    (PIPELINE, "  queue: max\n", "", "concurrency: a waiting run"),
    (PIPELINE, "cancel-in-progress: false", "cancel-in-progress: true", "concurrency: a run is cut off"),
    (PUSHED, "  cancel-in-progress: false\n", "", "concurrency: a run is cut off"),
    (PIPELINE, "group: wms-training-data-pipeline", "group: wms-${{ inputs.branch }}", "concurrency: the group"),
    ("reap-orphans.yaml", "concurrency:", "x-concurrency:", "concurrency: none"),
    ("lock.yaml", "          terraform init", "\n" * 200 + "          terraform init", "long file"),
)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.attack(
    "whoever may push a branch",
    "secrets by a workflow file of one's own",
    "secrets in the environment wms alone",
)
def test_a_workflow_keeps_to_every_rule(name: str) -> None:
    assert faults(TEXTS[name], name) == []


@pytest.mark.parametrize(("name", "old", "new", "fault"), MUTANTS)
def test_a_workflow_that_breaks_a_rule_is_found(name: str, old: str, new: str, fault: str) -> None:
    assert old in TEXTS[name], "the mutant is of another text"
    found = faults(TEXTS[name].replace(old, new, 1), name)
    assert any(one.startswith(fault) for one in found), found


def test_no_two_workflows_wait_for_each_other() -> None:
    assert shared_groups(TEXTS) == []
    both = {**TEXTS, "again.yaml": TEXTS[PIPELINE]}
    assert shared_groups(both) == ["wms-training-data-pipeline"]


def test_the_table_of_rights_names_no_job_that_is_gone() -> None:
    assert set(RIGHTS) == {(name, job) for name, text in TEXTS.items() for job in Workflow(text, name).jobs}


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name)
@pytest.mark.attack(
    "a compromised dependency or release",
    "keys in a workflow's install step",
    "keys in the steps that use them",
)
def test_an_action_of_our_own_is_thin_and_installs_before_it_takes_keys(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = yaml.safe_load(text)["runs"]["steps"]
    assert not unpinned(text)
    assert not [fault for step in found for fault in run_faults(step)]
    assert all("uses" in step or step["shell"] == "bash" for step in found)
    install = next(number for number, step in enumerate(found) if "make install" in step.get("run", ""))
    assert not [step for step in found[: install + 1] if "inputs." in str(step) or "role-to-assume" in str(step)]


@pytest.mark.parametrize("name", [PUSHED, PIPELINE])
def test_git_asks_for_the_token_of_the_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workflow's settings lead this project's git, and its children, to the token in GH_TOKEN; none is stored."""
    require_tool("gh")
    for key, value in yaml.safe_load(TEXTS[name])["env"].items():
        if key.startswith("GIT_CONFIG_"):
            monkeypatch.setenv(key, str(value).replace("${{ github.server_url }}", "https://github.com"))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path / "gh"))
    git = Git(tmp_path)
    git("init", "-q")
    asked = b"protocol=https\nhost=github.com\npath=ana/meters\n\n"
    assert git.attempt("credential", "fill", data=asked).returncode
    monkeypatch.setenv("GH_TOKEN", "a-token-of-one-job")
    assert b"password=a-token-of-one-job" in git.raw("credential", "fill", data=asked)
    assert "token" not in (tmp_path / ".git" / "config").read_text(encoding="utf-8")


def test_all_jobs_of_a_run_are_one_holder_also_at_a_second_attempt() -> None:
    job = {"GITHUB_REPOSITORY": "ana/meters", "GITHUB_RUN_ID": "17", "GITHUB_JOB": "up", "GITHUB_RUN_ATTEMPT": "1"}
    assert holder_of(job) == holder_of({**job, "GITHUB_JOB": "down", "GITHUB_RUN_ATTEMPT": "2", "HOSTNAME": "other"})
    assert holder_of(job) != holder_of({**job, "GITHUB_RUN_ID": "18"})


def test_the_reaper_is_asked_at_odd_minutes_and_may_only_look() -> None:
    triggers = Workflow(TEXTS["reap-orphans.yaml"], "reap-orphans.yaml").triggers
    minutes = [one["cron"].split()[0] for one in triggers["schedule"]]
    assert all("0" not in one.split(",") and "*" not in one for one in minutes)
    assert "dry-run" in triggers["workflow_dispatch"]["inputs"]


def test_the_check_of_code_has_its_name_only_without_data_and_is_never_skipped() -> None:
    """A skipped job counts as a success at GitHub, and a job of that name as the check."""
    jobs = yaml.safe_load(TEXTS["pull-request.yaml"])["jobs"]
    gate = jobs.pop("gate")
    named = f"needs.look.outputs.data == 'false' && '{CHECK}' || 'The pipeline decides about data'"
    assert gate["name"] == f"${{{{ {named} }}}}"
    assert gate["needs"] == ["look"] and not [job for job in (gate, *jobs.values()) if "if" in job]
    assert not [job for job in jobs.values() if CHECK in str(job.get("name"))]
    assert "secrets" not in TEXTS["pull-request.yaml"] and "github.token" not in TEXTS["pull-request.yaml"]
