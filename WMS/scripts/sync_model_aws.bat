@echo off
rem The same as sync_model_aws.py, with the Python of .venv if there is one.
setlocal DisableDelayedExpansion
set "PYTHON=python"
if exist "%~dp0..\..\.venv\Scripts\python.exe" set "PYTHON=%~dp0..\..\.venv\Scripts\python.exe"
"%PYTHON%" "%~dp0sync_model_aws.py" %*
exit /b %ERRORLEVEL%
