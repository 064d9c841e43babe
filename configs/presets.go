package configs

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed presets/*.toml
var presetFiles embed.FS

// Presets lists the names of the configs in the program, in alphabetical
// order.
func Presets() []string {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		return nil // the directory is embedded
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".toml")
	}
	slices.Sort(names) // of the files, "mnist-classifier.toml" comes before "mnist.toml"
	return names
}

// Preset is the text of a preset, comments and all.
func Preset(name string) ([]byte, error) {
	text, err := presetFiles.ReadFile("presets/" + name + ".toml")
	if err != nil {
		return nil, &Error{File: name, Msg: fmt.Sprintf("no such preset; the presets are %s", strings.Join(Presets(), ", "))}
	}
	return text, nil
}
