#!/bin/sh
# Writes every family's assembly and tables to its package below the directory given, by default ../internal.
set -eu
cd "$(dirname "$0")"
out=${1:-../internal}
families=$(go run . -list) # on a line of its own, so that its failure ends the script
for family in $families; do
	mkdir -p "$out/$family"
	go run . -family "$family" -pkg "$family" -out "$out/$family/${family}_amd64.s" -stubs "$out/$family/${family}_amd64.go" \
		-tables "$out/$family/table_amd64.go"
done
