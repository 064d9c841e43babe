#!/bin/sh
# Writes every family's assembly to its room below the directory given, by default ../internal.
set -eu
cd "$(dirname "$0")"
out=${1:-../internal}
families=$(go run . -list) # on a line of its own, so that its failure ends the script
for family in $families; do
	room=${family%%[0-9]*} # winograd6 is written to winograd
	[ "$room" = winogradup ] && room=winograd
	mkdir -p "$out/$room"
	go run . -family "$family" -pkg "$room" -out "$out/$room/${family}_amd64.s" -stubs "$out/$room/${family}_amd64.go"
done
