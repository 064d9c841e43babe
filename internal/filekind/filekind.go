// Package filekind recognises what is often found in place of a file of weights, an array or a configuration: the
// pointers that Git LFS leaves, pages and messages of servers that were saved as the file, downloads that were cut
// off, and files of other formats. It looks only at files that could not be read, so that no good file is mistaken for
// one of these. It also opens files that may be none: dangling links and named pipes.
package filekind

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// HeadSize is how many bytes of a file describe looks at.
const HeadSize = 4096

// Wanted is what a file should have been.
type Wanted int

const (
	Weights Wanted = iota // tensors: no text is right
	Array                 // a .npy file, likewise
	JSON                  // a configuration, a manifest
)

const downloadAgain = "download the file again"

// magics are formats that their first bytes identify.
var magics = []struct{ begins, what string }{
	{"\x1f\x8b", "a gzip file: unpack it with gunzip"},
	{"PK\x03\x04", "a zip archive, which is also how PyTorch saves a pickle (.bin, .pt): unpack it, or convert it to safetensors"},
	{"\x80\x02", pickled}, {"\x80\x03", pickled}, {"\x80\x04", pickled}, {"\x80\x05", pickled},
	{"\xfd7zXZ\x00", "an xz file: unpack it"},
	{"\x28\xb5\x2f\xfd", "a zstd file: unpack it"},
	{"BZh", "a bzip2 file: unpack it"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"},
	{"\x89HDF\r\n\x1a\n", "an HDF5 file: convert it to safetensors"},
	{"GGUF", "a GGUF file: convert it to safetensors"},
	{numpy, "a NumPy array (.npy)"},
	{"\x89PNG\r\n\x1a\n", "a PNG picture"},
	{"\xff\xd8\xff", "a JPEG picture"},
	{"GIF8", "a GIF picture"},
	{"%PDF-", "a PDF document"},
	{"\xff\xfe", utf16}, {"\xfe\xff", utf16},
}

const (
	pickled = "a pickle, which can run code and is not read: convert it to safetensors"
	numpy   = "\x93NUMPY"
	utf16   = "text in UTF-16: save it as UTF-8"
)

// describe says what a file of the given size is that begins with head (all of it, or HeadSize bytes), and how to
// get the right one: "a Git LFS pointer ...: run git lfs pull ...". It is empty where nothing is recognised.
func describe(head []byte, size int64, want Wanted) string {
	if size == 0 {
		return "empty: the download or the copy failed; " + downloadAgain
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	lower := strings.ToLower(string(text[:min(len(text), 64)]))
	switch {
	case strings.HasPrefix(lower, "version https://git-lfs.github.com/") || strings.HasPrefix(lower, "version https://hawser.github.com/"):
		return "a Git LFS pointer, which stands for a file" + pointedSize(text) + ": run git lfs pull where it was cloned, or " + downloadAgain
	case strings.HasPrefix(lower, "/annex/objects/") || strings.HasPrefix(lower, "../") && strings.Contains(string(text), "/annex/objects/"):
		return "a git-annex pointer: run git annex get where it was cloned, or " + downloadAgain
	case strings.HasPrefix(lower, "../") && size < 1024 && bytes.Count(text, []byte("\n")) <= 1:
		return fmt.Sprintf("a link to %s that was copied as text: copy the file that it names", excerpt(text))
	case strings.HasPrefix(lower, "<!doctype html") || strings.HasPrefix(lower, "<html") || strings.HasPrefix(lower, "<head"):
		return "an HTML page, such as a server's page about an error or a login, or the page that shows the file: " + downloadAgain + " (from Hugging Face by /resolve/, not /blob/)"
	case strings.HasPrefix(lower, "<?xml"):
		return "an XML document, such as a server's message about an error: " + downloadAgain
	case allZero(head):
		return "nothing but zeros at its beginning, as a download or a copy that was cut off: " + downloadAgain
	}
	if want == Array && bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return "a zip archive, such as the .npz of np.savez: save one array with np.save"
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.begins)) && (want != Array || m.begins != numpy) {
			return m.what
		}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "a tar archive: unpack it"
	}
	return describeText(text, size, want)
}

// describeText recognises the short texts of servers: an error as JSON, or in plain words.
func describeText(text []byte, size int64, want Wanted) string {
	if size > HeadSize || !printable(text) {
		return ""
	}
	if text := bytes.TrimSpace(text); len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		if message := ErrorBody(text); message != "" {
			return fmt.Sprintf("a server's message about an error, %q: %s", message, downloadAgain)
		}
		if want == JSON {
			return ""
		}
	}
	return fmt.Sprintf("a text of %d bytes, %s: %s", size, excerpt(text), downloadAgain)
}

// ErrorBody is the message of a JSON object that a server sends in place of a file: {"error": "..."} or the like,
// without anything that a configuration has; else "".
func ErrorBody(text []byte) string {
	var body map[string]json.RawMessage
	if json.Unmarshal(text, &body) != nil || len(body) > 8 || body["_class_name"] != nil {
		return ""
	}
	for _, key := range []string{"error", "detail", "message"} {
		raw, ok := body[key]
		if !ok {
			continue
		}
		var message string
		if json.Unmarshal(raw, &message) != nil {
			message = string(raw)
		}
		return shorten(message)
	}
	return ""
}

// pointedSize reads the size that a pointer names.
func pointedSize(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if digits, ok := strings.CutPrefix(strings.TrimSpace(line), "size "); ok {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 {
				return fmt.Sprintf(" of %d bytes", n)
			}
		}
	}
	return ""
}

func allZero(head []byte) bool {
	return len(head) >= 8 && len(bytes.Trim(head, "\x00")) == 0
}

func printable(text []byte) bool {
	if !utf8.Valid(text) {
		return false
	}
	for _, r := range string(text) {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
	}
	return true
}

func excerpt(text []byte) string { return strconv.Quote(shorten(string(text))) }

// shorten is the first line of a text, at most 60 characters of it.
func shorten(s string) string {
	line, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	line = strings.TrimRight(line, "\r")
	if r := []rune(line); len(r) > 60 {
		line, more = string(r[:60]), true
	}
	if more {
		line += " ..."
	}
	return line
}

// Of describes the file at path. It is empty where describe recognises nothing, or the file cannot be read.
func Of(path string, want Wanted) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	head := make([]byte, min(info.Size(), HeadSize))
	if n, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	} else {
		head = head[:n]
	}
	return describe(head, info.Size(), want)
}

// Explain replaces err, the error of reading a file, by one that says what the file is, where that is known.
func Explain(err error, head []byte, size int64, want Wanted) error {
	if err == nil {
		return nil
	}
	if what := describe(head, size, want); what != "" {
		return Error(what)
	}
	return err
}

// Error is the error of a file that is something else than it should be, as describe says.
type Error string

func (e Error) Error() string { return "it is " + string(e) }
