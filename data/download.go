package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var (
	// errNoNetwork: not one mirror gave an answer.
	errNoNetwork = errors.New("no network")
	// errNoCache: there is no directory that downloads can be written to.
	errNoCache = errors.New("no place for downloads")
)

const (
	defaultStall = 30 * time.Second
	// maxResumes is how often a transfer that was cut goes on at one mirror; it
	// goes on only where it came further than before.
	maxResumes = 50
)

// downloader fetches published files into a directory.
type downloader struct {
	o       Options
	client  *http.Client
	mirrors []string
	stall   time.Duration
	pause   time.Duration // before a transfer that was cut goes on
	buf     []byte
}

func newDownloader(s *spec, o Options) *downloader {
	d := &downloader{o: o, client: o.Client, mirrors: s.mirrors, stall: o.StallTimeout, pause: 500 * time.Millisecond, buf: make([]byte, 1<<17)}
	if o.Mirrors != nil {
		d.mirrors = o.Mirrors
	}
	if d.stall <= 0 {
		d.stall = defaultStall
	}
	d.pause = min(d.pause, d.stall)
	if d.client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
		d.client = &http.Client{Transport: t}
	}
	d.client = tlsOnly(d.client)
	return d
}

// The ways in which a mirror can fail.
type (
	unreachableError struct{ err error } // no answer at all
	cutError         struct{ err error } // the transfer stopped on the way
	localError       struct{ err error } // the disk, not the mirror
	refusedError     struct{ err error } // a redirect away from TLS, or too many of them
)

func (e unreachableError) Error() string { return e.err.Error() }
func (e cutError) Error() string         { return e.err.Error() }
func (e localError) Error() string       { return e.err.Error() }
func (e unreachableError) Unwrap() error { return e.err }
func (e cutError) Unwrap() error         { return e.err }
func (e localError) Unwrap() error       { return e.err }
func (e refusedError) Error() string     { return e.err.Error() }
func (e refusedError) Unwrap() error     { return e.err }

// file downloads f into dir. It returns what fetch does.
func (d *downloader) file(ctx context.Context, dir string, f file) (string, error) {
	final := filepath.Join(dir, f.name)
	from, err := d.fetch(ctx, final+".partial", f)
	if err != nil {
		return "", err
	}
	return from, publish(final+".partial", final)
}

// publish gives a finished file its name.
func publish(partial, final string) error {
	if err := os.Rename(partial, final); err != nil {
		return err
	}
	// The name lasts only when the directory is on the disk, too; not every
	// system can sync one.
	if dir, err := os.Open(filepath.Dir(final)); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	return nil
}

// downloaded is where files that were fetched into dir came from, in words;
// url is empty where only an earlier run knows it.
func downloaded(url, dir string) string {
	if url == "" {
		return "earlier download to " + dir
	}
	return "download " + url + " to " + dir
}

// archive downloads the dataset's archive and unpacks the files of all splits.
// What was downloaded is kept until all of them are unpacked: an attempt that
// fails here must not cost a second transfer.
func (d *downloader) archive(ctx context.Context, dir string, s *spec) (string, error) {
	path := filepath.Join(dir, s.archive.name)
	from := "archive " + path
	fetched := false
	if _, err := os.Stat(path); err != nil {
		path += ".partial"
		url, err := d.fetch(ctx, path, *s.archive)
		if err != nil {
			return "", err
		}
		from, fetched = downloaded(url, dir), true
	}
	if err := unpackArchive(ctx, dir, path, slices.Concat(s.files[Train], s.files[Test])); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", s.archive.name, err)
	}
	if fetched {
		os.Remove(path)
	}
	return from, nil
}

// unpackArchive writes files from an archive into dir, under their own names.
func unpackArchive(ctx context.Context, dir, archive string, files []file) error {
	in, err := openInput(ctx, archive)
	if err != nil {
		return err
	}
	defer in.Close()
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	return walkArchive(in, names, func(i int, size int64, in *input) error {
		if size != files[i].size {
			return &FileError{Path: in.path, Want: fmt.Sprintf("%d bytes", files[i].size), Got: fmt.Sprintf("%d", size)}
		}
		return unpack(filepath.Join(dir, names[i]), files[i], in)
	})
}

// unpack writes a member of an archive to path, once its SHA-256 is right.
func unpack(path string, f file, in *input) error {
	out, err := os.Create(path + ".partial")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, h), io.LimitReader(in.r, f.size)); err != nil {
		return in.readError(fmt.Sprintf("%d bytes", f.size), 0, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != f.sha256 {
		return &FileError{Path: in.path, Want: "SHA-256 " + f.sha256, Got: sum}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return err
	}
	return publish(out.Name(), path)
}

// partialFile is a download on its way. It is written by offset: where a server
// begins anew, what is already there is written once more.
type partialFile struct{ *os.File }

func (p partialFile) size() int64 {
	st, err := p.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// reset begins anew.
func (p partialFile) reset() error {
	if err := p.Truncate(0); err != nil {
		return localError{err}
	}
	return nil
}

func (p partialFile) sum() (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(p, 0, p.size()))
	return hex.EncodeToString(h.Sum(nil)), err
}

// fetch downloads f to the file partial, which it goes on with where it exists,
// and checks its SHA-256. The mirrors are tried in order. It returns the URL
// that the file came from, or "" where it was complete already.
func (d *downloader) fetch(ctx context.Context, partial string, f file) (string, error) {
	out, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", err
	}
	defer out.Close()
	p := partialFile{out}
	if n := p.size(); n >= f.size {
		if sum, err := p.sum(); err == nil && sum == f.sha256 {
			return "", nil
		}
		if err := p.reset(); err != nil {
			return "", err
		}
	}
	var failures []string
	reached := false
	for _, m := range d.mirrors {
		from := strings.TrimSuffix(m, "/") + "/" + f.name
		err := d.fromMirror(ctx, p, from, f)
		if err == nil {
			return from, nil
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("downloading %s: %w", f.name, ctx.Err())
		}
		var local localError
		if errors.As(err, &local) {
			return "", fmt.Errorf("downloading %s to %s: %w", f.name, filepath.Dir(partial), err)
		}
		var un unreachableError
		reached = reached || !errors.As(err, &un)
		failures = append(failures, fmt.Sprintf("%s: %v", from, err))
	}
	kept := ""
	if n := p.size(); n > 0 {
		kept = fmt.Sprintf("; %d of %d bytes are kept, the next attempt goes on from there", n, f.size)
	} else {
		p.Close()
		os.Remove(partial)
	}
	if !reached {
		return "", fmt.Errorf("%w to download %s (%s)%s%s", errNoNetwork, f.name, strings.Join(failures, "; "), kept, byHand)
	}
	return "", fmt.Errorf("downloading %s failed at every mirror (%s)%s%s",
		f.name, strings.Join(failures, "; "), kept, byHand)
}

// fromMirror completes p from one mirror.
func (d *downloader) fromMirror(ctx context.Context, p partialFile, from string, f file) error {
	best, anew := p.size(), false
	for resumes := 0; ; resumes++ {
		resumed := p.size() > 0
		err := d.get(ctx, p, from, f)
		if err == nil {
			sum, err := p.sum()
			if err != nil {
				return localError{err}
			}
			if sum == f.sha256 {
				return nil
			}
			if err := p.reset(); err != nil {
				return err
			}
			// The first part may be to blame: it can stem from elsewhere.
			if resumed && !anew {
				anew, best = true, 0
				continue
			}
			return fmt.Errorf("it sent a wrong file: SHA-256 %s, expected %s", sum, f.sha256)
		}
		var un unreachableError
		if resumes > 0 && errors.As(err, &un) {
			return un.err // it answered before: there is a network
		}
		var cut cutError
		if !errors.As(err, &cut) || p.size() <= best || resumes == maxResumes {
			return err
		}
		best = p.size()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d.pause):
		}
	}
}

// get is one request: it adds what is missing to p.
func (d *downloader) get(ctx context.Context, p partialFile, from string, f file) error {
	stalled := fmt.Errorf("no byte for %v", d.stall)
	reqCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(d.stall, func() { cancel(stalled) })
	defer watch.Stop()

	have := p.size()
	resp, err := d.request(reqCtx, from, have)
	if err != nil {
		var refused refusedError
		switch {
		case context.Cause(reqCtx) == stalled:
			err = stalled
		case errors.As(err, &refused):
			return err // there is a network
		}
		return unreachableError{err}
	}
	defer resp.Body.Close()
	off, err := offset(resp, have)
	if err != nil {
		return err
	}
	if off < 0 {
		if err := p.reset(); err != nil {
			return err
		}
		return d.get(ctx, p, from, f)
	}
	if n := resp.ContentLength; n >= 0 && off+n != f.size {
		return fmt.Errorf("it has a file of %d bytes, expected %d", off+n, f.size)
	}
	report := newReporter(&d.o, "downloading "+f.name+" from "+resp.Request.URL.Host, "bytes", f.size)
	report.at(off)
	for {
		n, err := resp.Body.Read(d.buf)
		watch.Reset(d.stall)
		if off+int64(n) > f.size {
			return fmt.Errorf("it sends more than the %d bytes expected", f.size)
		}
		if n > 0 {
			if _, err := p.WriteAt(d.buf[:n], off); err != nil {
				return localError{err}
			}
			off += int64(n)
			report.at(off)
		}
		switch {
		case err == nil:
		case err == io.EOF && off == f.size:
			if err := p.Sync(); err != nil {
				return localError{err}
			}
			return nil
		case context.Cause(reqCtx) == stalled:
			return cutError{fmt.Errorf("%w after %d of %d bytes", stalled, off, f.size)}
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF:
			return cutError{fmt.Errorf("the transfer ended after %d of %d bytes", off, f.size)}
		default:
			return cutError{fmt.Errorf("the transfer broke off after %d of %d bytes: %w", off, f.size, err)}
		}
	}
}

func (d *downloader) request(ctx context.Context, from string, have int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme != "https" {
		return nil, refusedError{errors.New("not https: downloads use TLS only")}
	}
	// The file as it is: its own gzip must not be undone on the way.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "unstir")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := d.client.Do(req)
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which the caller names
	}
	return resp, err
}

// offset is where the answer's first byte belongs, or -1 where the server has
// nothing behind the have bytes that are there.
func offset(resp *http.Response, have int64) (int64, error) {
	switch {
	case resp.StatusCode == http.StatusOK: // the whole file, whether a range was asked for or not
		return 0, nil
	case resp.StatusCode == http.StatusPartialContent && have > 0:
		var first int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first < 0 || first > have {
			return 0, fmt.Errorf("it answered with the range %q, asked for bytes from %d", resp.Header.Get("Content-Range"), have)
		}
		return first, nil
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && have > 0:
		return -1, nil
	}
	return 0, fmt.Errorf("it answered %s", resp.Status)
}
