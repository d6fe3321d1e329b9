package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages are those whose tests run on the GPU.
var packages = []string{"torch", "detect", "model", "network", "task/detection", "task/segmentation", "task/features", "task/registry", "train"}

// most is the size of the packed folder.
const most = 64 << 20

// packInto builds the folder; it runs in the root of the project.
func packInto(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
		}
		return nil
	}
	const small = "-ldflags=-s -w"
	for program, pkg := range map[string]string{"must": "./cmd/must", "benchpeers": "./scripts/benchpeers", "cuda-check": "./scripts/cuda-check"} {
		if err := run("go", "build", "-trimpath", small, "-o", filepath.Join(dir, program), pkg); err != nil {
			return err
		}
	}
	for _, pkg := range packages {
		to := filepath.Join(dir, "tests", pkg)
		if err := run("go", "test", "-trimpath", small, "-c", "-o", filepath.Join(to, "run"), "./"+pkg); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(pkg, "testdata")); err == nil {
			if err := os.CopyFS(filepath.Join(to, "testdata"), os.DirFS(filepath.Join(pkg, "testdata"))); err != nil {
				return err
			}
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "peers"), os.DirFS("test/peers/bench")); err != nil {
		return err
	}
	page, err := os.ReadFile("docs/performance.md")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "performance.md"), page, 0o666); err != nil {
		return err
	}
	packed := dir + ".tar.gz"
	if err := run("tar", "-C", filepath.Dir(dir), "-czf", packed, filepath.Base(dir)); err != nil {
		return err
	}
	info, err := os.Stat(packed)
	if err != nil {
		return err
	}
	if info.Size() > most {
		return fmt.Errorf("%s has %d MB, more than %d", packed, info.Size()>>20, most>>20)
	}
	fmt.Printf("%s: %d MB; on the machine with the GPU: tar xzf %s && %s/cuda-check\n", packed, info.Size()>>20, filepath.Base(packed), filepath.Base(dir))
	return nil
}
