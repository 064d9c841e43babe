#!/bin/sh
# Makes the reference fixtures again with diffusers, in a virtual environment outside the checkout, and says how the
# tests run them:
#     scripts/golden/run.sh /tmp/golden
# Further arguments go to make.py. PYTHON names an interpreter that has the packages of ../interchange/requirements.txt.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/unstir/interchange
if [ -z "${PYTHON:-}" ]; then
	mkdir -p "$cache"
	[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
	"$cache/venv/bin/python" -m pip install --quiet -r "$here/../interchange/requirements.txt"
	PYTHON=$cache/venv/bin/python
fi
exec "$PYTHON" "$here/make.py" "$@"
