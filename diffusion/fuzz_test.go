package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzParseConfig: whatever a scheduler_config.json is, it fails in one line or gives a config that is written and read
// back the same, and whose schedule is computed or refused in one line, within the memory that the bytes allow.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"trained_betas": [0.1], "num_train_timesteps": 1, "_x": null}`))
	data, _ := other().JSON()
	f.Add(data)
	f.Add([]byte(`{"num_train_timesteps": 20000, "beta_end": 0.0001}`))
	f.Add([]byte(`{"num_train_timesteps": 10000, "beta_schedule": "squaredcos_cap_v2"}`))
	f.Add([]byte(`{"num_train_timesteps": 1e30}`))
	f.Add([]byte(`{"rescale_betas_zero_snr": true, "prediction_type": "sample", "num_train_timesteps": 2, "beta_start": 5e-324, "beta_end": 5e-324}`))
	f.Add([]byte(`{"beta_start": 1e-20, "beta_end": 1e-17}`))
	f.Add([]byte(`{"trained_betas": [0.5, 1e-17, 0.5], "num_train_timesteps": 3}`))
	f.Add([]byte(`{"_class_name": ["a\n"], "beta_start": "\u2028", "b\n": 1}`))
	f.Add([]byte(`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -5.1, "solver_order": 1, "clip_sample": false}`))
	f.Add([]byte(`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "final_sigmas_type": "sigma_min", "solver_type": "heun", "euler_at_final": true}`))
	f.Add([]byte(`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "leading", "predict_epsilon": false, "later": null}`))
	f.Add([]byte(`{"_class_name": "DDIMInverseScheduler", "sample_max_value": 2, "use_karras_sigmas": true}`))
	f.Add([]byte(`{"trained_betas": [` + strings.Repeat("0,", 1000) + `0]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Config
		var err error
		alloctest.Parse(t, len(data), func() { c, err = ParseConfig(data) })
		if err != nil {
			errortest.OneLine(t, err)
			return
		}
		out, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Error(d)
		}
		var s *Schedule
		alloctest.Parse(t, len(data), func() { s, err = NewSchedule(c) })
		if err != nil {
			errortest.OneLine(t, err)
			return
		}
		for i, alphaBar := range s.AlphaBar {
			if !(alphaBar >= 0 && alphaBar <= 1 && s.Beta[i] >= 0 && s.Beta[i] <= 1) {
				t.Fatalf("alphaBar_%d = %v, beta_%d = %v", i, alphaBar, i, s.Beta[i])
			}
			if sum := s.BetaTilde[i] + s.CoefX0[i] + s.CoefXt[i]; math.IsNaN(sum) || math.IsInf(sum, 0) {
				t.Fatalf("the posterior of t = %d is %v, %v, %v", i, s.BetaTilde[i], s.CoefX0[i], s.CoefXt[i])
			}
		}
	})
}

// FuzzOptionWords: whatever the words of a sampler's options are, they are refused in one line or mean a value in its
// range.
func FuzzOptionWords(f *testing.F) {
	for _, word := range []string{"hat", "0.5", "posterior", "beta", "static", "dynamic", "none", "leading", "quad", "", "nan", "-0", "1e-400", "0x1p-3", "1_0", "+Inf", "0.5\n", "100,800", " 0 , 0", "9,1", "1,2,3", "-1,5", ",", "\xff", strings.Repeat("\xd0", 600)} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		eta, hat, err := ParseEta(word)
		if err == nil && !(eta >= 0 && eta <= 1 && (!hat || eta == 0)) {
			t.Errorf("eta %q is %v, %t", word, eta, hat)
		}
		errs := []error{err}
		v, err := ParseVariance(word)
		if err == nil {
			again, err := ParseVariance(v.String())
			if err != nil || again != v || !(v.F >= 0 && v.F <= 1) {
				t.Errorf("variance %q is %v, written as %q, %v", word, v, v, err)
			}
		}
		clip, err2 := ParseClip(word)
		if err2 == nil && string(clip) != word {
			t.Errorf("clip %q is %q", word, clip)
		}
		spacing, err3 := ParseSpacing(word)
		if err3 == nil && string(spacing) != word {
			t.Errorf("spacing %q is %q", word, spacing)
		}
		pairing, err4 := ParsePairing(word)
		if err4 == nil && string(pairing) != word {
			t.Errorf("pairing %q is %q", word, pairing)
		}
		g, err5 := ParseGuidance(word, "", "")
		if err5 == nil && !(g.Weight >= 0 && g.Weight <= math.MaxFloat64) {
			t.Errorf("guidance %q is %v", word, g.Weight)
		}
		g, err6 := ParseGuidance("2", word, "")
		if err6 == nil && !(g.Rescale >= 0 && g.Rescale <= 1) {
			t.Errorf("guidance-rescale %q is %v", word, g.Rescale)
		}
		g, err7 := ParseGuidance("2", "", word)
		if i := g.Interval; err7 == nil && i != nil {
			again, err := ParseGuidance("2", "", i.String())
			if err != nil || *again.Interval != *i || i.Low < 0 || i.High < i.Low {
				t.Errorf("guidance-interval %q is %v, read again as %v, %v", word, i, again.Interval, err)
			}
		}
		for _, err := range append(errs, err, err2, err3, err4, err5, err6, err7) {
			if err != nil {
				errortest.OneLine(t, err)
			}
		}
	})
}

// The longest configs take the memory that their bytes allow, and longer ones are refused.
func TestLongSchedulerConfigsTakeTheirShare(t *testing.T) {
	var keys strings.Builder
	for i := 0; keys.Len() < maxConfig-20; i++ {
		fmt.Fprintf(&keys, `"_%x":0,`, i)
	}
	for _, test := range []struct{ text, says string }{
		{"{" + keys.String() + `"_":0}`, ""},
		{`{"trained_betas": [` + strings.Repeat("0,", maxConfig/2-20) + `0]}`, "at most 10000"},
		{`{"_": "` + strings.Repeat("x", maxConfig) + `"}`, "limit of 1048576"},
	} {
		var err error
		alloctest.Parse(t, len(test.text), func() { _, err = ParseConfig([]byte(test.text)) })
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%.20s...: %v, want %q", test.text, err, test.says)
		}
	}
}

// The longest schedule takes the memory of a parser.
func TestTheLongestScheduleTakesItsShare(t *testing.T) {
	c := Defaults()
	c.NumTrainTimesteps, c.BetaEnd, c.RescaleZeroSNR, c.PredictionType = 1e6, 1e-4, true, VPrediction
	alloctest.Parse(t, 0, func() {
		if _, err := NewSchedule(c); err != nil {
			t.Error(err)
		}
	})
}
