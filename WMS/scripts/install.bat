@echo off
rem Installs core into .venv, or the groups that are named: install.bat train. See docs/SETUP.md.
rem Started by a double click it waits for a key at the end, so that the window stays; WMS_NO_PAUSE=1 forbids that.
setlocal DisableDelayedExpansion
set "PYTHON="
py -3.11 -c "" >nul 2>nul && set "PYTHON=py -3.11"
if not defined PYTHON py -3 -c "" >nul 2>nul && set "PYTHON=py -3"
if not defined PYTHON python -c "" >nul 2>nul && set "PYTHON=python"
if defined PYTHON goto run
echo error: No Python was found; install 3.11 or newer from https://www.python.org/downloads, then start this again. 1>&2
set "CODE=2"
goto end
:run
%PYTHON% "%~dp0..\..\infrastructure\bootstrap\install.py" %*
set "CODE=%ERRORLEVEL%"
:end
if defined WMS_NO_PAUSE exit /b %CODE%
rem Explorer starts: cmd.exe /c ""C:\folder\install.bat" "; a command line that is open already has no such words.
set "LINE=%CMDCMDLINE:"=%"
echo "%LINE%" | find /i "%~f0" >nul && pause
exit /b %CODE%
