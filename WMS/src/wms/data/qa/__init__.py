"""The data check: `validate_data(folder)` says what is wrong with a folder of photos and masks."""

from wms.data.qa.validate import validate_data

__all__ = ["validate_data"]
