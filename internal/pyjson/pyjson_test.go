package pyjson

import (
	"encoding/json"
	"math"
	"testing"
)

func TestStandardTouchesOnlyTheWordsOutsideStrings(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": -Infinity}`:                       `{"a": "-Infinity"}`,
		`{"a":Infinity,"b":[NaN,-Infinity,1]}`:   `{"a":"Infinity","b":["NaN","-Infinity",1]}`,
		`NaN`:                                    `"NaN"`,
		`{"Infinity": "NaN, -Infinity"}`:         `{"Infinity": "NaN, -Infinity"}`,
		`{"a\"NaN": "\\", "b": NaN}`:             `{"a\"NaN": "\\", "b": "NaN"}`,
		`{"a": "x\\\"Infinity"}`:                 `{"a": "x\\\"Infinity"}`,
		`{"a": --Infinity}`:                      `{"a": --Infinity}`,
		`{"a": Infinity1, "b": NaNa, "c": 1NaN}`: `{"a": Infinity1, "b": NaNa, "c": 1NaN}`,
		`{"a": "open Infinity`:                   `{"a": "open Infinity`,
		"\ufeff{\"a\": 1}":                       `{"a": 1}`,
		`{"a": 1}`:                               `{"a": 1}`,
		``:                                       ``,
	} {
		if got := string(Standard([]byte(in))); got != want {
			t.Errorf("%s becomes\n%s, want\n%s", in, got, want)
		}
	}
}

func TestFloatReadsWhatPythonWrites(t *testing.T) {
	for raw, want := range map[string]float64{
		"1": 1, "-5.1": -5.1, "1e-4": 1e-4, `"Infinity"`: math.Inf(1), `"-Infinity"`: math.Inf(-1), `"NaN"`: math.NaN(), "-1e999": math.Inf(-1),
	} {
		got, ok := Float(json.RawMessage(raw))
		if !ok || got != want && !(got != got && want != want) {
			t.Errorf("%s is %v, %v; want %v", raw, got, ok, want)
		}
	}
	for _, raw := range []string{"", "null", "true", `"1"`, `"inf"`, "[1]", "{}"} {
		if got, ok := Float(json.RawMessage(raw)); ok {
			t.Errorf("%s is a number, %v", raw, got)
		}
	}
}

// Standard never makes JSON of what has none of the three words in it, and what was JSON keeps its value.
func FuzzStandard(f *testing.F) {
	f.Add([]byte(`{"a": -Infinity, "b\\": [NaN, "NaN"]}`))
	f.Add([]byte("\ufeff{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		out := Standard(text)
		if json.Valid(text) && string(out) != string(text) {
			t.Errorf("%q was JSON and becomes %q", text, out)
		}
		if again := Standard(out); json.Valid(out) && string(again) != string(out) {
			t.Errorf("%q is not done: %q", out, again)
		}
	})
}
