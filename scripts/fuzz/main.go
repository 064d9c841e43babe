// Command fuzz runs every fuzz target of the module, one after another, and prints a line for each: its name, how often
// it ran, for how many seconds, and how it ended. It finds the targets itself. The exit code is 1 where one failed; the
// input that failed then lies in the package's testdata/fuzz, as with go test -fuzz.
//
//	go run ./scripts/fuzz                               # two seconds each
//	go run ./scripts/fuzz -time 2m -long 10m            # the parsers of binary formats for longer
//	go run ./scripts/fuzz -run 'checkpoints/.*Index' -time 1h -cache /tmp/fuzz
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type options struct {
	time, long     time.Duration
	longOf, only   *regexp.Regexp
	parallel       int
	cache          string
	list, markdown bool
}

func main() {
	var o options
	var longOf, only string
	flag.DurationVar(&o.time, "time", 2*time.Second, "how long each target runs")
	flag.DurationVar(&o.long, "long", 0, "how long the targets that -longof matches run; 0: as the others")
	flag.StringVar(&longOf, "longof", `(?i)archive|exif|safetensors\.|npy\.`, "`REGEXP` of the targets, as PACKAGE.NAME, that run longer")
	flag.StringVar(&only, "run", "", "`REGEXP` of the targets to run, as PACKAGE.NAME; empty: all")
	flag.IntVar(&o.parallel, "parallel", 1, "worker processes of a target")
	flag.StringVar(&o.cache, "cache", "", "`DIR` that keeps what was found interesting, from run to run; empty: nothing is kept")
	flag.BoolVar(&o.list, "list", false, "list the targets and stop")
	flag.BoolVar(&o.markdown, "markdown", false, "print rows of a Markdown table")
	flag.Parse()
	var err1, err2 error
	o.longOf, err1 = regexp.Compile(longOf)
	o.only, err2 = regexp.Compile(only)
	if err := errors.Join(err1, err2); err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "fuzz:", cmp.Or(err, fmt.Errorf("unknown argument %q", flag.Arg(0))))
		os.Exit(2)
	}
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// pack is a package that has fuzz targets.
type pack struct {
	Dir, ImportPath           string
	TestGoFiles, XTestGoFiles []string
	targets                   []string
}

// run fuzzes everything and writes what came of it.
func run(o options, w io.Writer) error {
	packs, err := packages()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if o.cache == "" {
		o.cache = filepath.Join(work, "cache")
	}
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return err
	}
	failed := 0
	for _, p := range packs {
		p.targets = slices.DeleteFunc(p.targets, func(name string) bool { return !o.only.MatchString(p.name(name)) })
		if len(p.targets) == 0 {
			continue
		}
		if o.list {
			for _, name := range p.targets {
				fmt.Fprintln(w, p.name(name))
			}
			continue
		}
		binary := filepath.Join(work, "package.test")
		if err := p.build(binary); err != nil {
			return err
		}
		for _, name := range p.targets {
			r := p.fuzz(binary, name, o)
			fmt.Fprintln(w, r.line(o.markdown))
			if !r.ok {
				failed++
				fmt.Fprintln(w, strings.TrimSpace(r.output))
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d targets failed", failed)
	}
	return nil
}

// packages lists the module's packages that have fuzz targets.
func packages() ([]*pack, error) {
	out, err := command("go", "list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles", "./...")
	if err != nil {
		return nil, err
	}
	var packs []*pack
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pack{}
		if err := d.Decode(p); err == io.EOF {
			return packs, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			names, err := targets(filepath.Join(p.Dir, file))
			if err != nil {
				return nil, err
			}
			p.targets = append(p.targets, names...)
		}
		if len(p.targets) > 0 {
			slices.Sort(p.targets)
			packs = append(packs, p)
		}
	}
}

// targets are the functions FuzzXxx(*testing.F) of a file.
func targets(path string) (names []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || len(f.Type.Params.List) != 1 {
			continue
		}
		if star, ok := f.Type.Params.List[0].Type.(*ast.StarExpr); ok {
			if x, ok := star.X.(*ast.SelectorExpr); ok && x.Sel.Name == "F" {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names, nil
}

// name is a target's name with its package, below the module: checkpoints/safetensors.FuzzReader, or unstir.FuzzOpen.
func (p *pack) name(target string) string {
	below := p.ImportPath
	if _, rest, ok := strings.Cut(below, "/"); ok {
		below = rest
	}
	return below + "." + target
}

// build makes the package's test binary with the fuzzer's instrumentation.
func (p *pack) build(binary string) error {
	_, err := command("go", "test", "-c", "-fuzz=.", "-o", binary, p.ImportPath)
	return err
}

// command runs a command and returns its standard output; its error has what it said.
func command(name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// result is how a target did.
type result struct {
	name       string
	executions int
	seconds    float64
	ok         bool
	output     string
}

func (r result) line(markdown bool) string {
	end := "ok"
	if !r.ok {
		end = "FAILED"
	}
	if markdown {
		return fmt.Sprintf("| `%s` | %d | %.0f | %s |", r.name, r.executions, r.seconds, end)
	}
	return fmt.Sprintf("%-44s %10d executions %6.1f s  %s", r.name, r.executions, r.seconds, end)
}

var (
	executions = regexp.MustCompile(`execs: (\d+) `)
	// The fuzzer takes its own end for a failure where that comes while it minimizes an input; nothing is written then.
	ended   = regexp.MustCompile(`(?m)^ +context deadline exceeded$`)
	written = "Failing input written to"
)

// fuzz runs one target.
func (p *pack) fuzz(binary, target string, o options) result {
	r := result{name: p.name(target)}
	length := o.time
	if o.long > 0 && o.longOf.MatchString(r.name) {
		length = o.long
	}
	c := exec.Command(binary, "-test.run=^$", "-test.fuzz=^"+target+"$", "-test.fuzztime="+length.String(), "-test.timeout=0",
		"-test.fuzzminimizetime="+min(length/10, 10*time.Second).String(), "-test.parallel="+strconv.Itoa(o.parallel),
		"-test.fuzzcachedir="+filepath.Join(o.cache, p.ImportPath))
	c.Dir = p.Dir
	start := time.Now()
	out, err := c.CombinedOutput()
	r.seconds, r.output = time.Since(start).Seconds(), string(out)
	for _, m := range executions.FindAllStringSubmatch(r.output, -1) {
		r.executions, _ = strconv.Atoi(m[1])
	}
	r.ok = err == nil || ended.MatchString(r.output) && !strings.Contains(r.output, written)
	return r
}
