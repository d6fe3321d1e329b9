// Command libtorch makes sure that there is a libtorch: it names the one that must will use or,
// where none is found, fetches one into the folder given as argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"must/torch/libtorch"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: libtorch FOLDER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	lib, err := libtorch.Find()
	if missing := (*libtorch.NotFoundError)(nil); errors.As(err, &missing) {
		lib, err = libtorch.Fetch(ctx, os.Args[1], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if lib.Version == "" {
		lib.Version = "of unknown version"
	}
	fmt.Printf("libtorch %s in %s (%s)\n", lib.Version, lib.Dir, lib.Reason)
}
