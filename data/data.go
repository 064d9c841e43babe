// Package data reads the image sets that a diffusion model is trained on and
// hands them out as shuffled batches in [-1, 1].
//
// [Open] opens a set by name: "mnist", "fashion-mnist" and "cifar10" come from
// a directory, from the user's cache or from the network; "mnist-10k", the
// first 10,000 training images of MNIST, is embedded in the program; "folder"
// is a directory of pictures. [ReadPicture] reads one. [NewMemory] and
// [FromImages] make a set from what a program already has, and any type with the
// methods of [Dataset] can be trained on.
//
// [NewLoader] cuts a Dataset into batches. The order of the images is a pure
// function of the seed and the position in the run, so a run that goes on from
// step s sees exactly the batches that an uninterrupted run would have seen.
package data

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Names of the datasets that [Open] knows.
const (
	MNIST        = "mnist"
	FashionMNIST = "fashion-mnist"
	CIFAR10      = "cifar10"
	MNIST10K     = "mnist-10k" // first 10,000 training images of MNIST, embedded in the program
	Folder       = "folder"    // pictures below a directory: PNG, JPEG, WebP, GIF and BMP
)

// Names returns the names that data.dataset may have.
func Names() []string { return []string{MNIST, FashionMNIST, CIFAR10, MNIST10K, Folder} }

// Split is the part of a dataset that is read.
type Split string

const (
	Train Split = "train" // the default
	Test  Split = "test"  // "mnist", "fashion-mnist" and "cifar10" have one, and a "folder" with Config.Holdout
)

// Info describes a dataset as it is used, after resizing.
type Info struct {
	Name   string // as in the config
	Split  Split
	Source string // where the images came from, in words: a directory, the cache, a mirror, the program itself
	// Hash is the SHA-256, in hex, of the images' pixels and labels as the
	// source holds them and of the shape they are used in. It tells whether a
	// run that goes on has the data that it began with.
	Hash     string
	Holdout  float64  // share of the pictures that is not in the training split; 0 but for folders
	Count    int      // number of images
	Channels int      // 1 (gray) or 3 (red, green, blue)
	Height   int      // pixels
	Width    int      // pixels
	Classes  []string // the labels' names, in label order; nil: no labels or no names
}

// Dataset is a set of equally sized images. Its methods may be called by
// several goroutines at once.
type Dataset interface {
	Info() Info
	// Image copies image i (0 <= i < Info().Count) to dst, which holds
	// Channels*Height*Width bytes: one plane per channel, row by row, 0 to 255.
	Image(i int, dst []byte)
	// Label is the class of image i, or -1 where it has none.
	Label(i int) int
}

// Options says how [Open] may get at a dataset. The zero value is what the
// program uses when no flag is given.
type Options struct {
	// Dir, if not empty, takes the place of Config.Dir (the flag --data-dir).
	Dir string
	// Split is Train when empty.
	Split Split
	// Offline forbids downloads.
	Offline bool
	// CacheDir holds one directory per dataset; empty: "unstir" in
	// os.UserCacheDir().
	CacheDir string
	// Mirrors, if not nil, take the place of the dataset's own list: URLs to
	// which a file's name is added, tried in order. They must begin with https.
	Mirrors []string
	// Client fetches; nil: a client that gives up on a connection after 10
	// seconds and follows redirects. Redirects to anything but https are refused for any client.
	Client *http.Client
	// StallTimeout is how long a download may stay without a byte; 0: 30 s.
	StallTimeout time.Duration
	// Progress, if not nil, hears how far a download or a folder is. It is
	// called by one goroutine at a time.
	Progress func(Progress)
	// Log, if not nil, gets the lines that a user should see, such as that the
	// embedded images stand in for MNIST.
	Log io.Writer
}

// Progress is how far a long piece of work is.
type Progress struct {
	What  string // such as "downloading train-images-idx3-ubyte.gz from storage.googleapis.com"
	Unit  string // "bytes" or "images"
	Done  int64
	Total int64 // 0: not known
}

func (o *Options) logf(format string, args ...any) {
	if o.Log != nil {
		fmt.Fprintf(o.Log, format+"\n", args...)
	}
}

// Open reads the dataset that c names into memory, one byte per value.
//
// "mnist", "fashion-mnist" and "cifar10" are looked for in this order:
//   - o.Dir, else c.Dir, and its subdirectory of the dataset's name: when a
//     directory is named, no other source is tried;
//   - the cache;
//   - the network: files are downloaded into the cache once and checked;
//   - for "mnist" without a network or without a cache that can be written: the
//     embedded first 10,000 training images, with a line to o.Log that says why.
//
// "folder" reads every picture below its directory, each as [ReadPicture] does,
// in the order of their paths. The directories of the first level are classes,
// in alphabetical order. Files with a picture's extension (*.png, *.jpg, ...)
// or without any are read, and their content decides the format; names that
// begin with a dot are passed over. Links are followed: one to a file is a picture of its
// own, as a copy is, and a directory is read once, however many links lead to
// it. What is left out (other files, unsupported formats, animations, dangling
// links) is counted and named in o.Log; a picture that is
// damaged or cannot be opened is an error, and so are two classes whose names
// are one in Unicode's form NFC.
//
// A file that is not what it should be is a [*FileError]. The context stops downloads and the reading of files.
func Open(ctx context.Context, c Config, o Options) (Dataset, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if o.Dir == "" {
		o.Dir = c.Dir
	}
	switch o.Split {
	case "":
		o.Split = Train
	case Train, Test:
	default:
		return nil, fmt.Errorf("data: split %q: it must be %q or %q", o.Split, Train, Test)
	}
	m, err := open(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("data: opening %q: %w", c.Dataset, err)
	}
	return m, nil
}

func open(ctx context.Context, c Config, o Options) (*Memory, error) {
	s := catalog[c.Dataset]
	if o.Split == Test && (c.Dataset == Folder && c.Holdout == 0 || c.Dataset == MNIST10K) {
		return nil, fmt.Errorf("it has no test split; %q, %q and %q have one, and a folder of which data.holdout keeps some pictures out of training", MNIST, FashionMNIST, CIFAR10)
	}
	var (
		r      *rawSet
		source string
		err    error
	)
	switch {
	case c.Dataset == Folder:
		return openFolder(ctx, c, o)
	case c.Dataset == MNIST10K && o.Dir == "":
		r, source, err = openEmbedded(ctx)
	default:
		r, source, err = s.open(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	info := Info{Name: c.Dataset, Split: o.Split, Source: source, Classes: s.classes}
	return r.memory(ctx, info, c)
}
