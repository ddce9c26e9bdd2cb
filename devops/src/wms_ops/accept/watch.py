"""The acts of an acceptance: drawn photos are pushed as a data branch; then GitHub and AWS are only looked at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from wms.data.synthetic import write_dataset
from wms.errors import UsageError
from wms.registry.ledger import HISTORY, parse_history
from wms.registry.metadata import metadata_of
from wms_ops.accept.facts import Facts, Job
from wms_ops.base.errors import PullRequestError, StoreUnreachableError
from wms_ops.base.layout import INBOX, METADATA, MODELS, main_branch
from wms_ops.base.poll import poll
from wms_ops.cost.prices import price_table
from wms_ops.cost.sessions import cost_of_session
from wms_ops.dataset.publish import Watch, publish
from wms_ops.dataset.versions import file_at, pointers_at
from wms_ops.git.command import Git
from wms_ops.git.write import identity, remote_tip
from wms_ops.loop.workspace import clone_origin, fetch
from wms_ops.pulls.dispatch import PIPELINE
from wms_ops.pulls.gh import REPO, GitHub
from wms_ops.pulls.gh_api import PullApi
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.boot import read_boot
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.inventory import find

PUSHED: Final = "data-pushed.yaml"
SIZE: Final = 320  # pixels of a drawn photo's longer side
_DIFFICULTY: Final = 0.5
_POLL_S: Final = 10.0
_MAIN: Final = "refs/remotes/origin/{}"


@dataclass(frozen=True)
class Acceptance:
    """`folder` takes a clone of the origin `url`; `keep` stores the facts, and `show` hears each piece of news."""

    folder: Path
    url: str
    github: GitHub
    cloud: AwsCloud
    keep: Callable[[Facts], None]
    show: Callable[[str], None] = print
    pause_s: float = _POLL_S

    def clone(self) -> Git:
        """A clone of the origin, as it is now. Raises GitError."""
        return clone_origin(self.url, self.folder / "clone")

    def require_empty(self) -> None:
        """Raise UsageError where main has data or a promoted model: drawn photos must never join real ones."""
        git, main = self.clone(), _MAIN.format(main_branch())
        if pointers_at(git, main) or (file_at(git, main, f"{MODELS}/{HISTORY}") or "").strip():
            raise UsageError(
                f"{main_branch()} has a data set already, and the drawn photos of an acceptance would join it. Accept "
                "an account with a new repository, before the first real photo: docs/SETUP.md#accept-an-account."
            )

    def push(self, facts: Facts) -> Facts:
        """Draw the photos and push them as a data branch, as a labeller's hook does; done again, nothing changes.

        Raises the errors of `publish`.
        """
        git, inbox = self.clone(), self.folder / "clone" / INBOX
        git("checkout", "--quiet", "--detach", "--force", _MAIN.format(main_branch()))
        for kind in ("images", "masks"):
            shutil.rmtree(inbox / kind, ignore_errors=True)
        write_dataset(inbox, facts.photos, seed=facts.seed, size=SIZE, difficulty=_DIFFICULTY)
        git("add", "--force", "--all", INBOX)
        tree = git("write-tree").strip()
        parent = git.commit("HEAD")
        environ = {**identity(git), "GIT_AUTHOR_DATE": str(facts.begun_at), "GIT_COMMITTER_DATE": str(facts.begun_at)}
        made = git.raw("commit-tree", tree, "-p", parent, "-m", "Drawn photos of an acceptance", environ=environ)
        done = publish(git, made.decode().strip(), self.url, watch=Watch(say=self.show))
        if done.branch is None:
            raise PullRequestError("The data set has these photos already; delete .loop/accept, then run this again.")
        return facts.changed(branch=done.branch, commit=remote_tip(git, self.url, done.branch) or "")

    def follow(self, facts: Facts, limit_s: float) -> Facts:
        """Look at GitHub and AWS until the pipeline is over or the time is; every look is kept.

        A GitHub that doesn't answer is said, and asked again. Raises PullRequestError for a refusal, AccessDeniedError,
        and the errors of AWS.
        """
        newest = [facts]

        def look() -> Facts:
            try:
                found = self._instance(self._runs(newest[0]))
            except StoreUnreachableError as error:
                self.show(f"warning: {error}")
                return newest[0]
            for line in _news(newest[0], found):
                self.show(line)
            newest[0] = found
            self.keep(found)
            return found

        return poll(look, limit_s, until=lambda found: found.is_over, pause_s=self.pause_s)

    def registry(self) -> str:
        """The address of the image repository, if ECR gives a login for it; "" if it doesn't. Raises as AWS does."""
        ecr = self.cloud.context.aws.ecr
        with aws_errors("look at the image repository"):
            try:
                found = ecr.describe_repositories(repositoryNames=[self.cloud.context.names.prefix])["repositories"]
            except ecr.exceptions.RepositoryNotFoundException:
                return ""
            login = ecr.get_authorization_token()["authorizationData"]
        return str(found[0]["repositoryUri"]) if login and login[0].get("authorizationToken") else ""

    def conclude(self, facts: Facts, now: datetime) -> Facts:
        """Ask the pull request, main, AWS and the bill how it ended. Raises their errors."""
        git = self.clone()
        fetch(git)
        main = _MAIN.format(main_branch())
        pull = GhPulls(git, self.url, self.github, say=self.show).find(facts.branch) if facts.branch else None
        verdicts = PullApi(self.github).verdicts(pull.head) if pull else []
        history = parse_history((file_at(git, main, f"{MODELS}/{HISTORY}") or "").encode(), HISTORY)
        head = history[-1] if history else None
        is_recorded = head is not None and file_at(git, main, METADATA) == metadata_of(head).text
        context = self.cloud.context
        ours = [one for one in self.cloud.sessions(facts.begun_at) if one.begun_at >= facts.begun_at]
        return facts.changed(
            pull=pull.url if pull else "",
            pull_state=str(pull.state) if pull else "",
            check=verdicts[0].state if verdicts else "",
            version=head.to_version if head else None,
            ledger_run=head.run_id if head else "",
            is_recorded=is_recorded,
            left=tuple(str(one) for one in find(context.aws, environment=context.names.environment, show=self.show)),
            usd=sum(cost_of_session(one, price_table(), now).total for one in ours) if ours else None,
            # Of an acceptance that only lacked its signature the first judgement's time counts.
            minutes=facts.minutes if facts.minutes is not None else (now - facts.begun_at).total_seconds() / 60,
        )

    def _runs(self, facts: Facts) -> Facts:
        start = self._newest(PUSHED, "event=push", lambda run: run["head_sha"] == facts.commit)
        run = self._newest(PIPELINE, "event=workflow_dispatch", lambda run: run["display_title"] == facts.branch)
        if start:
            facts = facts.changed(start_run=start["html_url"], start_result=start["conclusion"] or "")
        if not run:
            return facts
        jobs = self._get(f"actions/runs/{run['id']}/jobs?per_page=100", "the pipeline's jobs")["jobs"]
        return facts.changed(
            run=run["html_url"],
            run_event=run["event"],
            run_branch=run["head_branch"],
            run_result=run["conclusion"] or "",
            jobs=tuple(_job(one) for one in jobs),
        )

    def _newest(self, workflow: str, query: str, is_ours: Callable[[Any], bool]) -> Any:
        path = f"actions/workflows/{workflow}/runs?{query}&per_page=50"
        found = self._get(path, f"the runs of {workflow}")["workflow_runs"]
        return next((run for run in found if is_ours(run)), None)

    def _get(self, path: str, what: str) -> Any:
        answer = self.github.ask(f"{REPO}/{path}", what=what)
        if not answer.ok:
            raise PullRequestError(f"GitHub refuses to hand out {what}: {answer.words}. Run `wms github check`.")
        return answer.data

    def _instance(self, facts: Facts) -> Facts:
        context = self.cloud.context
        for one in context.instances():
            if one.is_alive and one.launched_at >= facts.begun_at:
                boot = {step.name: step.state for step in read_boot(context, one.launch_id)}
                facts = facts.changed(instance=one.id, boot={**facts.boot, **boot})
        return facts


def _job(raw: Any) -> Job:
    began, ended = (datetime.fromisoformat(raw[at]) if raw.get(at) else None for at in ("started_at", "completed_at"))
    seconds = (ended - began).total_seconds() if began and ended else 0.0
    return Job(name=raw["name"], result=raw["conclusion"] or "", seconds=max(seconds, 0.0))


def _news(before: Facts, now: Facts) -> list[str]:
    said = [f"job {job.name}: {job.result}" for job in now.jobs if job.result and before.result(job.name) != job.result]
    said += [
        f"start of the instance, {name}: {state}" for name, state in now.boot.items() if before.boot.get(name) != state
    ]
    if now.run and not before.run:
        said.insert(0, f"The pipeline runs: {now.run}")
    return said
