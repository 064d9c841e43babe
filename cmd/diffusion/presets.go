package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"unstir/configs"
)

func newPresets() *cobra.Command {
	return &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the presets, or print one",
		Long:  "List the configurations that are part of the program, or print one of them: a start for a file of your own.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, name := range configs.Presets() {
					fmt.Fprintln(c.OutOrStdout(), name)
				}
				return nil
			}
			text, err := configs.Preset(strings.TrimSuffix(args[0], ".toml"))
			if err != nil {
				return usage(err)
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
}
