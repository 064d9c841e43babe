package htmlreport

// Evaluation is what an evaluation of a model's samples found.
type Evaluation struct {
	Measures []Measure
	How      []Fact // how the samples were made and compared
	Classes  []Class
}

// Measure is a row of an evaluation's table.
type Measure struct {
	Name, Value string
	Beside      string // what else scores; may be empty
	Means       string // what the measure says
}

// Class is a class that a classifier sees in so many samples.
type Class struct {
	Name  string
	Count int
}

// bar is a class of the histogram.
type bar struct {
	Name    string
	Count   string
	Percent float64 // of the largest
}

// maxBars is how many classes the histogram shows.
const maxBars = 100

func (e *Evaluation) bars() (list []bar) {
	most := 1
	for _, c := range e.Classes {
		most = max(most, c.Count)
	}
	for _, c := range e.Classes[:min(len(e.Classes), maxBars)] {
		list = append(list, bar{short(c.Name), Number(float64(c.Count)), 100 * float64(max(0, c.Count)) / float64(most)})
	}
	return list
}

// short is a name of which a long one is cut.
func short(name string) string {
	const most = 60
	if r := []rune(clean(name)); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return clean(name)
}
