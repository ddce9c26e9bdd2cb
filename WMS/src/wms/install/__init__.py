"""The installer: fills .venv with the packages that the locks name, by the standard library and `wms` alone."""
