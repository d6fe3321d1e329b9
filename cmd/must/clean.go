package main

import (
	"must/run"
)

type cleanCmd struct {
	Out    string `arg:"" help:"Folder of a run."`
	Remove bool   `help:"Remove what is listed."`
}

func (cleanCmd) Help() string {
	return `Lists the folders of stages that the recipe, as it was run last, does not use: results of other settings, which
would be found again if they were set back. Nothing is removed without --remove.

Examples:

    must clean out/demo
    must clean out/demo --remove`
}

func (c *cleanCmd) Run(a *app) error {
	r, err := run.Open(c.Out)
	if err != nil {
		return err
	}
	list, verb := r.Unused, "unused"
	if c.Remove {
		list, verb = r.Clean, "removed"
	}
	found, err := list()
	var bytes int64
	for _, u := range found {
		a.printf("%-40s %10.1f MB  %s\n", u.Name, float64(u.Bytes)/1e6, u.Why)
		bytes += u.Bytes
	}
	a.printf("%d folders %s, %.1f MB\n", len(found), verb, float64(bytes)/1e6)
	if !c.Remove && len(found) > 0 {
		a.printf("must clean %s --remove removes them\n", commandLine([]string{c.Out}))
	}
	return err
}
