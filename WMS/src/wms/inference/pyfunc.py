"""The loader for MLflow: `mlflow.pyfunc.load_model("models:/water-meter-segmentation@production")`.

    model = mlflow.pyfunc.load_model("models:/water-meter-segmentation@production")
    masks = model.predict(pandas.DataFrame({"photo": [Path("meter.jpg").read_bytes()]}))
    Path("meter.png").write_bytes(masks["mask"][0])

The version's MLmodel file names this module (`wms.registry.mlflow_model`), and MLflow calls `_load_pyfunc`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wms.data.images import decode_image
from wms.inference.predictor import Predictor, mask_file


class PhotoModel:
    """A model behind MLflow's interface; its masks equal those of `wms predict`, byte for byte."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's call
        """Map a pandas table with image files' bytes in the column `photo` to a table with PNG files' bytes in `mask`.

        The rows keep their index. Raises TruncatedImageError, NotAnImageError or ImageTooLargeError for a photo that
        can't be read.
        """
        found = [
            mask_file(self.predictor.predict(decode_image(content, f"Photo {row}")))
            for row, content in model_input["photo"].items()
        ]
        return model_input[[]].assign(mask=found)


def _load_pyfunc(path: str) -> PhotoModel:
    """Load the model in a downloaded version's folder. Raises ModelNotFoundError, ModelDamagedError."""
    return PhotoModel(Predictor(Path(path)))
