package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir/configs"
	"unstir/internal/setting"
	"unstir/train"
)

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
	var key *setting.Error // of a table: of the run's configuration, and not of a model's
	return errors.As(err, &u) || errors.As(err, &config) || errors.As(err, &key) && key.Table != "" ||
		errors.Is(err, train.ErrRunExists) || errors.Is(err, train.ErrChanged) || errors.Is(err, train.ErrLabels)
}

// flagError says what is wrong with a flag in the words of a command line.
func flagError(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		want := map[string]string{
			"int": "a whole number", "uint64": "a whole number from 0 to 18446744073709551615", "bool": "true or false",
		}[value.GetFlag().Value.Type()]
		if want != "" {
			err = fmt.Errorf("--%s %q: it must be %s", value.GetFlag().Name, value.GetValue(), want)
		}
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if near := nearestFlag(c, unknown.GetSpecifiedName()); near != "" {
			err = fmt.Errorf("%w (did you mean --%s?)", err, near)
		}
	}
	return usagef("%w; see %s --help", err, c.CommandPath())
}

// nearestFlag is the flag that was probably meant: the first that begins as the name does, or has its letters but
// for two; "" where there is none.
func nearestFlag(c *cobra.Command, name string) string {
	names := &cobra.Command{SuggestionsMinimumDistance: 2} // which knows how to compare names
	c.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	if near := names.SuggestionsFor(name); len(near) > 0 && len(name) > 2 {
		return near[0]
	}
	return ""
}

// explainArguments makes each command say which argument is one too many.
func explainArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			for i, a := range args {
				if check(c, args[:i+1]) != nil && check(c, args[:i]) == nil {
					err = unexpected(c, a)
					break
				}
			}
			return usagef("%w; see %s --help", err, c.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		explainArguments(sub)
	}
}

func unexpected(c *cobra.Command, arg string) error {
	switch {
	case c.HasAvailableSubCommands():
		c.SuggestionsMinimumDistance = 2
		if near := c.SuggestionsFor(arg); len(near) > 0 {
			return fmt.Errorf("there is no command %q (did you mean %s?)", arg, strings.Join(near, " or "))
		}
		var names []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		return fmt.Errorf("there is no command %q; the commands are %s", arg, strings.Join(names, ", "))
	case arg == "true" || arg == "false":
		return fmt.Errorf("unexpected argument %q; a flag that is true or false takes it with an equals sign, as in --ema=%s", arg, arg)
	}
	return fmt.Errorf("unexpected argument %q", arg)
}

// newHelp is cobra's help command, with an error for a command that does not exist.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(c *cobra.Command, args []string) error {
			topic, rest, err := c.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unexpected(topic, rest[0])
			}
			if err != nil {
				return usage(err)
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}
