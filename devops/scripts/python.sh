#!/bin/sh
# Runs the Python of this clone (else that of PATH) with this clone's code: for hooks/pre-push and the scripts here.
tree=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
shared=$(git -C "$tree" rev-parse --path-format=absolute --git-common-dir 2>/dev/null) || shared=$tree/.git
main=$(dirname "$shared") # the clone's first work tree, whose .venv serves linked ones, too
inside=.venv/bin/python between=: advice="make install"
case $(uname -s 2>/dev/null) in # a machine without uname is no Windows
MINGW* | MSYS* | CYGWIN*) # Git for Windows: the shell is Unix's, Python is Windows' own
  inside=.venv/Scripts/python.exe between=';' advice='WMS\scripts\install.bat'
  tree=$(cygpath -m "$tree")
  ;;
esac
for python in "$tree/$inside" "$main/$inside" "$(command -v python3)" "$(command -v python)" ""; do
  # Started, because Windows puts a python3 onto PATH that only opens its shop, and some systems have an old one.
  [ -x "$python" ] && "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && break
done
if [ -z "$python" ]; then
  echo "error: no Python from 3.11 on was found for $tree, so nothing was done; run \`$advice\` there, then this again." >&2
  exit 2
fi
PYTHONPATH="$tree/devops/src$between$tree/WMS/src${PYTHONPATH:+$between$PYTHONPATH}" exec "$python" "$@"
