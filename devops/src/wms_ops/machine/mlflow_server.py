"""`python -m wms_ops.machine.mlflow_server`: MLflow's server over SQLite in the working directory, in one process.

`mlflow server` starts a second Python that imports all of MLflow once more, which takes twice the time and twice the
memory, and never repairs a database whose creation was cut off. Otherwise this module does what that command does, by
the names that MLflow's own two processes use among themselves.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.errors import run_main
from wms.regular import read_regular
from wms_ops.base.errors import CloudError
from wms_ops.machine.environment import QUIET
from wms_ops.machine.guard import LAST_REQUEST, Guard
from wms_ops.machine.routes import Routes

DATABASE: Final = "mlflow.db"
_PROXIED: Final = "mlflow-artifacts:/"
_URI: Final = f"sqlite:///{DATABASE}"


def server_environ(artifacts: str) -> dict[str, str]:
    """The variables that this server needs at its start; `artifacts` is the address of the artifact store, as s3://B/P.

    MLflow's two processes pass each other the store's address and folders by these names.
    """
    return {
        **QUIET,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "_MLFLOW_SERVER_FILE_STORE": _URI,
        "_MLFLOW_SERVER_REGISTRY_STORE": _URI,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": _PROXIED,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; `server_environ` has to be in the environment. Raises CloudError for an unreadable hash."""
    parser = argparse.ArgumentParser(prog="python -m wms_ops.machine.mlflow_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--password-hash", type=Path, metavar="FILE", help="SHA-256 of the password to ask for")
    options = parser.parse_args(argv)
    password = _read(options.password_hash) if options.password_hash else None
    gc.disable()  # imported modules are never freed; collecting during the import takes half a second
    import uvicorn

    # Relative: a folder's name may hold characters that mean something in a URI.
    make_database(Path(DATABASE))
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(_URI, _URI, _PROXIED)
    gc.enable()
    door = Routes(app)
    guarded = door if password is None else Guard(door, password, Path(LAST_REQUEST))
    # What a client says of its own address in a header counts for nothing.
    uvicorn.run(guarded, host=options.host, port=options.port, log_level="info", proxy_headers=False)
    return 0


def _read(path: Path) -> str:
    try:
        return read_regular(path).decode("ascii", "replace").strip()
    except OSError as error:
        raise CloudError(f"{path}, the hash of MLflow's password, can't be read: {error.strerror}.") from error


def make_database(path: Path) -> None:
    """Create MLflow's tables unless `path` exists: in another file first, so that a kill leaves all of them or none."""
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
