#!/bin/sh
# Makes a virtual environment outside the checkout, builds the program and runs events.py: TensorBoard opens runs
# that were killed and went on. PYTHON names an interpreter that has the packages of requirements.txt already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/unstir/tensorboard
mkdir -p "$cache"
if [ -z "${PYTHON:-}" ]; then
	[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
	"$cache/venv/bin/python" -m pip install --quiet -r "$here/requirements.txt"
	PYTHON=$cache/venv/bin/python
fi
(cd "$root" && CGO_ENABLED=0 go build -o "$cache/diffusion" ./cmd/diffusion)
exec "$PYTHON" "$here/events.py" --diffusion "$cache/diffusion" "$@"
