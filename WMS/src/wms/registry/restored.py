"""Runs of a lost MLflow server that a new server holds: MLflow gives them new ids, and a tag keeps the former one.

The ledger, the cards and the verdicts name a run by the id that the lost server gave. So every lookup of a run first
asks for that id, and then for the run whose tag RESTORED has the id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

RESTORED: Final = "wms.restored_run"
"""Tag of a run and of its versions: the id by which ledger and verdicts know the run."""

LOST: Final = "lost"
"""Value of the tag `status` of a version that only keeps the number of a lost version."""

COPY: Final = "restored_run.txt"
"""Artifact of a restored run, with the former id: a later restore tells by it that the files are only a copy."""

_ID = re.compile(r"[\w-]+")
_PAGE: Final = 1000


class RunIds:
    """The runs of a server by the ids that the ledger names; `client` returns MLflow's client."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client
        self._present: dict[str, str] = {}

    def get(self, run_id: str) -> Any:
        """Return MLflow's run. Raises MlflowException for an unknown one."""
        from mlflow.exceptions import MlflowException

        client = self._client()
        try:
            return client.get_run(self._present.get(run_id, run_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST" or not _ID.fullmatch(run_id):
                raise
            where = [one.experiment_id for one in client.search_experiments(max_results=_PAGE)]
            found = client.search_runs(where, f"tags.`{RESTORED}` = '{run_id}'", max_results=_PAGE)
            if not found:
                raise
            return min(found, key=lambda run: str(run.info.run_id))  # two restores at once may have made two

    def present(self, run_id: str) -> str:
        """Return the id that the server itself gave to a run. Raises MlflowException for an unknown one."""
        if run_id not in self._present:
            self._present[run_id] = str(self.get(run_id).info.run_id)
        return self._present[run_id]
