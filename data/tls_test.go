package data

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mirror without TLS is refused before anything is asked of it, and a redirect
// away from TLS is not followed, not even by the user's own client. It is not
// taken for a missing network: the embedded images must not be used instead.
func TestDownloadsUseTLSOnly(t *testing.T) {
	s, files := small(t)
	asked := 0
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Write(files[imagesName])
	}))
	defer open.Close()
	front := newMirror(t, files)
	front.behave = func(n int, w http.ResponseWriter, r *http.Request, _ []byte) bool {
		http.Redirect(w, r, open.URL+"/"+imagesName, http.StatusFound)
		return true
	}
	own := *front.Client()
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	for _, tt := range []struct {
		mirror string
		client *http.Client
		want   string
	}{
		{open.URL, nil, "not https: downloads use TLS only"},
		{front.URL, front.Client(), "it redirects to " + open.URL + "/" + imagesName + ", which is not https"},
		{front.URL, &own, "which is not https"},
	} {
		cache := t.TempDir()
		_, _, err := s.open(context.Background(), Options{CacheDir: cache, Split: Train, Mirrors: []string{tt.mirror}, Client: tt.client})
		wantError(t, err, tt.mirror+"/"+imagesName, tt.want)
		if errors.Is(err, errNoNetwork) {
			t.Errorf("%v is taken for a missing network", err)
		}
		wantOnly(t, cache, files)
	}
	if asked > 0 {
		t.Errorf("%d requests without TLS, want none", asked)
	}
	// A server with an untrusted certificate is refused, too.
	_, _, err := s.open(context.Background(), Options{CacheDir: t.TempDir(), Split: Test, Mirrors: []string{newMirror(t, files).URL}})
	wantError(t, err, "certificate")
	// The next mirror is tried.
	good := newMirror(t, files)
	o := Options{CacheDir: t.TempDir(), Split: Train, Mirrors: []string{open.URL, front.URL, good.URL}, Client: good.Client()}
	if _, from, err := s.open(context.Background(), o); err != nil || !strings.Contains(from, good.URL) {
		t.Errorf("%q, %v", from, err)
	}
}

// No more is written than the file has, whatever a server sends.
func TestNoMoreIsWrittenThanTheFileHas(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		for range 1000 { // without a length
			if _, err := w.Write(bytes.Repeat([]byte{1}, 1<<16)); err != nil {
				return true
			}
			w.(http.Flusher).Flush()
		}
		return true
	}
	cache := t.TempDir()
	_, _, err := download(t, s, cache, m)
	wantError(t, err, "more than the")
	entries, err := os.ReadDir(filepath.Join(cache, MNIST))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Size() > int64(len(files[imagesName])) {
			t.Errorf("%s has %d bytes, want at most %d, %v", e.Name(), st.Size(), len(files[imagesName]), err)
		}
	}
}

// An archive writes its known members into the cache and nothing anywhere else.
func TestAnArchiveWritesNothingOutsideTheCache(t *testing.T) {
	s, _, members := smallCIFAR(t)
	outside := t.TempDir()
	cache := filepath.Join(outside, "a", "cache")
	target := write(t, filepath.Join(outside, "target"), []byte("mine"))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "../../evil", Typeflag: tar.TypeReg, Size: 4},
		{Name: filepath.ToSlash(outside) + "/evil", Typeflag: tar.TypeReg, Size: 4},
		{Name: `..\..\evil`, Typeflag: tar.TypeReg, Size: 4},
		{Name: "x", Typeflag: tar.TypeSymlink, Linkname: outside},
		{Name: "x/evil", Typeflag: tar.TypeReg, Size: 4},
		{Name: "data_batch_1.bin", Typeflag: tar.TypeSymlink, Linkname: target},
		{Name: "data_batch_2.bin.partial", Typeflag: tar.TypeLink, Linkname: target},
		{Name: "data_batch_3.bin", Typeflag: tar.TypeDir},
		{Name: "data_batch_4.bin", Typeflag: tar.TypeFifo},
	} {
		h.Mode = 0o777
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write([]byte("evil"))
		}
	}
	for name, body := range members {
		w.WriteHeader(&tar.Header{Name: "../../" + name, Typeflag: tar.TypeReg, Mode: 0o777, Size: int64(len(body))})
		w.Write(body)
	}
	w.Close()
	packed := gz(b.Bytes())
	s.archive.size, s.archive.sha256 = int64(len(packed)), hexSum(packed)
	m := newMirror(t, map[string][]byte{s.archive.name: packed})
	o := Options{CacheDir: cache, Split: Train, Mirrors: []string{m.URL}, Client: m.Client()}
	if r, _, err := s.open(context.Background(), o); err != nil || r.count() != 10 {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "mine" {
		t.Errorf("a file outside is now %q, %v", b, err)
	}
	err := filepath.WalkDir(outside, func(path string, d fs.DirEntry, err error) error {
		_, known := members[d.Name()]
		if inside := filepath.Dir(path) == filepath.Join(cache, CIFAR10); !d.IsDir() && path != target && (!inside || !known && d.Name() != ".lock") {
			t.Errorf("%s was written", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// A member that is longer than the published file is not unpacked.
	s.files[Train][0].size--
	o.CacheDir = filepath.Join(outside, "b")
	_, _, err = s.open(context.Background(), o)
	wantError(t, err, "data_batch_1.bin", "expected 6145 bytes, found 6146")
}
