package filekind

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// What is found in place of a file is described, with what to do.
func TestWhatIsNoFileIsRecognised(t *testing.T) {
	for name, c := range map[string]struct {
		head string
		want Wanted
		says []string
	}{
		"empty":              {"", Weights, []string{"empty", "download the file again"}},
		"LFS":                {pointer, Weights, []string{"Git LFS pointer", "of 12345 bytes", "git lfs pull"}},
		"LFS for JSON":       {pointer, JSON, []string{"Git LFS pointer", "git lfs pull"}},
		"LFS of old":         {"version https://hawser.github.com/spec/v1\n", Weights, []string{"Git LFS pointer"}},
		"LFS, Windows lines": {strings.ReplaceAll(pointer, "\n", "\r\n"), Weights, []string{"of 12345 bytes"}},
		"annex":              {"/annex/objects/SHA256E-s12--ab.safetensors\n", Weights, []string{"git annex get"}},
		"link as text":       {"../../blobs/ab12", Weights, []string{`a link to "../../blobs/ab12"`, "copied as text"}},
		"HTML":               {"\n <!DOCTYPE html>\n<html><body>Sign in</body></html>", Weights, []string{"HTML page", "/resolve/"}},
		"HTML for JSON":      {"<html>", JSON, []string{"HTML page"}},
		"XML":                {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", Weights, []string{"XML"}},
		"zeros":              {strings.Repeat("\x00", 100), Weights, []string{"zeros", "cut off"}},
		"gzip":               {"\x1f\x8b\x08\x00rest", Weights, []string{"gzip"}},
		"zip":                {"PK\x03\x04\x00rest", Weights, []string{"zip archive", "PyTorch", "safetensors"}},
		"pickle":             {"\x80\x02}q\x00(X", Weights, []string{"pickle", "safetensors"}},
		"tar":                {strings.Repeat("a", 257) + "ustar\x0000", Weights, []string{"tar archive"}},
		"HDF5":               {"\x89HDF\r\n\x1a\n", Weights, []string{"HDF5"}},
		"array":              {"\x93NUMPY\x01\x00", Weights, []string{"NumPy array"}},
		"arrays":             {"PK\x03\x04\x14\x00", Array, []string{".npz", "np.save"}},
		"picture":            {"\x89PNG\r\n\x1a\nrest", Weights, []string{"PNG picture"}},
		"UTF-16":             {"\xff\xfe{\x00}\x00", JSON, []string{"UTF-16"}},
		"words":              {"Entry not found", Weights, []string{`"Entry not found"`, "15 bytes"}},
		"words for JSON":     {"404: Not Found\nmore", JSON, []string{`"404: Not Found ..."`}},
		"error":              {`{"error":"Invalid username or password."}`, Weights, []string{"server's message", "Invalid username"}},
		"error for JSON":     {`{"error":"Repository not found"}`, JSON, []string{"server's message", "Repository not found"}},
		"error of S3":        {`{"message":"Access denied","code":403}`, JSON, []string{"Access denied"}},
		"JSON, not weights":  {`{"a": 1}`, Weights, []string{`"{\"a\": 1}"`}},
	} {
		got := describe([]byte(c.head), int64(len(c.head)), c.want)
		for _, says := range c.says {
			if !strings.Contains(got, says) {
				t.Errorf("%s: %q lacks %q", name, got, says)
			}
		}
		if strings.Contains(got, "\n") {
			t.Errorf("%s takes more than a line: %q", name, got)
		}
	}
}

// Nothing is said of what could be the right file.
func TestWhatCouldBeRightIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		head string
		size int64
		want Wanted
	}{
		"safetensors":     {"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}", 500, Weights},
		"a config":        {`{"_class_name": "UNet2DModel", "error": 1}`, 42, JSON},
		"broken JSON":     {`{"_class_name": `, 16, JSON},
		"a long text":     {strings.Repeat("a", HeadSize), 1 << 20, Weights},
		"bytes":           {"\x01\x02\x03", 3, Weights},
		"an array":        {"\x93NUMPY\x01\x00v\x00", 1 << 10, Array},
		"zeros, but few":  {"\x00\x00\x00", 3, Weights},
		"an empty object": {`{}`, 2, JSON},
	} {
		if got := describe([]byte(c.head), c.size, c.want); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestOfReadsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, []byte(pointer), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := Of(path, Weights); !strings.Contains(got, "Git LFS") {
		t.Errorf("%q", got)
	}
	if got := Of(path+"x", Weights) + Of(filepath.Dir(path), Weights); got != "" {
		t.Errorf("no file, and a directory: %q", got)
	}
}

func TestExplainKeepsTheErrorOfOtherFiles(t *testing.T) {
	err := errors.New("damaged")
	if got := Explain(err, []byte("\x01\x02"), 2, Weights); got != err {
		t.Errorf("%v", got)
	}
	if got := Explain(nil, nil, 0, Weights); got != nil {
		t.Errorf("%v", got)
	}
	if got := Explain(err, []byte(pointer), int64(len(pointer)), Weights); got == nil || !strings.Contains(got.Error(), "Git LFS") {
		t.Errorf("%v", got)
	}
}

func TestALinkThatLeadsNowhereIsTold(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join("..", "blobs", "ab"), link); err != nil {
		t.Skip("no links here:", err)
	}
	if err := CheckLink(link); err == nil || !strings.Contains(filepath.ToSlash(err.Error()), " a link to ../blobs/ab, ") {
		t.Errorf("error %v", err)
	}
	good := filepath.Join(dir, "good")
	if err := os.Symlink(dir, good); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{good, dir, filepath.Join(dir, "none")} {
		if err := CheckLink(path); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a file begins with, it is described in one printable line.
func FuzzDescribe(f *testing.F) {
	for _, head := range []string{"", pointer, "../a\nb", "<html>\x1b[2J", `{"error": "a\nb"}`, `{"message": {"a": 1}}`, "PK\x03\x04", "\x80\x02", "a\u2028b", "\xff\xfe"} {
		f.Add([]byte(head), int64(len(head)), byte(0))
	}
	f.Fuzz(func(t *testing.T, head []byte, size int64, want byte) {
		head = head[:min(len(head), HeadSize)]
		got := describe(head, max(size, 0), Wanted(want%3))
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q is not a line of text", got)
			}
		}
		if len(got) > 1000 {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
}
