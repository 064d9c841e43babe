package configs

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"unstir/data"
	"unstir/internal/setting"
	"unstir/unet"
)

// assignValue sets dst to a TOML value. It returns what is wrong, with the key,
// or nothing.
func assignValue(dst reflect.Value, key string, v any) (wrong string) {
	mismatch := func() string {
		msg := fmt.Sprintf("%s is %s; it must be %s", key, describe(v), wanted(dst.Type()))
		if f, ok := v.(float64); ok && isInteger(dst.Kind()) && f == math.Trunc(f) && math.Abs(f) < 1e15 {
			msg += fmt.Sprintf(": write %d", int64(f))
		}
		return msg
	}
	if u, ok := dst.Addr().Interface().(toml.Unmarshaler); ok {
		err := u.UnmarshalTOML(v)
		var bad *setting.Error
		switch {
		case err == nil:
			return ""
		case errors.As(err, &bad):
			return fmt.Sprintf("%s is %s; %s", key, describe(v), bad.Want)
		}
		return mismatch()
	}
	switch v := v.(type) {
	case string:
		if dst.Kind() == reflect.String {
			dst.SetString(v)
			return ""
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(v)
			return ""
		}
	case int64:
		switch {
		case dst.CanInt() && !dst.OverflowInt(v):
			dst.SetInt(v)
			return ""
		case dst.CanUint() && v >= 0 && !dst.OverflowUint(uint64(v)):
			dst.SetUint(uint64(v))
			return ""
		case dst.CanFloat():
			dst.SetFloat(float64(v))
			return ""
		}
	case float64:
		if dst.CanFloat() && !math.IsNaN(v) && !math.IsInf(v, 0) {
			dst.SetFloat(v)
			return ""
		}
	case []any:
		if dst.Kind() != reflect.Slice {
			break
		}
		list := reflect.MakeSlice(dst.Type(), len(v), len(v))
		for i, e := range v {
			if wrong := assignValue(list.Index(i), fmt.Sprintf("%s[%d]", key, i), e); wrong != "" {
				return wrong
			}
		}
		dst.Set(list)
		return ""
	}
	return mismatch()
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }

// wanted says in words what a key of type t takes.
func wanted(t reflect.Type) string {
	if !isTable(t) && t.Kind() == reflect.Struct {
		return "an integer or [height, width]"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint64:
		return fmt.Sprintf("an integer from 0 to %d", int64(math.MaxInt64))
	case reflect.Int:
		return "an integer"
	case reflect.Float64:
		return "a finite number"
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.String:
			return `an array of strings, such as ["a", "b"]`
		case reflect.Int:
			return "an array of integers, such as [1, 2]"
		}
		return "an array of numbers, such as [0.1, 0.2]"
	}
	return "a " + t.Kind().String()
}

// describe is a TOML value as the file has it and the name of its type.
func describe(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	case time.Time:
		return "a date or time"
	}
	kind := map[reflect.Kind]string{
		reflect.String: ", a string", reflect.Bool: ", a boolean", reflect.Float64: ", a floating-point number",
		reflect.Int64: ", an integer", reflect.Slice: ", an array",
	}[reflect.ValueOf(v).Kind()]
	return shorten(literal(v)) + kind
}

// shorten keeps an error readable where somebody gives a novel for a number.
func shorten(s string) string {
	const most = 60
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}

// literal writes a value as TOML.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if strings.Trim(s, "-0123456789") == "" {
			s += ".0"
		}
		return s
	case data.Size:
		return v.String()
	case unet.Size:
		return data.Size(v).String()
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice {
		parts := make([]string, list.Len())
		for i := range parts {
			parts[i] = literal(list.Index(i).Interface())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// quote writes a basic string of TOML, whose escapes are not those of Go.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// TOML writes every setting of the run's kind, defaults included, in the order of the structs.
// [Parse] reads it to an equal config. It is an error where TOML has no way to
// write a value: a seed above 2^63-1, a string that is not UTF-8, a number that
// is not finite.
func (c *Config) TOML() ([]byte, error) {
	var b strings.Builder
	table := ""
	for _, f := range fields {
		v := f.of(c)
		if v.Kind() == reflect.Slice && v.IsNil() || !c.has(f.table) {
			continue // trained_betas: there are none
		}
		if f.table != table {
			table = f.table
			fmt.Fprintf(&b, "\n[%s]\n", table)
		}
		if err := writable(v); err != nil {
			return nil, c.fault(f.key(), fmt.Sprintf("%s cannot be written as TOML: %v", f.key(), err))
		}
		fmt.Fprintf(&b, "%s = %s\n", f.name, literal(v.Interface()))
	}
	return []byte(b.String()), nil
}

func writable(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Uint64:
		if v.Uint() > math.MaxInt64 {
			return fmt.Errorf("%d is more than %d, its largest integer", v.Uint(), int64(math.MaxInt64))
		}
	case reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%v is not a finite number", f)
		}
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return fmt.Errorf("%q is not UTF-8", v.String())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := writable(v.Index(i)); err != nil {
				return err
			}
		}
	}
	return nil
}
