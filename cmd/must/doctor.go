package main

import (
	"runtime"

	"must/doctor"
	"must/recipe"
)

type doctorCmd struct{}

func (doctorCmd) Help() string {
	return `The exit status is 1 where no training is possible.

Examples:

    must doctor
    must doctor --device cuda`
}

func (doctorCmd) Run(a *app) error {
	a.engine() // with the device asked for; the doctor tells what is wrong with it
	a.display.Close()
	if !doctor.Run(a.stdout) {
		return status(1)
	}
	return nil
}

type versionCmd struct{}

func (versionCmd) Run(a *app) error {
	a.printf("must %s (%s, %s/%s)\n", recipe.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
