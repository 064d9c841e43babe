package a_test

import "example/a"

func init() { a.Unused() }
