package train

import (
	"strings"
	"testing"

	"unstir/data"
)

// A class-conditional model is not trained on images without classes, or with more classes than it has.
func TestLabelsAreCheckedFirst(t *testing.T) {
	set := func(labels []int) data.Dataset {
		d, err := data.NewMemory(data.Info{Name: "dots", Channels: 1, Height: 8, Width: 8}, make([]byte, 3*64), labels)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		labels  []int
		classes int
		want    string
	}{
		{nil, 2, "image 0 of dots has no class"},
		{[]int{0, 1, -1}, 2, "image 2 of dots has no class"},
		{[]int{0, 1, 2}, 2, "image 2 of dots is of class 2"},
		{[]int{0, 1, 2}, 3, ""},
		{nil, 0, ""},
	} {
		s := tinySetup(t)
		s.Data, s.Model.NumClassEmbeds = set(c.labels), c.classes
		tr, err := New(s)
		if err == nil {
			tr.Close()
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("labels %v for %d classes: %v", c.labels, c.classes, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("labels %v for %d classes: error %v, want one with %q", c.labels, c.classes, err, c.want)
		}
	}
}
