#!/bin/sh
# Makes a virtual environment outside the checkout and runs agree.py, which holds the package metrics against
# torch-fidelity, clean-fid and prdc. Further arguments go to agree.py:
#     scripts/evaluation/run.sh                                   # features that it makes itself
#     scripts/evaluation/run.sh samples.npy test.npy              # or two files of yours, [n, d]
#     scripts/evaluation/run.sh --fixture metrics/testdata        # writes the fixture of the tests again
# PYTHON names an interpreter that has the packages of requirements.txt already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/unstir/evaluation
mkdir -p "$cache"
if [ -z "${PYTHON:-}" ]; then
	[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
	"$cache/venv/bin/python" -m pip install --quiet -r "$here/requirements.txt"
	PYTHON=$cache/venv/bin/python
fi
(cd "$root" && CGO_ENABLED=0 go build -o "$cache/ours" ./scripts/evaluation/ours)
exec "$PYTHON" "$here/agree.py" --ours "$cache/ours" "$@"
