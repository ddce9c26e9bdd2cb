@echo off
rem Runs SCRIPT, a variable that the .bat file beside this one sets, and waits for a key after a double click.
setlocal DisableDelayedExpansion
set "PYTHON=python"
if exist "%~dp0..\..\.venv\Scripts\python.exe" set "PYTHON=%~dp0..\..\.venv\Scripts\python.exe"
"%PYTHON%" "%SCRIPT%" %*
set "RESULT=%ERRORLEVEL%"
if %RESULT% equ 9009 echo error: no Python was found; start install.bat in this folder, then this again. 1>&2
rem The Explorer starts a script by: cmd.exe /c ""SCRIPT" ". A terminal's line has another end.
setlocal EnableDelayedExpansion
set "LINE=!CMDCMDLINE:"=*!"
if not "!LINE:~-3!"=="* *" exit /b %RESULT%
if defined WMS_NO_PAUSE exit /b %RESULT%
if defined CI exit /b %RESULT%
rem With redirected input, which nobody could press a key in, timeout refuses to start.
"%SystemRoot%\System32\timeout.exe" /t 0 >nul 2>&1 && pause
exit /b %RESULT%
