// The diffusion program trains denoising diffusion models and samples from them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"unstir/configs"
	"unstir/data"
	"unstir/nn/kernel"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // a second Ctrl-C ends the program at once
		<-ctx.Done()
		stop()
	}()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(os.Stderr, "diffusion: "+err.Error())
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
			return nil
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newTrain(), newSample(), newPredict(), newInspect(), newBench(), newPresets())
	for _, c := range append(root.Commands(), root) {
		c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
			return usage(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
		})
		if args := c.Args; args != nil {
			c.Args = func(c *cobra.Command, a []string) error {
				if err := args(c, a); err != nil {
					return usage(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
				}
				return nil
			}
		}
	}
	return root
}

// version is the module's version, as the build recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// usageError is a mistake in how the program was called.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// isUsage tells wrong usage and configuration from what failed on the way.
func isUsage(err error) bool {
	var u usageError
	var config *configs.Error
	var dataset *data.ConfigError
	return errors.As(err, &u) || errors.As(err, &config) || errors.As(err, &dataset)
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
