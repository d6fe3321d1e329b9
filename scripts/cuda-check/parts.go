package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// doctor says what the machine has.
func (c *check) doctor(ctx context.Context) []row {
	text, err := c.output(ctx, c.command(ctx, "doctor", "must", "--device", c.device, "doctor"), "doctor")
	var found []string
	for line := range strings.Lines(text) {
		for _, name := range []string{"processor", "GPU", "libtorch", "training"} {
			if strings.HasPrefix(line, name+" ") {
				found = append(found, strings.Join(strings.Fields(line)[1:], " "))
			}
		}
	}
	if err != nil {
		found = append(found, err.Error())
	}
	return []row{{"machine", strings.Join(found, "\n"), 0}}
}

var (
	passes = regexp.MustCompile(`(?m)^\s*--- PASS: (\S+)`)
	fails  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
)

// tests runs the tests of each package on the device.
func (c *check) tests(ctx context.Context) []row {
	rows := []row{{"tests", "", 0}}
	passed, failed := 0, 0
	for _, pkg := range packages {
		args := []string{"-test.v", "-test.timeout=150s", "-test.skip=TestOperatorsAreTested"} // which reads the sources
		if c.small() {
			args = append(args, "-test.short", "-test.run=Golden|Known|Matches|Scope|Operators")
		}
		cmd := c.command(ctx, "tests", filepath.Join("tests", pkg, "run"), args...)
		cmd.Dir = filepath.Join(c.dir, "tests", pkg)
		cmd.Env = append(os.Environ(), "MUST_DEVICE="+c.device, "NVIDIA_TF32_OVERRIDE=0")
		text, err := c.output(ctx, cmd, "tests")
		ok, bad := passes.FindAllStringSubmatch(text, -1), fails.FindAllStringSubmatch(text, -1)
		passed, failed = passed+len(ok), failed+len(bad)
		if err == nil {
			continue
		}
		var names []string
		for _, m := range bad {
			names = append(names, m[1])
		}
		if names == nil {
			names = []string{err.Error()}
			if line := regexp.MustCompile(`(?m)^(panic|fatal error|SIG).*`).FindString(text); line != "" {
				names = append(names, line)
			}
		}
		rows = append(rows, row{"tests of " + pkg, strings.Join(names, ", "), 0})
	}
	rows[0].result = fmt.Sprintf("%d passed, %d failed, of %d packages", passed, failed, len(packages))
	return rows
}

// peers measures steps and labelling beside PyTorch.
func (c *check) peers(ctx context.Context) []row {
	page := filepath.Join(c.out, "performance.md")
	if b, err := os.ReadFile(filepath.Join(c.dir, "performance.md")); err == nil {
		os.WriteFile(page, b, 0o666)
	}
	args := []string{"-device", c.device, "-peers", filepath.Join(c.dir, "peers"), "-write", page}
	if c.small() {
		args = append(args, "-tiny")
	}
	text, err := c.output(ctx, c.command(ctx, "peers", "benchpeers", args...), "peers")
	var rows []row
	var name string
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(line, "### "); ok {
			name = strings.TrimSpace(title)
		}
		cells := strings.Split(line, "|")
		if len(cells) == 6 && strings.Contains(cells[1], "images a second") {
			rows = append(rows, row{name, fmt.Sprintf("%s images a second, PyTorch %s: %s", strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])), 0})
		}
	}
	if err != nil || rows == nil {
		rows = append(rows, row{"beside PyTorch", fmt.Sprint(err), 0})
	}
	return rows
}

// kernels takes steps without a pause and asks the driver which share of the time kernels ran.
func (c *check) kernels(ctx context.Context) []row {
	const part = "time inside kernels"
	var rows []row
	for _, j := range [][]string{{"512 px, batch 16", "-batch", "16"}, {"64 px, batch 256", "-small", "-batch", "256"}} {
		args := append([]string{"-worker", "step", "-device", c.device, "-bf16"}, j[1:]...)
		n := 30
		if c.small() {
			args, n = []string{"-worker", "step", "-device", c.device, "-small", "-batch", "2"}, 2
		}
		cmd := c.command(ctx, "kernels", "benchpeers", args...)
		in, err := cmd.StdinPipe()
		if err == nil {
			var out interface{ Read([]byte) (int, error) }
			if out, err = cmd.StdoutPipe(); err == nil {
				if err = cmd.Start(); err == nil {
					lines := bufio.NewScanner(out)
					var used []float64
					took := 0.
					fmt.Fprint(in, strings.Repeat("step\n", n))
					in.Close()
					for i := -1; i < n && lines.Scan(); i++ { // the first line says that it is ready
						var t struct{ Seconds float64 }
						json.Unmarshal(lines.Bytes(), &t)
						if i >= n/3 {
							took += t.Seconds
							if u, ok := utilization(ctx); ok {
								used = append(used, u)
							}
						}
					}
					for lines.Scan() {
					}
					err = cmd.Wait()
					if err == nil && used != nil {
						sum := 0.
						for _, u := range used {
							sum += u
						}
						rows = append(rows, row{part + ", " + j[0], fmt.Sprintf("%.0f %%, of %d samples", sum/float64(len(used)), len(used)), 0})
						continue
					}
				}
			}
		}
		what := "the driver does not tell"
		if err != nil {
			what = err.Error()
		}
		rows = append(rows, row{part + ", " + j[0], what, 0})
	}
	return rows
}

// utilization is the share of the last moments, in percent, in which kernels ran on the first GPU.
func utilization(ctx context.Context) (float64, bool) {
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0").Output()
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	return v, err == nil
}

// labels labels pictures by four teachers.
func (c *check) labels(ctx context.Context) []row {
	n := 2000
	args := []string{"-worker", "label", "-device", c.device, "-batch", "16"}
	if c.small() {
		n, args = 20, append(args, "-small")
	}
	part := fmt.Sprintf("labelling %d pictures by four teachers", n)
	dir, err := pictures(n)
	if err == nil {
		defer os.RemoveAll(dir)
		cmd := c.command(ctx, "labels", "benchpeers", append(args, "-images", dir)...)
		cmd.Stdin = strings.NewReader("step\n")
		var text string
		text, err = c.output(ctx, cmd, "labels")
		for line := range strings.Lines(text) {
			var t struct {
				Seconds float64
				Images  int
			}
			if json.Unmarshal([]byte(line), &t) == nil && t.Images > 0 {
				return []row{{part, fmt.Sprintf("%.1f images a second, %.1f s", float64(t.Images)/t.Seconds, t.Seconds), 0}}
			}
		}
	}
	return []row{{part, fmt.Sprint(err), 0}}
}

// pictures makes a folder of them, of which a few differ.
func pictures(n int) (string, error) {
	dir, err := os.MkdirTemp("", "cuda-check-")
	if err != nil {
		return "", err
	}
	const files, w, h = 50, 640, 480
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%06d.jpg", i)) }
	for i := range n {
		if i >= files {
			if err := os.Link(path(i%files), path(i)); err != nil {
				return dir, err
			}
			continue
		}
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				v := uint8(x*(i+1)/7 ^ y*(i+3)/9)
				img.SetRGBA(x, y, color.RGBA{uint8(x / 3), uint8(y / 2), v, 255})
			}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
			return dir, err
		}
		if err := os.WriteFile(path(i), b.Bytes(), 0o666); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// demo runs the demo's recipe as far as the time allows.
func (c *check) demo(ctx context.Context) []row {
	dir := filepath.Join(c.out, "demo")
	os.RemoveAll(dir)
	args := []string{"--device", c.device, "run", "demo", "--out", dir}
	if c.small() {
		args = append(args, "--set", "train.batch=4", "--stage", "data", "--stage", "teacher-detection", "--set", "teacher-detection.with.steps=3", "--set", "data.crowds.parts.train=20", "--set", "data.crowds.parts.val=4")
	} else {
		args = append(args, "--jobs", "4")
	}
	began := time.Now()
	_, err := c.output(ctx, c.command(ctx, "demo", "must", args...), "demo")
	result := fmt.Sprintf("done in %.0f s", time.Since(began).Seconds())
	if err != nil {
		result = err.Error()
	}
	ended, _ := filepath.Glob(filepath.Join(dir, "*", "stage.json"))
	ended = slices.DeleteFunc(ended, func(f string) bool {
		i, err := os.Lstat(filepath.Dir(f))
		return err != nil || i.Mode()&os.ModeSymlink != 0
	})
	rows := []row{{"demo", fmt.Sprintf("%s; %d stages ended", result, len(ended)), 0}}
	var results struct {
		Networks []struct {
			Stage  string
			Scores map[string]map[string]float64
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "results.json")); err == nil && json.Unmarshal(b, &results) == nil {
		for _, n := range results.Networks {
			if n.Scores != nil {
				rows = append(rows, row{"demo, " + n.Stage, fmt.Sprint(n.Scores), 0})
			}
		}
	}
	return rows
}
