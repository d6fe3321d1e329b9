// Command onnxruntime makes sure that there is an ONNX Runtime: it names the one that must will use
// or, where none is found, fetches one into the folder given as argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"must/onnx/ort"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: onnxruntime FOLDER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	lib, err := ort.Find()
	if missing := (*ort.NotFoundError)(nil); errors.As(err, &missing) {
		lib, err = ort.Fetch(ctx, os.Args[1], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("ONNX Runtime %s: %s (%s)\n", lib.Version, lib.Path, lib.Reason)
}
