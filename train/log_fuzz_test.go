package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzReadLog: whatever a log.jsonl is, reading it fails in one line that names it and the line, or gives the lines,
// which are written and read back the same.
func FuzzReadLog(f *testing.F) {
	line := `{"step":1,"images":128,"loss":0.5,"grad_norm":1.25,"lr":0.0002,"images_per_s":1000.5,"seconds_total":0.128}` + "\n"
	f.Add([]byte(line + line[:40]))
	f.Add([]byte(line + "\n" + line))
	f.Add([]byte(line + `{"step":2} {"step":3}` + "\n"))
	f.Add([]byte(`{"step":2}` + "\r\n" + `{"step":` + "\n3}\n"))
	f.Add([]byte("null\n"))
	f.Add([]byte("{\"step\":1e3}\n{\"step\":\"\\n\"}"))
	f.Add([]byte("\n\n\n"))
	path := filepath.Join(f.TempDir(), "log.jsonl")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		var lines []LogLine
		var err error
		alloctest.Parse(t, len(b), func() { lines, err = ReadLog(path) })
		if err != nil {
			errortest.OneLine(t, err, path+":")
			return
		}
		var out bytes.Buffer
		for _, l := range lines {
			if err := json.NewEncoder(&out).Encode(l); err != nil {
				t.Fatal(err)
			}
		}
		again, err := parseLog(out.Bytes())
		if err != nil || len(lines) > 0 && !reflect.DeepEqual(lines, again) {
			t.Errorf("read %+v, after writing %+v, %v", lines, again, err)
		}
	})
}

// The last line of a log may be cut off anywhere, and what was before it is read; in front of another line it may not.
func TestALogThatWasCutIsReadToTheCut(t *testing.T) {
	line := `{"step":1,"loss":0.5}` + "\n"
	for cut := range len(line) {
		lines, err := parseLog([]byte(line + line[:cut]))
		want := 1
		if cut == len(line)-1 {
			want = 2 // it is whole but for its end
		}
		if err != nil || len(lines) != want {
			t.Errorf("cut after %d bytes: %d lines, %v", cut, len(lines), err)
		}
		if _, err := parseLog([]byte(line[:cut] + "\n" + line)); cut < len(line)-1 && (err == nil || !strings.HasPrefix(err.Error(), "1: ")) {
			t.Errorf("line 1 cut after %d bytes: error %v", cut, err)
		}
	}
}

// A long log takes the memory that its bytes allow.
func TestALongLogTakesItsShare(t *testing.T) {
	for _, text := range []string{strings.Repeat(`{"step":1}`+"\n", 1<<19), strings.Repeat("\n", 1<<22), strings.Repeat("{}\n", 1<<20)} {
		alloctest.Within(t, 10*uint64(len(text))+(1<<20), func() {
			lines, err := parseLog([]byte(text))
			if whole := text[0] == '{' && text[1] == '"'; (err == nil) != whole || whole && len(lines) != 1<<19 {
				t.Error(fmt.Errorf("%.20q...: %d lines, %w", text, len(lines), err))
			}
		})
	}
}
