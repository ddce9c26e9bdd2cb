@echo off
rem Installs core into .venv, or the groups that are named: install.bat train. See docs/SETUP.md.
setlocal DisableDelayedExpansion
set "PYTHON="
py -3.11 -c "" >nul 2>nul && set "PYTHON=py -3.11"
if not defined PYTHON py -3 -c "" >nul 2>nul && set "PYTHON=py -3"
if not defined PYTHON python -c "" >nul 2>nul && set "PYTHON=python"
if defined PYTHON goto run
echo error: no Python was found; install 3.11 or newer from https://www.python.org/downloads, then start this again. 1>&2
set "RESULT=2"
goto end
:run
%PYTHON% "%~dp0..\..\infrastructure\bootstrap\install.py" %*
set "RESULT=%ERRORLEVEL%"
:end
rem The Explorer starts a script by: cmd.exe /c ""SCRIPT" ". A terminal's line has another end.
setlocal EnableDelayedExpansion
set "LINE=!CMDCMDLINE:"=*!"
if not "!LINE:~-3!"=="* *" exit /b %RESULT%
if defined WMS_NO_PAUSE exit /b %RESULT%
if defined CI exit /b %RESULT%
rem With redirected input, which nobody could press a key in, timeout refuses to start.
"%SystemRoot%\System32\timeout.exe" /t 0 >nul 2>&1 && pause
exit /b %RESULT%
