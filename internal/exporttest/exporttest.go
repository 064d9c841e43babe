// Package exporttest finds what packages export for nobody.
package exporttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Module                  *struct {
		Main bool
	}
	Standard bool
}

// Unused lists the exported functions and methods that no other package of the module in this directory uses outside its
// tests, as "package.Name" or "package.Type.Method". Left out are methods that implement an interface, and packages that
// only tests import. Files are those that this build has.
func Unused(dir string) ([]string, error) {
	packages, err := list(dir)
	if err != nil {
		return nil, err
	}
	m := &module{
		fset: token.NewFileSet(), exports: map[string]string{}, used: map[string]bool{}, imported: map[string]bool{}, interfaces: map[*types.Interface]bool{},
	}
	for _, p := range packages {
		m.exports[p.ImportPath] = p.Export
	}
	m.importer = importer.ForCompiler(m.fset, "gc", func(path string) (io.ReadCloser, error) {
		if m.exports[path] == "" {
			return nil, fmt.Errorf("go list gave no export data of %s", path)
		}
		return os.Open(m.exports[path])
	})
	for _, p := range packages {
		if p.Module != nil && p.Module.Main {
			if err := m.check(p); err != nil {
				return nil, err
			}
		}
	}
	return m.unused(), nil
}

func list(dir string) ([]listed, error) {
	c := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Module,Standard", "./...")
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		packages = append(packages, p)
	}
}

type module struct {
	fset       *token.FileSet
	exports    map[string]string // files of export data, by package
	importer   types.Importer
	packages   []*types.Package
	used       map[string]bool // names that another package uses
	imported   map[string]bool // packages
	interfaces map[*types.Interface]bool
}

// check reads a package and notes what it uses of others.
func (m *module) check(p listed) error {
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(m.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	pkg, err := (&types.Config{Importer: m.importer}).Check(p.ImportPath, m.fset, files, info)
	if err != nil {
		return err
	}
	m.packages = append(m.packages, pkg)
	for _, i := range append(pkg.Imports(), pkg) {
		m.imported[i.Path()] = m.imported[i.Path()] || i != pkg
		for _, name := range i.Scope().Names() {
			if t, ok := i.Scope().Lookup(name).Type().Underlying().(*types.Interface); ok {
				m.interfaces[t] = true
			}
		}
	}
	for _, t := range info.Types {
		if i, ok := t.Type.(*types.Interface); ok {
			m.interfaces[i] = true
		}
	}
	m.interfaces[types.Universe.Lookup("error").Type().Underlying().(*types.Interface)] = true
	for _, o := range info.Uses {
		if o.Pkg() != nil && o.Pkg() != pkg {
			m.used[nameOf(o)] = true
		}
	}
	return nil
}

// nameOf is an object's name with its package's and, for a method, its type's.
func nameOf(o types.Object) string {
	if f, ok := o.(*types.Func); ok {
		if recv := f.Signature().Recv(); recv != nil {
			t := recv.Type()
			if p, ok := t.(*types.Pointer); ok {
				t = p.Elem()
			}
			if n, ok := t.(*types.Named); ok {
				return o.Pkg().Path() + "." + n.Obj().Name() + "." + o.Name()
			}
		}
	}
	return o.Pkg().Path() + "." + o.Name()
}

func (m *module) unused() []string {
	var found []string
	report := func(o types.Object) {
		if name := nameOf(o); o.Exported() && !m.used[name] {
			found = append(found, name)
		}
	}
	for _, pkg := range m.packages {
		if !m.imported[pkg.Path()] {
			continue
		}
		for _, name := range pkg.Scope().Names() {
			o := pkg.Scope().Lookup(name)
			if _, ok := o.(*types.Func); ok {
				report(o)
			}
			t, ok := o.Type().(*types.Named)
			if _, isType := o.(*types.TypeName); !ok || !isType || t.Obj() != o {
				continue
			}
			for method := range t.Methods() {
				if !m.implements(t, method.Name()) {
					report(method)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// implements tells whether the method belongs to an interface that the type implements, or to one that libraries
// look for by reflection or by name.
func (m *module) implements(t *types.Named, method string) bool {
	if strings.HasPrefix(method, "Unmarshal") || strings.HasPrefix(method, "Marshal") || slices.Contains([]string{"Error", "Unwrap", "Is", "String"}, method) {
		return true
	}
	for i := range m.interfaces {
		has := false
		for f := range i.Methods() {
			has = has || f.Name() == method
		}
		if has && (types.Implements(t, i) || types.Implements(types.NewPointer(t), i)) {
			return true
		}
	}
	return false
}
