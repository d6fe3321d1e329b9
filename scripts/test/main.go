// Command test runs all tests, and those that compare with golden values once more as another machine would:
// with two threads and AVX2 at most. With -all these run under every set of instructions, with one and two
// threads, and with every libtorch that is supported, which are fetched where they are missing.
//
// It shows what go test shows, and after that a line for every test that was skipped. Where CI is set, a skip
// for want of something that a make target fetches is a failure.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"must/torch/libtorch"
)

func main() {
	all := flag.Bool("all", false, "the golden tests under every set of instructions, thread count and libtorch")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, *all)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !ok {
		fmt.Println("FAIL")
		stop()
		os.Exit(1)
	}
}

// A machine is what rounding depends on.
type machine struct {
	threads      int
	instructions string // "" for this machine's
	libtorch     string // release, "" for the one in use
}

func (m machine) String() string {
	s := fmt.Sprintf("%d thread", m.threads)
	if m.threads > 1 {
		s += "s"
	}
	if m.instructions != "" {
		s += ", " + m.instructions
	}
	if m.libtorch != "" {
		s += ", libtorch " + m.libtorch
	}
	return s
}

// instructions holds the variables that keep libtorch's parts to a set of instructions of x86-64. Others do
// not look at them.
var instructions = map[string][]string{
	"AVX2":   {"ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2", "MKL_ENABLE_INSTRUCTIONS=AVX2"},
	"no AVX": {"ATEN_CPU_CAPABILITY=default", "ONEDNN_MAX_CPU_ISA=SSE41", "MKL_ENABLE_INSTRUCTIONS=SSE4_2"},
}

// machines returns those that the golden tests run as, beyond this one with one thread.
func machines(all bool) []machine {
	if !all {
		return []machine{{2, "AVX2", ""}}
	}
	ms := []machine{{2, "", ""}, {1, "AVX2", ""}, {2, "AVX2", ""}, {1, "no AVX", ""}, {2, "no AVX", ""}}
	for _, release := range libtorch.Earlier() {
		ms = append(ms, machine{1, "", release}, machine{2, "AVX2", release})
	}
	return ms
}

// environ returns the variables that make this machine m.
func (m machine) environ(ctx context.Context) ([]string, error) {
	// Threads that wait yield: others may need the processor.
	env := append(os.Environ(), fmt.Sprint("OMP_NUM_THREADS=", m.threads), "OMP_WAIT_POLICY=passive")
	env = append(env, instructions[m.instructions]...)
	if m.libtorch != "" {
		lib, err := libtorch.FetchEarlier(ctx, m.libtorch, ".libtorch-"+m.libtorch, os.Stdout)
		if err != nil {
			return nil, err
		}
		env = append(env, "LIBTORCH="+lib.Dir)
	}
	return env, nil
}

func run(ctx context.Context, all bool) (ok bool, err error) {
	golden, err := goldenPackages(ctx)
	if err != nil {
		return false, err
	}
	var skips []skip
	ok = true
	test := func(m machine, args ...string) error {
		env, err := m.environ(ctx)
		if err != nil {
			return err
		}
		passed, skipped, err := goTest(ctx, env, args)
		skips, ok = append(skips, skipped...), ok && passed
		return err
	}
	if err := test(machine{threads: 1}, "./..."); err != nil { // packages are tested side by side: one thread each
		return false, err
	}
	for _, m := range machines(all) {
		fmt.Printf("\nOnce more what compares with golden values, with %v:\n", m)
		// Not cached: go test does not know the variables that libtorch reads.
		if err := test(m, append([]string{"-count=1", fmt.Sprint("-p=", max(1, runtime.NumCPU()/m.threads))}, golden...)...); err != nil {
			return false, err
		}
	}
	return report(skips) && ok, nil
}

// goldenPackages returns the packages with a script that makes golden values and with libtorch in their tests.
func goldenPackages(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-f", `{{.Dir}}	{{join .Deps " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`, "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var dirs []string
	for line := range strings.Lines(string(out)) {
		dir, needs, _ := strings.Cut(line, "\t")
		scripts, err := filepath.Glob(filepath.Join(dir, "testdata", "make_*.py"))
		if err != nil {
			return nil, err
		}
		if scripts != nil && (slices.Contains(strings.Fields(needs), "must/torch") || filepath.Base(dir) == "torch") {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// A skip is a test that did not run, and why.
type skip struct{ pkg, test, reason string }

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output string
}

// goTest runs go test and prints what it prints without -json.
func goTest(ctx context.Context, env, args []string) (ok bool, skips []skip, err error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json", "-timeout=30m"}, args...)...) // a machine that others use is slow
	cmd.Env, cmd.Stderr = env, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, nil, err
	}
	if err := cmd.Start(); err != nil {
		return false, nil, err
	}
	skips = relay(out, os.Stdout)
	err = cmd.Wait()
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		return false, skips, nil // what failed is printed
	}
	return err == nil, skips, err
}

// relay prints the lines of packages and the output of tests that failed, and returns the skipped ones.
func relay(from io.Reader, to io.Writer) (skips []skip) {
	type test struct{ pkg, name string }
	output := map[test]*bytes.Buffer{}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil { // no test's
			fmt.Fprintln(to, lines.Text())
			continue
		}
		at := test{e.Package, e.Test}
		switch {
		case e.Action == "build-output":
			io.WriteString(to, e.Output)
		case e.Action == "output" && e.Test == "":
			if strings.HasPrefix(e.Output, "FAIL") { // first what tests said that did not come to their end
				for k, text := range output {
					if k.pkg == e.Package {
						text.WriteTo(to)
						delete(output, k)
					}
				}
			}
			if e.Output != "PASS\n" {
				io.WriteString(to, e.Output)
			}
		case e.Action == "output":
			if output[at] == nil {
				output[at] = &bytes.Buffer{}
			}
			if !strings.HasPrefix(e.Output, "=== ") {
				output[at].WriteString(e.Output)
			}
		case e.Test == "" || output[at] == nil:
		case e.Action == "skip":
			skips = append(skips, skip{e.Package, e.Test, reason(output[at].String())})
			delete(output, at)
		case e.Action == "fail":
			output[at].WriteTo(to)
			delete(output, at)
		case e.Action == "pass":
			delete(output, at)
		}
	}
	return skips
}

// reason is what a test says before it is skipped, without the place in its file.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	text := strings.Join(said, " ")
	if file, rest, ok := strings.Cut(text, ": "); ok && strings.Contains(file, "_test.go:") {
		text = rest
	}
	return text
}

// report says which tests were skipped. It is false where CI is set and a make target would have prevented a
// skip: such reasons name it, as in "`make onnxruntime` fetches one".
func report(skips []skip) (ok bool) {
	ok = true
	ci := os.Getenv("CI") != "" && os.Getenv("CI") != "false"
	seen := map[skip]bool{}
	for _, s := range skips {
		if seen[s] {
			continue
		}
		seen[s] = true
		fmt.Printf("skipped: %s %s: %s\n", s.pkg, s.test, s.reason)
		if ci && strings.Contains(s.reason, "`make ") {
			fmt.Println("         which a run of CI has to prevent")
			ok = false
		}
	}
	return ok
}
