// Package setting says what is wrong with a key of a configuration.
package setting

// Error is a key whose value cannot be. The Validate methods of the packages' configurations return it, or several of
// them joined; errors.As finds it.
type Error struct {
	Table   string // of the configuration file, such as "train"; empty where the key stands for itself
	Key     string // such as "lr"
	Element string // of a list, such as "[2]"; may be empty
	Value   string // as a reader knows it
	Want    string // what would be right, such as "it must be at least 1"
}

// Error names the key, the value and what would be right.
func (e *Error) Error() string {
	name := e.Key + e.Element
	if e.Table != "" {
		name = e.Table + "." + name
	}
	return name + " is " + e.Value + "; " + e.Want
}
