"""The old name of `wms cloud`."""
