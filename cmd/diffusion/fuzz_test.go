package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
	"unstir/internal/htmlreport"
	"unstir/metrics"
)

// FuzzTimesteps: whatever --t says, it is refused as a wrong use, in one line, or gives each image a timestep that the
// model was trained on.
func FuzzTimesteps(f *testing.F) {
	for _, list := range []string{"10", "10,500,999", "", ",", "1,2", " 7 ", "-1", "1000", "1e2", "0x10", "+5", "9223372036854775808", "1,\n2,\t3", "\xff", strings.Repeat("1,", 100)} {
		f.Add(list, uint8(3))
		f.Add(list, uint8(0))
	}
	f.Fuzz(func(t *testing.T, list string, images uint8) {
		n := 1 + int(images)
		var ts []int
		var err error
		alloctest.Parse(t, len(list), func() { ts, err = timesteps(list, n, 1000) })
		if err != nil {
			errortest.OneLine(t, err, "--t")
			if !isUsage(err) {
				t.Errorf("%v is not a usage error", errors.Unwrap(err))
			}
			return
		}
		if len(ts) != n {
			t.Errorf("%q: %d timesteps for %d images", list, len(ts), n)
		}
		for _, v := range ts {
			if v < 0 || v >= 1000 {
				t.Errorf("%q: timestep %d", list, v)
			}
		}
	})
}

// evalJSON is an evaluation as eval writes it.
const evalJSON = `{"dataset":"mnist","n":1000,"sampler":"ddim","steps":50,"seed":1,"model_step":3000,"feature_net":"mnist-1",
"feature_net_accuracy":0.995,"frechet":2,"frechet_real":0.4,"frechet_noise":800,"kernel_mean":0.031,"kernel_std":0.002,
"precision":0.6,"recall":0.5,"density":0.7,"coverage":0.8,"class_histogram":[120,0,80],"class_entropy":0.67,"class_accuracy":null,
"accuracy_score":null,"near_copies":null,"bits_per_dim":1.5,"bits_per_dim_stderr":0.02,"images_per_s":210.5}`

// FuzzEvaluation: whatever the file of an evaluation has in it, it is refused in one line, or makes a page.
func FuzzEvaluation(f *testing.F) {
	f.Add([]byte(evalJSON))
	f.Add([]byte(`{"n":"many"}`))
	f.Add([]byte(`{"class_histogram":[-1,9223372036854775807,0],"frechet":1e-320,"frechet_real":-1,"seed":18446744073709551615}`))
	f.Add([]byte(`{"class_histogram":[null],"kernel_mean":0}`))
	f.Add([]byte("null"))
	f.Add([]byte("{} {}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r *metrics.Result
		var err error
		alloctest.Parse(t, len(text), func() { r, err = metrics.ParseResult(text) })
		if err != nil {
			errortest.OneLine(t, err, "not the JSON of an evaluation: ")
			return
		}
		var b bytes.Buffer
		page := htmlreport.Page{Evaluation: describeEvaluation(r, []string{"zero"})}
		if err := htmlreport.Write(&b, page); err != nil || b.Len() > htmlreport.MaxBytes || strings.Contains(b.String(), "NaN") && !bytes.Contains(text, []byte("NaN")) {
			t.Errorf("a page of %d bytes (%v)", b.Len(), err)
		}
	})
}
