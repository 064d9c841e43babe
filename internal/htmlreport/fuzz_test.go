package htmlreport

import (
	"bytes"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzEvaluation: whatever the file of an evaluation has in it, it is refused in one line, or makes a page.
func FuzzEvaluation(f *testing.F) {
	f.Add([]byte(evalJSON))
	f.Add([]byte(`{"n":"many"}`))
	f.Add([]byte(`{"class_histogram":[-1,1e308,0],"frechet":1e-320,"frechet_real":-1,"seed":18446744073709551615}`))
	f.Add([]byte(`{"class_histogram":[null],"kernel_mean":0}`))
	f.Add([]byte("null"))
	f.Add([]byte("{} {}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e *Evaluation
		var err error
		alloctest.Parse(t, len(text), func() { e, err = ParseEvaluation(text) })
		if err != nil {
			errortest.OneLine(t, err, "not the JSON of an evaluation: ")
			return
		}
		var b bytes.Buffer
		if err := Write(&b, Page{Evaluation: e}); err != nil || b.Len() > MaxBytes || strings.Contains(b.String(), "NaN") && !bytes.Contains(text, []byte("NaN")) {
			t.Errorf("a page of %d bytes (%v)", b.Len(), err)
		}
	})
}
