// The diffusion program trains denoising diffusion models and samples from them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"unstir/internal/machine"
	"unstir/internal/oneline"
	"unstir/nn/kernel"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

func main() {
	machine.BoundHeap()
	stderr := newMessages(os.Stderr)
	code := run(untilSignal(context.Background()), os.Args[1:], &results{os.Stdout, stderr}, stderr)
	stderr.flush()
	os.Exit(code)
}

// run runs the program: results go to stdout, everything else to stderr. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	stop := tellWhileStopping(ctx, stderr)
	err := root.ExecuteContext(ctx)
	stop()
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	for line := range strings.SplitSeq(err.Error(), "\n") { // a config may be wrong in several places
		fmt.Fprintln(stderr, "diffusion: "+oneline.Text(line)) // what it quotes may be long, or speak to the terminal
	}
	if isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "diffusion",
		Short:         "Train denoising diffusion models and sample from them, in pure Go",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := kernel.CheckEnvironment(); err != nil {
				return usage(err)
			}
			if _, _, err := machine.Memory(); err != nil {
				return usage(err)
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newTrain(), newSample(), newInpaint(), newPredict(), newInspect(), newBench(), newPresets(), newEncode(), newInterpolate(), newExport(), newReport(), newEval())
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(flagError)
	explainArguments(root)
	return root
}

// version is the module's version, as the build recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// setThreads applies --threads; 0 leaves the number that the system allows.
func setThreads(n int) error {
	switch {
	case n < 0:
		return usagef("--threads %d: it must be at least 1, or 0 for as many as the system allows", n)
	case n > 0:
		kernel.SetThreads(n)
	}
	return nil
}
