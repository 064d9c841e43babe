package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// link makes a symbolic link, or skips the test.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Skip("no symbolic links here:", err)
	}
}

// openPictures opens a folder of pictures of 4 x 4. It returns the set and what
// was logged.
func openPictures(t *testing.T, dir string) (Dataset, string) {
	t.Helper()
	var log bytes.Buffer
	ds, err := Open(context.Background(), Config{Dataset: Folder, Dir: dir, Size: Size{4, 4}}, Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	return ds, log.String()
}

// wantSet fails unless the set has so many images of each class.
func wantSet(t *testing.T, ds Dataset, classes []string, counts ...int) {
	t.Helper()
	in := ds.Info()
	if d := cmp.Diff(classes, in.Classes); d != "" {
		t.Errorf("classes: %s", d)
	}
	got, n := make([]int, len(counts)), 0
	for i := range in.Count {
		if l := ds.Label(i); l >= 0 {
			got[l]++
			n++
		}
	}
	if !slices.Equal(got, counts) || n != in.Count {
		t.Errorf("%v images of the classes and %d in all, want %v", got, in.Count, counts)
	}
}

// somePictures writes n PNG files.
func somePictures(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		write(t, filepath.Join(dir, string(rune('0'+i))+".png"), pngBytes(t, plain(4, 4, red)))
	}
}

func TestClassesThatAreLinksAreClasses(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "set")
	somePictures(t, filepath.Join(root, "cow"), 4)
	somePictures(t, filepath.Join(dir, "classes", "cat"), 4)
	somePictures(t, filepath.Join(dir, "classes", "dog", "deep"), 4)
	link(t, filepath.Join("..", "classes", "cat"), filepath.Join(root, "cat"))
	link(t, filepath.Join(dir, "classes", "dog"), filepath.Join(root, "dog"))
	ds, log := openPictures(t, root)
	wantSet(t, ds, []string{"cat", "cow", "dog"}, 4, 4, 4)
	if log != "" {
		t.Errorf("log %q, want none", log)
	}
	// The same as copies of the directories.
	copies := filepath.Join(dir, "copies")
	for _, c := range []string{"cat", "cow"} {
		somePictures(t, filepath.Join(copies, c), 4)
	}
	somePictures(t, filepath.Join(copies, "dog", "deep"), 4)
	if same, _ := openPictures(t, copies); same.Info().Hash != ds.Info().Hash {
		t.Error("links and copies of the same pictures have different hashes")
	}
	// Named relative to the current directory, too.
	t.Chdir(root)
	ds, _ = openPictures(t, ".")
	wantSet(t, ds, []string{"cat", "cow", "dog"}, 4, 4, 4)
}

func TestADirectoryIsReadOnceHoweverManyLinksLeadToIt(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "set")
	somePictures(t, filepath.Join(root, "cat"), 2)
	somePictures(t, filepath.Join(dir, "far"), 3)
	link(t, "cat", filepath.Join(root, "a cat"))                         // the directory itself comes first
	link(t, filepath.Join("..", "far"), filepath.Join(root, "far1"))     // the first link is followed
	link(t, filepath.Join("..", "far"), filepath.Join(root, "far2"))     // the second is named
	link(t, "..", filepath.Join(root, "cat", "loop"))                    // the root
	link(t, filepath.Join("..", ".."), filepath.Join(root, "cat", "up")) // above the root
	link(t, ".", filepath.Join(dir, "far", "self"))                      // met behind a link
	link(t, root, filepath.Join(dir, "far", "back"))
	ds, log := openPictures(t, root)
	wantSet(t, ds, []string{"cat", "far1"}, 2, 3)
	for _, part := range []string{
		"left out 2 links (a cat, far2): their directories are read already",
		"left out 4 links (" + filepath.Join("cat", "loop") + ", " + filepath.Join("cat", "up") + ", " + filepath.Join("far1", "back") +
			", and 1 more): they lead to directories that they lie in",
	} {
		if !strings.Contains(log, part) {
			t.Errorf("log %q lacks %q", log, part)
		}
	}
}

// A directory that is met again below a link is not read twice.
func TestADirectoryBehindTwoLinksIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "set")
	somePictures(t, filepath.Join(dir, "far", "near"), 2)
	somePictures(t, filepath.Join(dir, "far"), 1)
	link(t, filepath.Join("..", "far", "near"), filepath.Join(root, "a"))
	link(t, filepath.Join("..", "far"), filepath.Join(root, "b"))
	ds, log := openPictures(t, root)
	wantSet(t, ds, []string{"a", "b"}, 2, 1)
	if want := "left out 1 folder (" + filepath.Join("b", "near") + "): it is read already, through a link"; !strings.Contains(log, want) {
		t.Errorf("log %q lacks %q", log, want)
	}
}

// A link to a file is a picture of its own, as a copy and a hard link are.
func TestLinksToFilesAreFiles(t *testing.T) {
	dir := t.TempDir()
	far := write(t, filepath.Join(dir, "blobs", "8f3a"), pngBytes(t, plain(4, 4, red)))
	root := filepath.Join(dir, "set")
	link(t, far, filepath.Join(root, "a", "0.png"))
	link(t, far, filepath.Join(root, "b", "1"))
	if err := os.Link(far, filepath.Join(root, "b", "2.png")); err != nil {
		t.Skip("no hard links here:", err)
	}
	ds, log := openPictures(t, root)
	wantSet(t, ds, []string{"a", "b"}, 1, 2)
	if log != "" {
		t.Errorf("log %q, want none", log)
	}
}

func TestLinksThatLeadNowhereAreNamed(t *testing.T) {
	root := t.TempDir()
	somePictures(t, root, 3)
	link(t, "nowhere.png", filepath.Join(root, "gone.png"))
	ds, log := openPictures(t, root)
	if want := "data: " + root + ": left out 1 link (gone.png): its target is missing\n"; log != want || ds.Info().Count != 3 {
		t.Errorf("%d images, log %q, want 3 and %q", ds.Info().Count, log, want)
	}
	link(t, "round", filepath.Join(root, "round"))
	link(t, "nowhere", filepath.Join(root, "two\nlines"))
	if _, log = openPictures(t, root); !strings.Contains(log, `left out 3 links (gone.png, round, "two\nlines"): their targets are missing`+"\n") {
		t.Errorf("log %q", log)
	}
	// Alone they are the error's reason.
	alone := t.TempDir()
	link(t, "nowhere.png", filepath.Join(alone, "gone.png"))
	_, err := Open(context.Background(), Config{Dataset: Folder, Dir: alone}, Options{})
	wantError(t, err, alone, "found none; left out 1 link (gone.png): its target is missing")
}

func TestUnreadableFilesAndDirectoriesAreNamed(t *testing.T) {
	if os.Getuid() <= 0 {
		t.Skip("this user may read everything, or the system has no such users")
	}
	for _, name := range []string{"class", "class.png"} {
		root := t.TempDir()
		somePictures(t, root, 1)
		shut := filepath.Join(root, name)
		if filepath.Ext(name) == "" {
			somePictures(t, shut, 1)
		} else {
			write(t, shut, pngBytes(t, plain(4, 4, red)))
		}
		if err := os.Chmod(shut, 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(shut, 0o755)
		_, err := Open(context.Background(), Config{Dataset: Folder, Dir: root, Size: Size{4, 4}}, Options{})
		wantError(t, err, shut)
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v, want one of permissions", err)
		}
	}
}

// Files that are not pictures are counted by kind; system files are passed over.
func TestWhatIsLeftOutIsNamedByKind(t *testing.T) {
	root := t.TempDir()
	png := pngBytes(t, plain(4, 4, red))
	for name, b := range map[string][]byte{
		"a.png": png, "b.JFIF": jpegBytes(t, plain(4, 4, red)), "c": png, "dir.png/d.gif": gifBytes(t, paletted(drawn("AB/CD", 1))),
		"e.bmp": bmpBytes(t, plain(4, 4, red)), "f.webp": webpOf(drawn("AB/CD", 1), nil), "g.png": gifBytes(t, paletted(drawn("AB/CD", 1))),
		"1.txt": png, "2.jpg~": png, // pictures under other names
		"3.heic": []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), "4.jpg": []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), "IMG": []byte("\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00"),
		"5.tif": tiffOf(binary.LittleEndian, 1), "6.svg": []byte("<svg/>"),
		"7.gif": gifBytes(t, paletted(drawn("AB/CD", 1)), paletted(drawn("AB/CD", 1))),
		"8.csv": []byte("a,b\n"), "README": []byte("text"), "Thumbs.db": {0xd0, 0xcf}, "empty": nil,
		"._a.png": []byte("\x00\x05\x16\x07"), ".DS_Store": []byte("x"), ".git/x.png": []byte("x"), "__MACOSX/._a.png": []byte("\x00\x05\x16\x07"),
	} {
		write(t, filepath.Join(root, filepath.FromSlash(name)), b)
	}
	for _, c := range []Config{{Size: Size{2, 2}}, {Size: Size{4, 4}}} {
		c.Dataset, c.Dir = Folder, root
		var log bytes.Buffer
		ds, err := Open(context.Background(), c, Options{Log: &log})
		if err != nil {
			t.Fatal(err)
		}
		if in := ds.Info(); in.Count != 7 || !slices.Equal(in.Classes, []string{"dir.png"}) || ds.Label(3) != 0 || ds.Label(2) != -1 {
			t.Errorf("%d images, classes %q", in.Count, in.Classes)
		}
		want := []string{
			"2 files (1.txt, 2.jpg~): pictures without a picture's extension; rename them to have them read",
			"3 files (3.heic, IMG, 4.jpg): HEIC pictures; convert to PNG or JPEG",
			"1 file (5.tif): a TIFF picture or a camera's raw file; convert to PNG or JPEG",
			"1 file (6.svg): an SVG drawing; convert to PNG or JPEG",
			"1 file (7.gif): an animated GIF; save the frames that are wanted as PNG",
			"4 files (8.csv, README, Thumbs.db, and 1 more): not pictures",
		}
		var lines []string
		for line := range strings.Lines(log.String()) {
			lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "data: "+root+": left out "))
		}
		slices.Sort(lines)
		slices.Sort(want)
		if d := cmp.Diff(want, lines); d != "" {
			t.Error(d)
		}
	}
}

// Without data.size, too, pictures that are not read are left out, and sizes are
// those that the owner sees.
func TestCommonSizeIsOfUprightPicturesThatAreRead(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "0.jpg"), []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"))
	write(t, filepath.Join(root, "1.png"), pngBytes(t, drawn("ABC/DEF", 1)))
	write(t, filepath.Join(root, "6.png"), withChunk(pngBytes(t, drawn(storedAs[6], 1)), "eXIf", tiffOf(binary.LittleEndian, 6), true))
	var log bytes.Buffer
	ds, err := Open(context.Background(), Config{Dataset: Folder, Dir: root}, Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if in := ds.Info(); in.Count != 2 || in.Height != 2 || in.Width != 3 || !bytes.Equal(pixels(ds, 0), pixels(ds, 1)) {
		t.Errorf("%+v: %v, %v", in, pixels(ds, 0), pixels(ds, 1))
	}
	for _, part := range []string{"left out 1 file (0.jpg): a HEIC picture", "1 of 2 pictures are turned upright, as their EXIF orientation says"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("log %q lacks %q", log.String(), part)
		}
	}
	write(t, filepath.Join(root, "sideways.png"), pngBytes(t, drawn(storedAs[6], 1)))
	_, err = Open(context.Background(), Config{Dataset: Folder, Dir: root}, Options{})
	wantError(t, err, "sideways.png", "an image of 2 x 3 like "+filepath.Join(root, "1.png"), "found 3 x 2")
	// Of nothing but such files the error says what they are.
	for _, name := range []string{"1.png", "6.png", "sideways.png"} {
		os.Remove(filepath.Join(root, name))
	}
	for _, size := range []Size{{}, {4, 4}} {
		_, err = Open(context.Background(), Config{Dataset: Folder, Dir: root, Size: size}, Options{})
		wantError(t, err, root, "found none; left out 1 file (0.jpg): a HEIC picture; convert to PNG or JPEG")
	}
}

// Resized, a turned picture is what the same picture stored upright is.
func TestTurnedPicturesAreCroppedAndResizedAsUprightOnes(t *testing.T) {
	upright := t.TempDir()
	write(t, filepath.Join(upright, "x.png"), pngBytes(t, drawn("ABCDEF/FEDCBA/AABBCC", 7)))
	want, _ := openPictures(t, upright)
	m := drawn("ABCDEF/FEDCBA/AABBCC", 7)
	for o := 1; o <= 8; o++ {
		w, h := m.Rect.Dx(), m.Rect.Dy()
		laid := drawn("A", 1)
		if laid.Rect = m.Rect; o >= 5 {
			laid.Rect.Max.X, laid.Rect.Max.Y = h, w
		}
		laid.Stride, laid.Pix = 4*laid.Rect.Dx(), make([]byte, len(m.Pix))
		for y := range h {
			for x := range w {
				sx, sy := stored(o, x, y, w, h)
				laid.Set(sx, sy, m.At(x, y))
			}
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, "x.png"), withChunk(pngBytes(t, laid), "eXIf", tiffOf(binary.BigEndian, uint16(o)), false))
		if ds, _ := openPictures(t, dir); !bytes.Equal(pixels(ds, 0), pixels(want, 0)) {
			t.Errorf("orientation %d: %v, want %v", o, pixels(ds, 0), pixels(want, 0))
		}
	}
}

// The hash of a folder of upright pictures is that of its files, as it was
// before orientation was looked at: a run begun then goes on. Where pixels are
// turned, it is another one for each orientation.
func TestHashOfAFolderFollowsItsPicturesOrientation(t *testing.T) {
	png, seen := pngBytes(t, plain(4, 4, red)), map[string]uint16{}
	for o := range uint16(10) {
		dir := t.TempDir()
		jpeg := withSegment(jpegBytes(t, plain(4, 4, red)), 0xe1, slices.Concat(exifHead, tiffOf(binary.LittleEndian, o)))
		write(t, filepath.Join(dir, "a", "0.png"), png)
		write(t, filepath.Join(dir, "b", "1.jpg"), jpeg)
		ds, _ := openPictures(t, dir)
		first, second := sha256.Sum256(png), sha256.Sum256(jpeg)
		plain := hashSet(shape{3, 4, 4}, 2, []int32{0, 1}, slices.Concat(first[:], second[:]))
		if got := ds.Info().Hash; (got == plain) != (o <= 1 || o == 9) {
			t.Errorf("orientation %d: the hash is %s, that of the files is %s", o, got, plain)
		} else if other, ok := seen[got]; ok {
			t.Errorf("orientations %d and %d have one hash", o, other)
		} else {
			seen[got] = o
		}
	}
}

func TestClassesThatReadAlikeAreNamed(t *testing.T) {
	root := t.TempDir()
	somePictures(t, filepath.Join(root, "caf\u00e9"), 1)
	somePictures(t, filepath.Join(root, "cafe\u0301"), 1)
	if entries, err := os.ReadDir(root); err != nil || len(entries) < 2 {
		t.Skip("this file system takes them for one name:", err)
	}
	_, err := Open(context.Background(), Config{Dataset: Folder, Dir: root}, Options{})
	wantError(t, err, root, "\"caf\u00e9\" twice", `"cafe\u0301" and "caf\u00e9"`, "rename")
	// One spelling alone is kept as it is on the disk.
	if err := os.RemoveAll(filepath.Join(root, "caf\u00e9")); err != nil {
		t.Fatal(err)
	}
	ds, _ := openPictures(t, root)
	wantSet(t, ds, []string{"cafe\u0301"}, 1)
}

func TestPathsAreSortedAsAWalkMeetsThem(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a.png", "a/b.png", "a b/c.png", "a/b/z.png", "a/b-c.png", "aa.png", "b", "a-b/x"} {
		write(t, filepath.Join(root, filepath.FromSlash(name)), nil)
	}
	var walked []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			walked = append(walked, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sorted := slices.Clone(walked)
	slices.Reverse(sorted)
	sortAsWalked(sorted)
	if d := cmp.Diff(walked, sorted); d != "" {
		t.Error(d)
	}
}
