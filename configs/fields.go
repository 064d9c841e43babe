package configs

import (
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"unstir/internal/spell"
)

// field is one key of the config.
type field struct {
	table string // empty: at the top of the file
	name  string
	index []int // of the struct's field, from Config
}

// fields lists every key in the order of the structs; tables lists the tables.
var fields, tables = listFields()

func listFields() (list []field, names []string) {
	top := reflect.TypeFor[Config]()
	for i := range top.NumField() {
		f := top.Field(i)
		tag := tagName(f)
		switch {
		case !f.IsExported():
		case !isTable(f.Type):
			list = append(list, field{name: tag, index: f.Index})
		default:
			names = append(names, tag)
			for j := range f.Type.NumField() {
				if sub := f.Type.Field(j); sub.IsExported() && tagName(sub) != "-" {
					list = append(list, field{table: tag, name: tagName(sub), index: []int{i, j}})
				}
			}
		}
	}
	return list, names
}

func tagName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return name
}

// isTable tells a table from a value: a size is a struct, but reads itself.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[toml.Unmarshaler]())
}

// key is the field's name with its table, as in "train.lr".
func (f field) key() string {
	if f.table == "" {
		return f.name
	}
	return f.table + "." + f.name
}

// of is the field of a config, which can be set.
func (f field) of(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// findField is the field of a key, nil where there is none.
func findField(key string) *field {
	i := slices.IndexFunc(fields, func(f field) bool { return f.key() == key })
	if i < 0 {
		return nil
	}
	return &fields[i]
}

// unknown says that there is no such key, and which was meant.
func unknown(key string) string {
	table, name, dotted := strings.Cut(key, ".")
	if near := nearest(key); near != "" {
		return "unknown key " + key + "; did you mean " + near + "?"
	}
	if !dotted {
		table, name = "", key
	}
	var names []string
	for _, f := range fields {
		if f.table == table {
			names = append(names, f.name)
		}
	}
	switch {
	case len(names) == 0:
		return "unknown table " + table + "; the tables are " + strings.Join(tables, ", ")
	case table == "":
		return "unknown key " + name + "; the keys outside a table are " + strings.Join(names, ", ") +
			", and the tables are " + strings.Join(tables, ", ")
	}
	return "unknown key " + key + "; the keys of [" + table + "] are " + strings.Join(names, ", ")
}

// unknownTable says that there is no such table, and which was meant.
func unknownTable(name string) string {
	msg := "unknown table " + name + "; "
	best, least := "", len(name)/2
	for _, t := range tables {
		if d := spell.Distance(strings.ToLower(name), t); d <= least && d < len(t) {
			best, least = t, d-1
		}
	}
	if best != "" {
		return msg + "did you mean " + best + "?"
	}
	return msg + "the tables are " + strings.Join(tables, ", ")
}

// nearest is the key that was probably meant: the same name in another table,
// or one that few edits away; empty where there is none.
func nearest(key string) string {
	key = strings.ToLower(key)
	name := key[strings.LastIndexByte(key, '.')+1:]
	best, least := "", max(1, len(name)/3)+1
	for _, f := range fields {
		d := spell.Distance(key, f.key())
		if f.name == name {
			d = min(d, 1)
		}
		if d < least {
			best, least = f.key(), d
		}
	}
	return best
}
