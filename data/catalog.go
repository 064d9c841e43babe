package data

import (
	"context"
	"fmt"
)

// spec is what is known of a dataset that has a name.
type spec struct {
	name    string
	classes []string
	// dirs are the subdirectories of a named directory that are looked in, the
	// directory itself ("") first.
	dirs []string
	// files are what each split is read from, in order.
	files map[Split][]file
	// archive is the .tar.gz that holds the files of all splits; nil: they are
	// fetched one by one.
	archive *file
	mirrors []string
	// embedded: the images in the program stand in for the training split.
	embedded bool
	// first, if not 0, is how many images are used.
	first int
	read  func(ctx context.Context, s *spec, paths []string) (*rawSet, error)
}

// file is a published file.
type file struct {
	name    string   // as published
	aliases []string // other names under which it is read
	size    int64    // bytes
	sha256  string
}

func (f file) names() []string { return append([]string{f.name}, f.aliases...) }

// idxFile is an IDX file that is published as name.gz, such as
// train-images-idx3-ubyte.gz.
func idxFile(part, kind string, size int64, sha256 string) file {
	dashed, dotted := part+"-"+kind+"-ubyte", part+"."+kind+"-ubyte"
	return file{name: dashed + ".gz", size: size, sha256: sha256,
		aliases: []string{dashed, dotted + ".gz", dotted, part + ".gz", part}}
}

func readIDXSet(ctx context.Context, s *spec, paths []string) (*rawSet, error) {
	r, err := openIDXPair(ctx, paths[0], paths[1], len(s.classes))
	if err != nil || s.first == 0 {
		return r, err
	}
	if r.count() < s.first {
		return nil, &FileError{Path: paths[0], Want: fmt.Sprintf("at least %d images", s.first), Got: fmt.Sprint(r.count())}
	}
	r.pixels = append([]byte(nil), r.pixels[:s.first*r.dim()]...)
	r.labels = append([]int32(nil), r.labels[:s.first]...)
	return r, nil
}

func readCIFARSet(ctx context.Context, s *spec, paths []string) (*rawSet, error) {
	return openCIFAR(ctx, paths, len(s.classes))
}

var (
	digits = []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}

	mnistFiles = map[Split][]file{
		Train: {
			idxFile("train-images", "idx3", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
			idxFile("train-labels", "idx1", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
		},
		Test: {
			idxFile("t10k-images", "idx3", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
			idxFile("t10k-labels", "idx1", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
		},
	}
	fashionFiles = map[Split][]file{
		Train: {
			idxFile("train-images", "idx3", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
			idxFile("train-labels", "idx1", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
		},
		Test: {
			idxFile("t10k-images", "idx3", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
			idxFile("t10k-labels", "idx1", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
		},
	}
	cifarFiles = map[Split][]file{
		Train: {
			cifarFile("data_batch_1", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
			cifarFile("data_batch_2", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
			cifarFile("data_batch_3", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
			cifarFile("data_batch_4", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
			cifarFile("data_batch_5", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
		},
		Test: {
			cifarFile("test_batch", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
		},
	}
)

func cifarFile(base, sha256 string) file {
	return file{name: base + ".bin", aliases: []string{base}, size: 30730000, sha256: sha256}
}

// catalog is every dataset by name.
var catalog = map[string]*spec{
	MNIST: {
		name: MNIST, classes: digits, dirs: []string{"", MNIST}, files: mnistFiles,
		mirrors: []string{
			"https://storage.googleapis.com/cvdf-datasets/mnist/",
			"https://ossci-datasets.s3.amazonaws.com/mnist/",
		},
		embedded: true, read: readIDXSet,
	},
	MNIST10K: {
		name: MNIST10K, classes: digits, dirs: []string{"", MNIST10K, MNIST}, files: mnistFiles,
		first: embeddedCount, read: readIDXSet,
	},
	FashionMNIST: {
		name: FashionMNIST, dirs: []string{"", FashionMNIST}, files: fashionFiles,
		classes: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
		mirrors: []string{
			"https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
			"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
		},
		read: readIDXSet,
	},
	CIFAR10: {
		name: CIFAR10, dirs: []string{"", CIFAR10, "cifar-10-batches-bin", CIFAR10 + "/cifar-10-batches-bin"}, files: cifarFiles,
		classes: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
		archive: &file{name: "cifar-10-binary.tar.gz", size: 170052171,
			sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
		mirrors: []string{
			"https://www.cs.toronto.edu/~kriz/",
			"https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
			"https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
		},
		read: readCIFARSet,
	},
	Folder: {name: Folder},
}
