#!/bin/sh
# Makes a virtual environment outside the checkout, builds the program and runs interchange.py.
# Further arguments go to interchange.py: ./scripts/interchange/run.sh --report docs/interchange.md
# PYTHON names an interpreter that has the packages of requirements.txt already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/unstir/interchange
mkdir -p "$cache"
if [ -z "${PYTHON:-}" ]; then
	[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
	"$cache/venv/bin/python" -m pip install --quiet -r "$here/requirements.txt"
	PYTHON=$cache/venv/bin/python
fi
(cd "$root" && CGO_ENABLED=0 go build -o "$cache/diffusion" ./cmd/diffusion && go build -o "$cache/noise" ./scripts/interchange/noise)
exec "$PYTHON" "$here/interchange.py" --diffusion "$cache/diffusion" --noise "$cache/noise" "$@"
