package kernel_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed is what each package of the kernels may import of the module: packages below it only.
var allowed = map[string]string{
	"cpu":        "",
	"mem":        "",
	"shape":      "",
	"parallel":   "mem",
	"vec":        "cpu parallel",
	"gemm":       "cpu mem",
	"inner":      "cpu",
	"reduce":     "cpu parallel vec",
	"direct":     "cpu gemm mem parallel reduce shape",
	"winograd":   "cpu gemm mem parallel reduce shape vec",
	"conv":       "cpu direct gemm parallel shape vec winograd",
	"norm":       "cpu parallel vec",
	"attention":  "cpu gemm parallel vec",
	"optimizer":  "cpu gemm parallel vec",
	"kerneltest": "cpu parallel shape", // tests only
}

func TestImportsGoOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	const inside = "unstir/nn/kernel/internal/"
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, isInside := strings.CutPrefix(p.ImportPath, inside)
		names, known := allowed[name]
		if isInside && !known {
			t.Errorf("%s: no list of what it may import", p.ImportPath)
		}
		for _, i := range p.Imports {
			room, kernels := strings.CutPrefix(i, inside)
			switch {
			case !strings.HasPrefix(i, "unstir/") || i == "unstir/internal/machine" && name == "parallel":
			case !isInside && (kernels && room != "kerneltest" || i == "unstir/nn/kernel"):
			case kernels && slices.Contains(strings.Fields(names), room):
			default:
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// A plan's level is decided where it is made, by the one who asks for it: no package below internal asks which is active.
func TestOnlyTheFrontAsksForTheMachine(t *testing.T) {
	files, err := filepath.Glob("internal/*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		switch dir := filepath.Base(filepath.Dir(file)); {
		case strings.HasSuffix(file, "_test.go") || dir == "cpu" || dir == "kerneltest":
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"cpu.This(", "cpu.SetLevel("} {
			if bytes.Contains(text, []byte(call)) {
				t.Errorf("%s calls %s): it has to be given a cpu.Info", file, call)
			}
		}
	}
}
