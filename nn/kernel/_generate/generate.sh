#!/bin/sh
# Writes every family's assembly to the directory given, by default the package's.
set -eu
cd "$(dirname "$0")"
out=${1:-..}
families=$(go run . -list) # on a line of its own, so that its failure ends the script
for family in $families; do
	go run . -family "$family" -pkg kernel -out "$out/${family}_amd64.s" -stubs "$out/${family}_amd64.go"
done
