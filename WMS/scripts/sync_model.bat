@echo off
rem The same as the .py file of this name, with the Python of .venv if there is one.
setlocal DisableDelayedExpansion
set "SCRIPT=%~dpn0.py"
"%~dp0run_python.bat" %*
