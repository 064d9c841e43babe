package cpu

import (
	"fmt"
	"os"
	"sync/atomic"
)

// Level is an instruction set that the kernels are written for.
type Level int

// The levels, from the slowest.
const (
	Generic Level = iota // plain Go
	AVX2                 // AVX2 and FMA, 256 bits
	AVX512               // AVX-512 F, BW, DQ and VL, 512 bits
)

var levelNames = [...]string{Generic: "generic", AVX2: "avx2", AVX512: "avx512"}

// String is the name that UNSTIR_CPU takes: generic, avx2 or avx512.
func (l Level) String() string {
	if l < Generic || l > AVX512 {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l]
}

var (
	activeLevel atomic.Int32
	direct      bool // UNSTIR_CONV=direct: no Winograd
	environment error
)

func init() {
	var level Level
	level, direct, environment = readEnvironment(os.Getenv("UNSTIR_CPU"), os.Getenv("UNSTIR_CONV"))
	activeLevel.Store(int32(level))
}

// Info is what a plan's kernels, algorithms and block sizes are chosen by.
type Info struct {
	Level  Level
	L2     int  // bytes of a core's second-level cache, 0 where unknown
	Direct bool // UNSTIR_CONV=direct: no Winograd
}

// This is the machine at its active level, which plans made from now on will use.
func This() Info {
	return Info{Level: Level(activeLevel.Load()), L2: cache(), Direct: direct}
}

// CheckEnvironment reports a value of UNSTIR_CPU or UNSTIR_CONV that means nothing,
// or a level that this CPU or this build lacks. The kernels then run as if the
// variable were not set, so a program should call it first and stop on an error.
//
//	UNSTIR_CPU=avx512|avx2|generic  the highest level to use
//	UNSTIR_CONV=direct              no Winograd convolutions
func CheckEnvironment() error { return environment }

// SetLevel chooses the level of plans made from now on, and of what has no plan. It is meant for tests; a plan keeps the level
// that it was made with. It returns an error when the CPU or the build lacks l.
func SetLevel(l Level) error {
	if err := checkLevel(l); err != nil {
		return err
	}
	activeLevel.Store(int32(l))
	return nil
}

func checkLevel(l Level) error {
	switch best := best(); {
	case l < Generic || l > AVX512:
		return fmt.Errorf("cpu: no level %d; the levels are generic, avx2, avx512", int(l))
	case l > best:
		return fmt.Errorf("cpu: %v kernels cannot run here: the best level of this CPU and build is %v", l, best)
	}
	return nil
}

// readEnvironment turns the values of UNSTIR_CPU and UNSTIR_CONV into settings.
// Beside an error it returns the settings of an empty variable.
func readEnvironment(cpu, conv string) (level Level, direct bool, err error) {
	level = best()
	switch conv {
	case "":
	case "direct":
		direct = true
	default:
		err = fmt.Errorf("UNSTIR_CONV=%q is unknown: leave it empty or set it to direct", conv)
	}
	if cpu == "" {
		return level, direct, err
	}
	for l, name := range levelNames {
		if name != cpu {
			continue
		}
		if e := checkLevel(Level(l)); e != nil {
			return level, direct, fmt.Errorf("UNSTIR_CPU=%s: %w", cpu, e)
		}
		return Level(l), direct, err
	}
	return level, direct, fmt.Errorf("UNSTIR_CPU=%q is unknown: the levels are avx512, avx2, generic", cpu)
}
