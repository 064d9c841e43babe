#!/bin/sh
# Fails when a committed assembly file differs from what the generators write, or one of their tests fails.
set -eu
cd "$(dirname "$0")"
go test .
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
sh generate.sh "$tmp"
status=0
for f in $(cd "$tmp" && find . -type f); do
	# The first line names the command, and with it the directory written to.
	tail -n +2 "$tmp/$f" >"$tmp/got"
	tail -n +2 "../internal/$f" >"$tmp/want"
	diff -u "$tmp/want" "$tmp/got" >&2 || { echo "$f is not what _generate writes: run sh generate.sh" >&2; status=1; }
done
exit $status
