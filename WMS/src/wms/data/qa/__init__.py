"""The data check: `validate_data(folder)` finds the problems of a folder of photos and masks."""

from wms.data.qa.validate import validate_data

__all__ = ["validate_data"]
