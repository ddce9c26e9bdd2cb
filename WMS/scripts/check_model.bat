@echo off
rem The same as check_model.py, with the Python of .venv if there is one.
setlocal DisableDelayedExpansion
set "PYTHON=python"
if exist "%~dp0..\..\.venv\Scripts\python.exe" set "PYTHON=%~dp0..\..\.venv\Scripts\python.exe"
"%PYTHON%" "%~dp0check_model.py" %*
exit /b %ERRORLEVEL%
