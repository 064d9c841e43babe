package train

import (
	"slices"
	"testing"

	"unstir/nn"
	"unstir/unet"
)

// Muon has the matrices and filters between the layers of images, and AdamW the rest: each value is updated once.
func TestMuonAndAdamWShareTheParameters(t *testing.T) {
	c := tinyModel()
	c.NumClassEmbeds = 3
	p, err := unet.Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	o := newOptimizer(Muon, p)
	updates := make([]int, p.Len())
	for _, r := range o.rest {
		for i := r.first; i < r.end; i++ {
			updates[i]++
		}
	}
	byMuon := map[int]bool{}
	for _, m := range hiddenMatrices(p) {
		byMuon[m.Off] = true
		for i := range m.Rows * m.Cols {
			updates[m.Off+i]++
		}
	}
	if i := slices.IndexFunc(updates, func(n int) bool { return n != 1 }); i >= 0 {
		t.Errorf("value %d is updated %d times", i, updates[i])
	}
	for name, want := range map[string]bool{
		"conv_in.weight": false, "conv_out.weight": false, "class_embedding.weight": false, "conv_norm_out.weight": false,
		"time_embedding.linear_2.weight": true, "mid_block.resnets.0.conv1.weight": true, "mid_block.resnets.0.conv1.bias": false,
		"mid_block.attentions.0.to_q.weight": true,
	} {
		i := slices.IndexFunc(p.List, func(q nn.Param) bool { return q.Name == name })
		if i < 0 {
			t.Fatalf("there is no %s", name)
		}
		if got := byMuon[p.List[i].Off]; got != want {
			t.Errorf("%s: by Muon: %t, want %t", name, got, want)
		}
	}
}

// The loss of a run that overfits eleven images falls with Muon, too.
func TestMuonLearns(t *testing.T) {
	s := tinySetup(t)
	s.Model.Dropout = 0
	s.Train.Optimizer, s.Train.Steps, s.Train.BatchSize, s.Train.Slice, s.Train.LR, s.Train.LRSchedule = Muon, 60, 16, 16, 4e-3, "constant"
	tr, err := New(s)
	mustRun(t, tr, err)
	lines := readLog(t, s.Dir)
	first, last := lines[0].Loss, lines[len(lines)-1].Loss
	if !(last < 0.5*first) {
		t.Errorf("the loss went from %.3f to %.3f", first, last)
	}
}
