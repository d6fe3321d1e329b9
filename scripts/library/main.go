// Command library makes sure that there is a libtorch, an ONNX Runtime or an MPI: it names the one that must will
// use or, where none is found, fetches one into the folder given as argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"must/dist"
	"must/onnx/ort"
	"must/torch/libtorch"
)

func main() {
	if len(os.Args) != 3 {
		usage()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var err error
	switch folder := os.Args[2]; os.Args[1] {
	case "libtorch":
		var lib libtorch.Library
		if lib, err = ensure[*libtorch.NotFoundError](ctx, folder, libtorch.Find, libtorch.Fetch); err == nil {
			if lib.Version == "" {
				lib.Version = "of unknown version"
			}
			fmt.Printf("libtorch %s in %s (%s)\n", lib.Version, lib.Dir, lib.Reason)
		}
	case "onnxruntime":
		var lib ort.Library
		if lib, err = ensure[*ort.NotFoundError](ctx, folder, ort.Find, ort.Fetch); err == nil {
			fmt.Printf("ONNX Runtime %s: %s (%s)\n", lib.Version, lib.Path, lib.Reason)
		}
	case "mpi":
		var lib dist.MPILibrary
		if lib, err = ensure[*dist.NoMPIError](ctx, folder, func() (dist.MPILibrary, error) { return dist.FindMPI(false) }, dist.FetchMPI); err == nil {
			fmt.Printf("MPI: %s (%s)\n", lib.Path, lib.Reason)
		}
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: library libtorch|onnxruntime|mpi FOLDER")
	os.Exit(2)
}

// ensure finds a library, or fetches it where that ends with the error Missing.
func ensure[Missing error, L any](ctx context.Context, folder string, find func() (L, error), fetch func(context.Context, string, io.Writer) (L, error)) (L, error) {
	lib, err := find()
	if _, missing := errors.AsType[Missing](err); missing {
		return fetch(ctx, folder, os.Stdout)
	}
	return lib, err
}
