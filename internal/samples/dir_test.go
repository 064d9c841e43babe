package samples

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"unstir/internal/atomicfile"
	"unstir/internal/dirlock"
	"unstir/internal/images"
)

func testManifest(n int) Manifest {
	return Manifest{
		Format: Format, N: n,
		Settings: Settings{
			Model: "0123456789abcdef", Channels: 1, Rows: 5, Columns: 6, TrainTimesteps: 20, Sampler: "ddim", Steps: 4,
			Spacing: "leading", Pairing: "stride", Eta: "0", Clip: "static", Seed: 1<<64 - 1, Labels: []int{0, 1, 2}, Timesteps: []int{15, 10, 5, 0},
		},
		Origin: Origin{Program: "unstir v1", Kernels: "avx2", Model: "runs/a", Weights: "ema"},
		Texts:  [][2]string{{"model", "runs/a"}, {"seed", "7"}, {"label", "Käse <&>"}},
	}
}

// picture is image i.
func picture(i int) image.Image {
	m := image.NewGray(image.Rect(0, 0, 6, 5))
	for p := range m.Pix {
		m.Pix[p] = uint8(7*p + i)
	}
	return m
}

func mustOpen(t *testing.T, path string, want Manifest) *Dir {
	t.Helper()
	d, err := Open(path, want)
	if err == nil && len(d.Missing()) > 0 {
		err = d.Begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func mustWrite(t *testing.T, d *Dir, numbers ...int) {
	t.Helper()
	for _, i := range numbers {
		if err := d.Write(i, picture(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// whole makes a finished set and returns its directory.
func whole(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "set")
	d := mustOpen(t, path, testManifest(n))
	mustWrite(t, d, d.Missing()...)
	if err := errors.Join(d.Finish(), d.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// contents is every file below a directory but the lock, by slashed path.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(path), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name == ".lock" {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, name))
		all[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
}

// wantConflict checks that a directory is refused in one line with these words, and left as it is.
func wantConflict(t *testing.T, path string, want Manifest, words ...string) {
	t.Helper()
	before := contents(t, path)
	d, err := Open(path, want)
	if err == nil {
		err = d.Begin()
		d.Close()
	}
	var c *ConflictError
	if !errors.As(err, &c) {
		t.Errorf("error %v, want a conflict with %q", err, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want one line with %q", err, w)
		}
	}
	if after := contents(t, path); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v: the directory was changed", err)
	}
}

// A set that is cut anywhere is finished by what is missing, to the bytes of one that was not; then there is nothing
// to do, and it is not even locked.
func TestACutSetIsFinished(t *testing.T) {
	want := contents(t, whole(t, 9))
	path := filepath.Join(t.TempDir(), "new", "set")
	for _, part := range [][]int{{}, {0, 1, 2}, {7, 4}, {8}} {
		d := mustOpen(t, path, testManifest(9))
		for _, i := range part {
			if !slices.Contains(d.Missing(), i) {
				t.Errorf("image %d is not missing: %v are", i, d.Missing())
			}
		}
		mustWrite(t, d, part...)
		d.Close()
	}
	d := mustOpen(t, path, testManifest(9))
	if !slices.Equal(d.Missing(), []int{3, 5, 6}) || len(d.Notes) > 0 {
		t.Errorf("missing %v, notes %q", d.Missing(), d.Notes)
	}
	mustWrite(t, d, d.Missing()...)
	if err := errors.Join(d.Finish(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, path); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("the set differs from one that was not cut")
	}
	for range 2 { // neither of which keeps the other out
		if d := mustOpen(t, path, testManifest(9)); len(d.Missing()) > 0 || d.lock != nil {
			t.Errorf("a finished set lacks %v", d.Missing())
		}
	}
}

// samples.json is there before the first image, and while an image is written no name that ends in .png is new.
func TestOutsideToolsSeeWholeImagesOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	d := mustOpen(t, path, testManifest(3))
	if got := contents(t, path); len(got) != 1 || got[ManifestName] == "" {
		t.Errorf("before the first image there are %v", got)
	}
	writing := 0
	d.write = func(file string, fill func(io.Writer) error) error {
		return atomicfile.WriteUnsynced(file, func(w io.Writer) error {
			if err := fill(w); err != nil {
				return err
			}
			pngs := 0
			for name := range contents(t, path) {
				if strings.EqualFold(filepath.Ext(name), ".png") {
					pngs++
				}
			}
			if pngs != writing {
				t.Errorf("while image %d is written there are %d files *.png", writing, pngs)
			}
			writing++
			return nil
		})
	}
	mustWrite(t, d, 0, 1, 2)
	if writing != 3 {
		t.Errorf("%d images were looked at", writing)
	}
}

// Every setting matters: a set with another one is refused by the name of the first that differs.
func TestOtherSettingsAreRefused(t *testing.T) {
	path := whole(t, 3)
	for words, change := range map[string]func(*Manifest){
		"steps = 4, this command has 5":                func(m *Manifest) { m.Settings.Steps = 5 },
		"sampler = ddim, this command has ddpm":        func(m *Manifest) { m.Settings.Sampler, m.Settings.Steps = "ddpm", 20 },
		"seed = 18446744073709551615, this command":    func(m *Manifest) { m.Settings.Seed = 3 },
		"x_T = none, this command has abc":             func(m *Manifest) { m.Settings.XT = "abc" },
		"labels = 0 1 2, this command has 3":           func(m *Manifest) { m.Settings.Labels = []int{3} },
		"rederive_eps = false, this command has true":  func(m *Manifest) { m.Settings.RederiveEps = true },
		"timesteps = 15 10 5 0, this command has none": func(m *Manifest) { m.Settings.Timesteps = nil },
		"another model, runs/a (weights: ema, SHA-256 0123456789ab): this one is runs/b (weights: ema, SHA-256 f)": func(m *Manifest) { m.Settings.Model, m.Origin.Model = "f", "runs/b" },
		"to have 3 images, this command asks for 2: give --n 3 or more":                                            func(m *Manifest) { m.N = 2 },
	} {
		m := testManifest(3)
		change(&m)
		wantConflict(t, path, m, words)
	}
	m := testManifest(3)
	m.Origin = Origin{"unstir v2", "generic", "elsewhere", "as stored"} // which change nothing but rounding
	if d := mustOpen(t, path, m); len(d.Missing()) > 0 || len(d.Notes) > 0 {
		t.Errorf("missing %v, notes %q", d.Missing(), d.Notes)
	}
}

// More images extend a set, finished or not. samples.json says so before the first of them, and keeps its beginning.
func TestMoreImagesExtendTheSet(t *testing.T) {
	path := whole(t, 3)
	m := testManifest(5)
	m.Origin, m.Texts = Origin{"unstir v2", "generic", "elsewhere", "as stored"}, nil
	d := mustOpen(t, path, m)
	if !slices.Equal(d.Missing(), []int{3, 4}) || len(d.Notes) != 2 ||
		!strings.Contains(d.Notes[0], "avx2 and goes on with generic") || !strings.Contains(d.Notes[1], "unstir v1 and goes on with unstir v2") {
		t.Errorf("missing %v, notes %q", d.Missing(), d.Notes)
	}
	got, err := ReadManifest(path)
	if err != nil || string(got.encode()) != string(testManifest(5).encode()) {
		t.Errorf("samples.json is not the old one with n = 5: %v\n%s", err, got.encode())
	}
	mustWrite(t, d, 3)
	d.Close()
	png, err := os.ReadFile(filepath.Join(path, Name(3)))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := images.ReadText(bytes.NewReader(png))
	if err != nil || texts[0].Value != "unstir v2" || texts[1].Value != "runs/a" || texts[4] != (images.Text{Key: "image", Value: "3"}) {
		t.Errorf("the texts are %q, %v: want the program that made it, and the set's", texts, err)
	}
	wantConflict(t, path, testManifest(3), "it is to have 5 images") // though 4 are there
	if d := mustOpen(t, path, testManifest(5)); !slices.Equal(d.Missing(), []int{4}) {
		t.Errorf("missing %v, want 4: parts may be made by two versions", d.Missing())
	}
}

// An image that a power cut left empty, zeroed or cut at any byte is made again; a flipped bit is never taken for a
// whole image.
func TestDamagedImagesAreMadeAgain(t *testing.T) {
	path := whole(t, 4)
	want := contents(t, path)
	good := want[Name(2)]
	m := testManifest(4)
	for n := range len(good) {
		put(t, filepath.Join(path, Name(2)), good[:n])
		if ok, err := m.check(path, 2); ok || err != nil {
			t.Fatalf("the first %d bytes of %d: %v, %v", n, len(good), ok, err)
		}
		put(t, filepath.Join(path, Name(2)), good[:n]+string([]byte{good[n] ^ 1})+good[n+1:])
		if ok, _ := m.check(path, 2); ok {
			t.Fatalf("a flipped bit of byte %d of %d is not seen", n, len(good))
		}
	}
	put(t, filepath.Join(path, Name(0)), "")
	put(t, filepath.Join(path, Name(2)), good[:len(good)/2])
	put(t, filepath.Join(path, Name(3)), strings.Repeat("\x00", 100))
	d := mustOpen(t, path, m)
	if !slices.Equal(d.Missing(), []int{0, 2, 3}) || !slices.Equal(d.Notes, []string{"00000.png, 00002.png and 1 more are damaged and made again"}) {
		t.Errorf("missing %v, notes %q", d.Missing(), d.Notes)
	}
	mustWrite(t, d, d.Missing()...)
	if got := contents(t, path); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("the set differs from one that was not damaged")
	}
}

// Pictures that are not the set's are never replaced, and never counted.
func TestOtherPicturesAreRefused(t *testing.T) {
	encode := func(m image.Image, texts ...images.Text) string {
		var b bytes.Buffer
		if err := images.EncodePNG(&b, m, texts); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	user := encode(picture(0))
	for _, c := range []struct{ name, data, words string }{
		{"cat.png", user, "it has cat.png, which is not one of the 3 samples"},
		{"00003.png", user, "it has 00003.png, which is not one of the 3 samples"},
		{"000001.png", user, "it has 000001.png, which is not one"},
		{"00001.PNG", user, "which is not one"},
		{"00001.png", user, `00001.png is not of this set: its texts have nothing where samples.json has Software = "unstir v1"`},
		{"00001.png", encode(image.NewGray(image.Rect(0, 0, 60, 50))), "00001.png has 50x60 pixels, not the samples' 5x6"},
		{"00001.png", encode(picture(0), images.Text{Key: "Software", Value: "unstir v1"}, images.Text{Key: "model", Value: "runs/b"}), `model = "runs/b" where samples.json has model = "runs/a"`},
		{"00001.png", contents(t, whole(t, 3))["00002.png"], `image = "2" where samples.json has image = "1"`},
		{"00001.png", "\xff\xd8\xff\xe0 a photograph", "00001.png is not a PNG file"},
		{"00001.png/inside", "x", "00001.png is not a regular file"},
	} {
		path := filepath.Join(t.TempDir(), "set")
		d := mustOpen(t, path, testManifest(3))
		mustWrite(t, d, 0)
		d.Close()
		put(t, filepath.Join(path, c.name), c.data)
		wantConflict(t, path, testManifest(3), c.words)

		// Nor does a set begin among pictures.
		if !strings.Contains(c.name, "/") {
			path := t.TempDir()
			put(t, filepath.Join(path, c.name), c.data)
			wantConflict(t, path, testManifest(3), "it has "+c.name+", but no samples.json that says how it was made")
		}
	}
}

// Other files stay and change nothing; those that tools may count all the same are named.
func TestOtherFilesStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	others := map[string]string{"README.md": "mine", "stats.npz": "x", ".notes.tmp-1": "x", ".cat.png.tmp-12345678": "x",
		"._00000.png": "of macOS", "thumbs/a/cat.png": "x"}
	for name, data := range others {
		put(t, filepath.Join(path, name), data)
	}
	d := mustOpen(t, path, testManifest(2))
	mustWrite(t, d, d.Missing()...)
	got := contents(t, path)
	for name, data := range others {
		if got[name] != data {
			t.Errorf("%s was changed", name)
		}
	}
	if len(got) != len(others)+3 {
		t.Errorf("there are %d files", len(got))
	}
	notes := strings.Join(d.Notes, "\n")
	for _, want := range []string{"._00000.png is not of the samples", filepath.Join("thumbs", "a", "cat.png") + " is not of the samples"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %q lack %q", notes, want)
		}
	}
}

// What a killed process left of a file is cleared away by the next one.
func TestLeftoversAreCleared(t *testing.T) {
	path := whole(t, 2)
	want := contents(t, path)
	for _, name := range []string{".00001.png.tmp-0badcafe", ".100000.png.tmp-0badcafe", ".samples.json.tmp-0badcafe"} {
		put(t, filepath.Join(path, name), "half")
	}
	if err := os.Remove(filepath.Join(path, Name(1))); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, path, testManifest(2))
	mustWrite(t, d, d.Missing()...)
	if got := contents(t, path); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("there are %v", got)
	}
}

// One process writes at a time.
func TestASecondWriterIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	d := mustOpen(t, path, testManifest(2))
	second, err := Open(path, testManifest(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Begin(); !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), "wait until it has ended") {
		t.Errorf("error %v, want ErrLocked", err)
	}
	d.Close()
	mustOpen(t, path, testManifest(2))
}

// A full disk costs the image that is being written, by name, and none of those before.
func TestAFullDiskKeepsWhatIsComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	d := mustOpen(t, path, testManifest(3))
	mustWrite(t, d, 0)
	d.write = func(file string, fill func(io.Writer) error) error {
		return atomicfile.WriteUnsynced(file, func(w io.Writer) error {
			if err := fill(w); err != nil {
				return err
			}
			return &fs.PathError{Op: "write", Path: file, Err: syscall.ENOSPC}
		})
	}
	if err := d.Write(1, picture(1)); !errors.Is(err, syscall.ENOSPC) || err.Error() != "00001.png: "+syscall.ENOSPC.Error() {
		t.Errorf("error %v", err)
	}
	d.Close()
	if got := contents(t, path); len(got) != 2 {
		t.Errorf("there are %d files, want samples.json and one image", len(got))
	}
	d = mustOpen(t, path, testManifest(3))
	if !slices.Equal(d.Missing(), []int{1, 2}) {
		t.Errorf("missing %v", d.Missing())
	}
	if err := d.Write(3, picture(3)); err == nil {
		t.Error("an image beyond the last one was written")
	}
}

// Where nothing can be written the error says so, and nothing is made.
func TestADirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	put(t, file, "x")
	var c *ConflictError
	if _, err := Open(filepath.Join(file, "set"), testManifest(1)); err == nil || runtime.GOOS != "windows" && !strings.Contains(err.Error(), syscall.ENOTDIR.Error()) {
		t.Errorf("error %v", err)
	} else if !errors.As(err, &c) {
		t.Errorf("error %v is not a *ConflictError", err)
	}
}

// Names have five digits, or more where the number has: a name stands for one number.
func TestNames(t *testing.T) {
	for i, want := range map[int]string{0: "00000.png", 12: "00012.png", 99999: "99999.png", 100000: "100000.png", 1234567: "1234567.png"} {
		if Name(i) != want {
			t.Errorf("image %d is %s, want %s", i, Name(i), want)
		}
		if got, ok := number(want); !ok || got != i {
			t.Errorf("%s is image %d, %v", want, got, ok)
		}
	}
	for _, name := range []string{"12.png", "000012.png", "00012.PNG", "-0012.png", "+0012.png", "1e100.png", "00012.jpg", ".png", "00012.png.png", "99999999999999999999.png"} {
		if i, ok := number(name); ok {
			t.Errorf("%s is taken for image %d", name, i)
		}
	}
	path := t.TempDir()
	m := testManifest(100002)
	d := mustOpen(t, path, m)
	if len(d.Missing()) != m.N {
		t.Errorf("%d images are missing", len(d.Missing()))
	}
	mustWrite(t, d, 99999, 100000)
	d.Close()
	if d = mustOpen(t, path, m); len(d.Missing()) != m.N-2 || slices.Contains(d.Missing(), 100000) {
		t.Errorf("%d images are missing", len(d.Missing()))
	}
}
