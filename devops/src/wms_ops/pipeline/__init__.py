"""The old name of `wms loop`."""
