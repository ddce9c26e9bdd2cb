"""`python -m wms_ops.machine.mlflow_server`: MLflow's server over SQLite in the working directory, in one process.

`mlflow server` starts a second Python that imports all of MLflow once more, which takes twice the time and twice the
memory; and a database whose creation is cut off is never mended by it. Otherwise this does what that command does,
by the names that MLflow's own two processes use among themselves.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.errors import run_main
from wms_ops.machine.guard import LAST_REQUEST, Guard
from wms_ops.machine.password import read_password

DATABASE: Final = "mlflow.db"
_PROXIED: Final = "mlflow-artifacts:/"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Raises CloudError where a password is wanted, but can't be read."""
    parser = argparse.ArgumentParser(prog="python -m wms_ops.machine.mlflow_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--artifacts", required=True, metavar="URI", help="where artifacts are kept, such as s3://B/P")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--password-parameter", metavar="NAME", help="SSM parameter with the password to ask for")
    options = parser.parse_args(argv)
    # Read here rather than handed over: a process's arguments and variables can be seen by others.
    password = read_password(options.password_parameter) if options.password_parameter else None
    gc.disable()  # what is imported now stays; looking through it takes half a second
    import uvicorn
    from mlflow.server import constants

    # Relative, so that the folder's name may hold what means something in an address.
    make_database(Path(DATABASE))
    uri = f"sqlite:///{DATABASE}"
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: _PROXIED,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: options.artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(uri, uri, _PROXIED)
    gc.enable()
    guarded = app if password is None else Guard(app, password, Path(LAST_REQUEST))
    uvicorn.run(guarded, host=options.host, port=options.port, log_level="info")
    return 0


def make_database(path: Path) -> None:
    """Create MLflow's tables unless the file is there: in another file first, so that a kill leaves none or all."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    if path.exists():
        return
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    engine = create_sqlalchemy_engine(f"sqlite:///{new}")
    _initialize_tables(engine)
    engine.dispose()
    new.replace(path)


if __name__ == "__main__":
    sys.exit(run_main(main))
