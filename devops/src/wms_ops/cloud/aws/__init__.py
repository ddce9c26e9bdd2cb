"""The old name of `wms cloud --target aws`."""
