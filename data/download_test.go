package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mirror serves files as a well-behaved server does, until behave says
// otherwise.
type mirror struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string][]byte
	requests []string // "name" or "name bytes=N-"
	// behave may answer request number n (from 0) itself.
	behave func(n int, w http.ResponseWriter, r *http.Request, body []byte) (handled bool)
}

func newMirror(t *testing.T, files map[string][]byte) *mirror {
	m := &mirror{files: files}
	m.Server = httptest.NewTLSServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) serve(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	m.mu.Lock()
	n := len(m.requests)
	m.requests = append(m.requests, strings.TrimSpace(name+" "+r.Header.Get("Range")))
	body, ok := m.files[name]
	m.mu.Unlock()
	if m.behave != nil && m.behave(n, w, r, body) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}

func (m *mirror) log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.requests...)
}

// cut sends the first n bytes of the answer and then drops the connection.
func cut(w http.ResponseWriter, body []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

const imagesName, labelsName = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"

// download opens the small MNIST from the mirrors.
func download(t *testing.T, s *spec, cache string, mirrors ...*mirror) (*rawSet, string, error) {
	t.Helper()
	o := Options{CacheDir: cache, Split: Train, Mirrors: []string{}}
	for _, m := range mirrors {
		o.Mirrors, o.Client = append(o.Mirrors, m.URL+"/data/"), m.Client() // which trusts every such server
	}
	return s.open(context.Background(), o)
}

// wantOnly fails unless the cache holds these files and nothing else.
func wantOnly(t *testing.T, cache string, files map[string][]byte, names ...string) {
	t.Helper()
	dir, err := os.ReadDir(filepath.Join(cache, MNIST))
	if err != nil {
		t.Fatal(err)
	}
	dir = slices.DeleteFunc(dir, func(e os.DirEntry) bool { return e.Name() == ".lock" })
	if len(dir) != len(names) {
		t.Errorf("cache holds %v, want %v", dir, names)
	}
	for _, n := range names {
		if b, err := os.ReadFile(filepath.Join(cache, MNIST, n)); err != nil || !bytes.Equal(b, files[n]) {
			t.Errorf("%s in the cache is not what the mirror has (%v)", n, err)
		}
	}
}

func TestDownloadFillsTheCacheOnce(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	cache := t.TempDir()
	r, from, err := download(t, s, cache, m)
	if err != nil || r.count() != 400 {
		t.Fatal(err)
	}
	if !strings.Contains(from, m.URL+"/data/"+imagesName) {
		t.Errorf("source %q does not name the mirror", from)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
	if _, from, err = download(t, s, cache, m); err != nil || !strings.HasPrefix(from, "cache") {
		t.Fatalf("%q, %v", from, err)
	}
	if got := m.log(); len(got) != 2 {
		t.Errorf("requests %q, want each file once", got)
	}
	// Of a half-filled cache only what is missing is fetched.
	os.Remove(filepath.Join(cache, MNIST, labelsName))
	if _, _, err = download(t, s, cache, m); err != nil {
		t.Fatal(err)
	}
	if got := m.log(); len(got) != 3 || got[2] != labelsName {
		t.Errorf("requests %q, want the labels once more", got)
	}
}

func TestDownloadReportsProgress(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	var seen []Progress
	_, _, err := s.open(context.Background(), Options{CacheDir: t.TempDir(), Split: Train, Mirrors: []string{m.URL}, Client: m.Client(),
		Progress: func(p Progress) { seen = append(seen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]Progress{}
	for _, p := range seen {
		if p.Done < last[p.What].Done || p.Done > p.Total || p.Unit != "bytes" {
			t.Errorf("%+v after %+v", p, last[p.What])
		}
		last[p.What] = p
	}
	if len(last) != 2 {
		t.Errorf("progress of %d files, want 2", len(last))
	}
	for what, p := range last {
		if p.Done != p.Total || !strings.Contains(what, "-ubyte.gz from 127.0.0.1") {
			t.Errorf("%s ends at %d of %d", what, p.Done, p.Total)
		}
	}
}

func TestATransferThatIsCutGoesOnByRange(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		if n == 0 {
			cut(w, body, 100)
		}
		return false
	}
	cache := t.TempDir()
	if _, _, err := download(t, s, cache, m); err != nil {
		t.Fatal(err)
	}
	if got := m.log(); len(got) != 3 || got[1] != imagesName+" bytes=100-" {
		t.Errorf("requests %q, want the second from byte 100", got)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
}

func TestAServerThatIgnoresRangeIsReadFromTheStart(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		if n == 0 {
			cut(w, body, 100)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body)
		return true
	}
	cache := t.TempDir()
	if _, _, err := download(t, s, cache, m); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
}

// A server that ends every transfer early without saying how long the file is.
func TestATransferThatGetsNoFurtherEnds(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		w.Write(body[:100])
		w.(http.Flusher).Flush() // chunked, without a length
		return true
	}
	cache := t.TempDir()
	_, _, err := download(t, s, cache, m)
	wantError(t, err, m.URL+"/data/"+imagesName, "ended after 100 of", "100 of", "are kept")
	if got := m.log(); len(got) != 2 {
		t.Errorf("requests %q, want two: the second brought nothing new", got)
	}
	if _, err := os.Stat(filepath.Join(cache, MNIST, imagesName)); err == nil {
		t.Error("a half file has the final name")
	}
	// The next attempt goes on, at another mirror.
	good := newMirror(t, files)
	if _, _, err := download(t, s, cache, good); err != nil {
		t.Fatal(err)
	}
	if got := good.log(); got[0] != imagesName+" bytes=100-" {
		t.Errorf("requests %q, want the first from byte 100", got)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
}

func TestACorruptMirrorIsNamedAndTheNextOneTried(t *testing.T) {
	s, files := small(t)
	wrong := map[string][]byte{}
	for n, b := range files {
		wrong[n] = bytes.Clone(b)
		wrong[n][len(b)/2] ^= 1
	}
	bad, good := newMirror(t, wrong), newMirror(t, files)
	cache := t.TempDir()
	if _, _, err := download(t, s, cache, bad, good); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, cache, files, imagesName, labelsName)

	// Alone it is an error, and never the embedded set.
	cache = t.TempDir()
	gone := newMirror(t, files)
	gone.Close()
	for _, mirrors := range [][]*mirror{{bad}, {gone, bad}, {bad, gone}} {
		_, _, err := download(t, s, cache, mirrors...)
		wantError(t, err, bad.URL+"/data/"+imagesName, "wrong file", "SHA-256 "+hexSum(wrong[imagesName]), "expected "+hexSum(files[imagesName]))
		wantOnly(t, cache, files)
	}
}

// The first part of a file that was left by an earlier run may be wrong.
func TestAWrongFirstPartIsFetchedAnew(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	cache := t.TempDir()
	partial := filepath.Join(cache, MNIST, imagesName+".partial")
	for _, left := range [][]byte{make([]byte, 100), make([]byte, len(files[imagesName])), make([]byte, len(files[imagesName])+5)} {
		write(t, partial, left)
		if _, _, err := download(t, s, cache, m); err != nil {
			t.Fatal(err)
		}
		wantOnly(t, cache, files, imagesName, labelsName)
		os.Remove(filepath.Join(cache, MNIST, imagesName))
	}
	// One that is whole needs no request.
	before := len(m.log())
	write(t, partial, files[imagesName])
	if _, _, err := download(t, s, cache, m); err != nil || len(m.log()) != before {
		t.Errorf("%d requests, %v", len(m.log())-before, err)
	}
}

func TestAnswersThatAreNoFile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		behave func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool
		parts  []string
	}{
		{"not found", func(n int, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.NotFound(w, r)
			return true
		}, []string{"404 Not Found"}},
		{"server error", func(n int, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}, []string{"503 Service Unavailable"}},
		{"login page", func(n int, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			io.WriteString(w, "<html>Please log in</html>")
			return true
		}, []string{"a file of 26 bytes, expected"}},
		{"endless", func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
			for range 100 {
				w.Write(body)
				w.(http.Flusher).Flush()
			}
			return true
		}, []string{"more than the"}},
		{"redirected in a circle", func(n int, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, []string{"redirects"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, files := small(t)
			s.embedded = false
			m := newMirror(t, files)
			m.behave = tt.behave
			_, _, err := download(t, s, t.TempDir(), m)
			wantError(t, err, append(tt.parts, m.URL+"/data/"+imagesName)...)
		})
	}
}

func TestAWrongRangeInTheAnswer(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		if n == 0 {
			cut(w, body, 100)
		}
		w.Header().Set("Content-Range", "bytes 200-300/1000")
		w.WriteHeader(http.StatusPartialContent)
		return true
	}
	_, _, err := download(t, s, t.TempDir(), m)
	wantError(t, err, `range "bytes 200-300/1000"`, "from 100")
	// 416 for a part that the server does not have: from the start.
	again := newMirror(t, files)
	again.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		switch {
		case n == 0:
			cut(w, body, 100)
		case r.Header.Get("Range") != "":
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}
		return false
	}
	cache := t.TempDir()
	if _, _, err := download(t, s, cache, again); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
}

func TestRedirectsAreFollowed(t *testing.T) {
	s, files := small(t)
	real := newMirror(t, files)
	front := newMirror(t, files)
	front.behave = func(n int, w http.ResponseWriter, r *http.Request, _ []byte) bool {
		http.Redirect(w, r, real.URL+"/elsewhere/"+path.Base(r.URL.Path), http.StatusMovedPermanently)
		return true
	}
	cache := t.TempDir()
	if _, _, err := download(t, s, cache, front); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
}

func TestAServerThatStallsIsLeft(t *testing.T) {
	s, files := small(t)
	s.embedded = false
	m := newMirror(t, files)
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		if n == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:100])
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		return true
	}
	o := Options{CacheDir: t.TempDir(), Split: Train, Mirrors: []string{m.URL}, Client: m.Client(), StallTimeout: 50 * time.Millisecond}
	_, _, err := s.open(context.Background(), o)
	wantError(t, err, m.URL, "no byte for 50ms")
}

// roundTrip is a network in a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stallingBody gives its bytes and then none, until the request is cancelled.
type stallingBody struct {
	io.Reader
	ctx context.Context
}

func (b stallingBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (stallingBody) Close() error { return nil }

func TestAStallIsWaitedForAsLongAsItSays(t *testing.T) {
	s, files := small(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var hosts []string
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			body := files[path.Base(r.URL.Path)]
			resp := &http.Response{StatusCode: 200, Request: r, ContentLength: int64(len(body)), Header: http.Header{}}
			switch r.URL.Host {
			case "silent":
				<-r.Context().Done()
				return nil, r.Context().Err()
			case "stalls":
				resp.Body = stallingBody{bytes.NewReader(body[:min(50, len(body))]), r.Context()}
			default:
				resp.Body = io.NopCloser(bytes.NewReader(body))
			}
			return resp, nil
		})}
		began := time.Now()
		o := Options{CacheDir: dir, Split: Train, Client: client, Mirrors: []string{"https://silent", "https://stalls", "https://good"}}
		if _, _, err := s.open(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		// Per file: 30 s for an answer; 30 s after the first 50 bytes, half a
		// second, 30 s after the same 50 bytes; then the third mirror.
		if took, want := time.Since(began), 2*(90*time.Second+500*time.Millisecond); took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if want := "silent stalls stalls good silent stalls stalls good"; strings.Join(hosts, " ") != want {
			t.Errorf("hosts %v, want %s", hosts, want)
		}
	})
}

// slowBody gives ten bytes every 20 seconds.
type slowBody struct {
	io.Reader
	ctx context.Context
}

func (b slowBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(20 * time.Second):
		return b.Reader.Read(p[:10])
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (slowBody) Close() error { return nil }

func TestASlowTransferIsNoStall(t *testing.T) {
	s, files := small(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			n++
			body := files[path.Base(r.URL.Path)]
			return &http.Response{StatusCode: 200, Request: r, ContentLength: int64(len(body)), Header: http.Header{},
				Body: slowBody{bytes.NewReader(body), r.Context()}}, nil
		})}
		o := Options{CacheDir: dir, Split: Train, Client: client, Mirrors: []string{"https://slow"}}
		if _, _, err := s.open(context.Background(), o); err != nil || n != 2 {
			t.Errorf("%d requests, %v", n, err)
		}
	})
}

// A server that answers once and is silent afterwards is no missing network:
// the embedded set must not stand in.
func TestAMirrorThatFallsSilentIsAnError(t *testing.T) {
	s, files := small(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if n++; n > 1 {
				return nil, errors.New("connection refused")
			}
			body := files[imagesName]
			return &http.Response{StatusCode: 200, Request: r, ContentLength: int64(len(body)), Header: http.Header{},
				Body: stallingBody{bytes.NewReader(body[:50]), r.Context()}}, nil
		})}
		o := Options{CacheDir: dir, Split: Train, Client: client, Mirrors: []string{"https://m"}}
		_, _, err := s.open(context.Background(), o)
		wantError(t, err, "https://m/"+imagesName, "connection refused", "50 of", "are kept")
	})
}

func TestCancellingKeepsWhatWasDownloaded(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	ctx, cancel := context.WithCancel(context.Background())
	m.behave = func(n int, w http.ResponseWriter, r *http.Request, body []byte) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:100])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	cache := t.TempDir()
	o := Options{CacheDir: cache, Split: Train, Mirrors: []string{m.URL}, Client: m.Client(), Progress: func(p Progress) {
		if p.Done == 100 {
			cancel()
		}
	}}
	_, _, err := s.open(ctx, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want context canceled", err)
	}
	st, err := os.Stat(filepath.Join(cache, MNIST, imagesName+".partial"))
	if err != nil || st.Size() != 100 {
		t.Errorf("%v, %v: want 100 bytes kept", st, err)
	}
}

// Two programs that begin at once share the cache.
func TestDownloadsAtTheSameTime(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if r, _, err := download(t, s, cache, m); err != nil || r.count() != 400 {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantOnly(t, cache, files, imagesName, labelsName)
	if got := m.log(); len(got) != 2 {
		t.Errorf("requests %q, want each file once", got)
	}
}

func TestWaitingForAnotherDownloadStopsWithTheContext(t *testing.T) {
	s, _ := small(t)
	cache := t.TempDir()
	var o Options
	write(t, filepath.Join(cache, MNIST, "x"), nil)
	unlock, err := lockDir(context.Background(), filepath.Join(cache, MNIST), &o)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(context.Background())
	log := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "waiting for another download") {
			cancel()
		}
		return len(p), nil
	})
	if _, _, err := s.open(ctx, Options{CacheDir: cache, Split: Train, Log: log}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context canceled", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// smallCIFAR is the CIFAR-10 of the tests: a spec with the checksums of its
// archive and of the archive's members.
func smallCIFAR(t testing.TB) (s *spec, packed []byte, members map[string][]byte) {
	t.Helper()
	members = cifarDir(t, t.TempDir())
	packed = tarGz(members, cifarOrder...)
	c := *catalog[CIFAR10]
	c.archive = &file{name: c.archive.name, size: int64(len(packed)), sha256: hexSum(packed)}
	c.files = map[Split][]file{}
	for split, list := range catalog[CIFAR10].files {
		for _, f := range list {
			f.size, f.sha256 = int64(len(members[f.name])), hexSum(members[f.name])
			c.files[split] = append(c.files[split], f)
		}
	}
	return &c, packed, members
}

func TestADownloadedArchiveIsUnpackedAndChecked(t *testing.T) {
	s, packed, members := smallCIFAR(t)
	m := newMirror(t, map[string][]byte{s.archive.name: packed})
	cache := t.TempDir()
	o := Options{CacheDir: cache, Split: Train, Mirrors: []string{m.URL}, Client: m.Client()}
	r, _, err := s.open(context.Background(), o)
	if err != nil || r.count() != 10 {
		t.Fatal(err)
	}
	o.Split = Test
	if r, _, err = s.open(context.Background(), o); err != nil || r.count() != 3 {
		t.Fatal(err)
	}
	if got := m.log(); len(got) != 1 {
		t.Errorf("requests %q, want one for both splits", got)
	}
	left, _ := filepath.Glob(filepath.Join(cache, CIFAR10, "*t*"))
	if len(left) != 6 {
		t.Errorf("cache holds %v, want the six files", left)
	}

	// A member that is not the published one never gets its name.
	s.files[Train][2].sha256 = hexSum(nil)
	o = Options{CacheDir: t.TempDir(), Split: Train, Mirrors: []string{m.URL}, Client: m.Client()}
	_, _, err = s.open(context.Background(), o)
	wantError(t, err, "data_batch_3.bin", "SHA-256 "+hexSum(nil), hexSum(members["data_batch_3.bin"]))
	if _, err := os.Stat(filepath.Join(o.CacheDir, CIFAR10, "data_batch_3.bin")); err == nil {
		t.Error("a wrong member has the final name")
	}
	// An archive that a user put into the cache is used and kept.
	s.files[Train][2].sha256 = hexSum(members["data_batch_3.bin"])
	o = Options{CacheDir: t.TempDir(), Split: Train, Mirrors: []string{}}
	own := write(t, filepath.Join(o.CacheDir, CIFAR10, s.archive.name), packed)
	if _, _, err = s.open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
}

// Unpacking that fails, as on a full disk, costs no second transfer.
func TestADownloadIsKeptUntilItIsUnpacked(t *testing.T) {
	s, packed, _ := smallCIFAR(t)
	m := newMirror(t, map[string][]byte{s.archive.name: packed})
	o := Options{CacheDir: t.TempDir(), Split: Train, Mirrors: []string{m.URL}, Client: m.Client()}
	dir := filepath.Join(o.CacheDir, CIFAR10)
	obstacle := filepath.Join(dir, "data_batch_3.bin.partial") // a directory where a file is to be written
	if err := os.MkdirAll(obstacle, 0o755); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.open(context.Background(), o)
	wantError(t, err, "unpacking "+s.archive.name, obstacle)
	partial := filepath.Join(dir, s.archive.name+".partial")
	if b, err := os.ReadFile(partial); err != nil || !bytes.Equal(b, packed) {
		t.Fatalf("%d bytes, %v: want the whole archive kept", len(b), err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	r, from, err := s.open(context.Background(), o)
	if err != nil || r.count() != 10 {
		t.Fatal(err)
	}
	if want := "earlier download to " + dir; from != want {
		t.Errorf("source %q, want %q", from, want)
	}
	if got := m.log(); len(got) != 1 {
		t.Errorf("requests %q, want one", got)
	}
	if _, err := os.Stat(partial); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: the archive is still there after it was unpacked", err)
	}
}

// A file that was complete but had not got its name yet is used as it is.
func TestTheSourceNamesAMirrorThatWasAsked(t *testing.T) {
	s, files := small(t)
	m := newMirror(t, files)
	cache := t.TempDir()
	write(t, filepath.Join(cache, MNIST, imagesName+".partial"), files[imagesName])
	_, from, err := download(t, s, cache, m)
	if want := "download " + m.URL + "/data/" + labelsName + " to " + filepath.Join(cache, MNIST); err != nil || from != want {
		t.Errorf("source %q (%v), want %q", from, err, want)
	}
	wantOnly(t, cache, files, imagesName, labelsName)
}
