// Command cuda-check shows how the program does on a GPU: on a bare machine that has PyTorch and torchvision for its
// python3, but neither Go nor a network. It is packed where there is Go, and needs nothing beside its folder there:
//
//	make cuda-check                                    # out/cuda-check.tar.gz, under 64 MB
//	tar xzf cuda-check.tar.gz && cuda-check/cuda-check # on the machine with the GPU, at most 8 minutes
//
// It runs the tests of engine, models, tasks and trainer on the GPU, compares a training step of every backbone and
// task with the CPU's, measures steps and labelling beside PyTorch (scripts/benchpeers), labels 2,000 pictures, runs the
// demo, and prints one table. -device cpu tries all of that in small, without a GPU.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	pack := flag.String("pack", "", "pack the command into this folder and beside it as .tar.gz, and end")
	device := flag.String("device", "cuda", "cuda, or cpu to try the command itself")
	limit := flag.Duration("limit", 8*time.Minute, "for all of it")
	only := flag.String("only", "", "those parts whose name has this in it: tests, steps, peers, kernels, labels, demo")
	out := flag.String("out", "", "folder for the table, what the parts print, and performance.md (that of the command)")
	worker := flag.Bool("worker", false, "used by the command itself")
	flag.Parse()
	if err := func() error {
		switch {
		case *pack != "":
			return packInto(*pack)
		case *worker:
			return steps(*device)
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c := check{dir: filepath.Dir(self), device: *device, out: *out, ends: time.Now().Add(*limit)}
		if c.out == "" {
			c.out = filepath.Join(c.dir, "results")
		}
		return c.run(*only)
	}(); err != nil {
		fmt.Fprintln(os.Stderr, "cuda-check:", err)
		os.Exit(1)
	}
}

// A check runs the parts.
type check struct {
	dir, device, out string
	ends             time.Time
	rows             []row
}

// A row of the table.
type row struct {
	part, result string
	seconds      float64
}

// small reports whether it is tried without a GPU.
func (c *check) small() bool { return c.device == "cpu" }

func (c *check) run(only string) error {
	if err := os.MkdirAll(c.out, 0o777); err != nil {
		return err
	}
	parts := []struct {
		name  string
		share float64 // of the time that is left
		do    func(context.Context) []row
	}{
		{"doctor", 0.1, c.doctor},
		{"tests", 0.3, c.tests},
		{"steps", 0.3, c.compare},
		{"peers", 0.7, c.peers},
		{"kernels", 0.4, c.kernels},
		{"labels", 0.6, c.labels},
		{"demo", 0.95, c.demo},
	}
	for _, p := range parts {
		if !strings.Contains(p.name, only) {
			continue
		}
		left := time.Until(c.ends)
		if left < 5*time.Second {
			c.rows = append(c.rows, row{p.name, "left out: the time is over", 0})
			continue
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(float64(left)*p.share))
		rows := p.do(ctx)
		cancel()
		rows[0].seconds = time.Since(began).Seconds()
		c.rows = append(c.rows, rows...)
		for _, r := range rows {
			fmt.Printf("%s: %s\n", r.part, r.result)
		}
	}
	var b strings.Builder
	b.WriteString("| part | result | seconds |\n|---|---|---|\n")
	for _, r := range c.rows {
		seconds := ""
		if r.seconds > 0 {
			seconds = fmt.Sprintf("%.0f", r.seconds)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.part, strings.ReplaceAll(strings.TrimSpace(r.result), "\n", "<br>"), seconds)
	}
	fmt.Printf("\n%s", b.String())
	return os.WriteFile(filepath.Join(c.out, "table.md"), []byte(b.String()), 0o666)
}

// command prepares a program of the folder; what it prints on standard error goes to a file of the part. When the time
// is over it ends with all that it started.
func (c *check) command(ctx context.Context, part, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.dir, program), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if log, err := os.OpenFile(filepath.Join(c.out, part+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666); err == nil {
		cmd.Stderr = log
	}
	return cmd
}

// output runs a command, keeps what it prints in a file of the part, and says why it failed.
func (c *check) output(ctx context.Context, cmd *exec.Cmd, part string) (string, error) {
	text, err := cmd.Output()
	if f, e := os.OpenFile(filepath.Join(c.out, part+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666); e == nil {
		f.Write(text)
		f.Close()
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("not done in its share of the time")
	} else if err != nil {
		err = fmt.Errorf("%w; %s says more", err, filepath.Join(c.out, part+".log"))
	}
	return string(text), err
}
