package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// A bench runs our workers and the peers' programs.
type bench struct{ python, peers string }

// A turn is what a program says of a step or a pass.
type turn struct {
	Ready   bool               `json:"ready,omitempty"`
	Seconds float64            `json:"seconds"`
	CPU     float64            `json:"cpu"`
	Parts   map[string]float64 `json:"parts,omitempty"`
	Losses  map[string]float64 `json:"losses,omitempty"`
	BoxRoIs float64            `json:"box_rois_per_img,omitempty"`
	Masks   float64            `json:"mask_rois_per_img,omitempty"`
	Boxes   float64            `json:"boxes_per_img,omitempty"` // of a label
	Images  int                `json:"images,omitempty"`

	// In the last line only.
	PeakMB   float64 `json:"peak_rss_mb,omitempty"`
	DeviceMB float64 `json:"peak_device_mb,omitempty"`
	Params   float64 `json:"params_m,omitempty"`
	Version  string  `json:"torch,omitempty"`
	Vision   string  `json:"torchvision,omitempty"`
}

// A program takes a turn for every line that it is told.
type program struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	took []turn // that count
	last turn
	part map[string]float64
}

func start(dir, name string, args ...string) (*program, error) {
	p := &program{cmd: exec.Command(name, args...)}
	p.cmd.Dir, p.cmd.Stderr = dir, os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, 1<<20)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := p.read(); err != nil { // that it is ready
		p.cmd.Process.Kill()
		return nil, fmt.Errorf("%s %v: %w", name, args, err)
	}
	return p, nil
}

func (p *program) read() (t turn, err error) {
	if !p.out.Scan() {
		return t, errors.Join(errors.New("it ended too soon"), p.cmd.Wait())
	}
	return t, json.Unmarshal(p.out.Bytes(), &t)
}

func (p *program) take(word string) (turn, error) {
	if _, err := fmt.Fprintln(p.in, word); err != nil {
		return turn{}, err
	}
	return p.read()
}

// end has the program say its summary.
func (p *program) end() (err error) {
	p.in.Close()
	if p.last, err = p.read(); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// A comparison is a job done by both.
type comparison struct {
	job
	ours, peer *program
}

func (b bench) compare(j job) (c comparison, err error) {
	c.job = j
	if j.Kind == "label" {
		if j.Images, err = b.pictures(j.images()); err != nil {
			return c, err
		}
		defer os.RemoveAll(j.Images)
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	flags := []string{"--device", j.Device, "--threads", strconv.Itoa(j.Threads), "--batch", strconv.Itoa(j.Batch)}
	if j.Small {
		flags = append(flags, "--small")
	}
	if j.BF16 {
		flags = append(flags, "--bf16")
	}
	if j.Size > 0 {
		flags = append(flags, "--size", strconv.Itoa(j.Size))
	}
	theirs := append([]string{"student_step.py", "--driven", "--head-norm", "bn"}, flags...)
	if j.Kind == "label" {
		flags = append(flags, "--images", j.Images)
		theirs = append([]string{"label.py", "--driven", "--head-norm", "bn"}, flags...)
	}
	if j.Device == "cuda" {
		theirs = append(theirs, "--channels-last") // faster there, slower on a CPU
	}
	if c.peer, err = start(b.peers, b.python, theirs...); err != nil {
		return c, err
	}
	defer c.peer.cmd.Process.Kill()
	if c.ours, err = start("", self, append([]string{"-worker", j.Kind}, flags...)...); err != nil {
		return c, err
	}
	defer c.ours.cmd.Process.Kill()
	both := []*program{c.peer, c.ours}
	warm := 1
	if j.Device == "cuda" {
		warm = 4
	}
	for i := range warm + j.Steps {
		for _, p := range both {
			t, err := p.take("step")
			if err != nil {
				return c, err
			}
			if i >= warm || j.Kind == "label" && j.Steps == 1 {
				p.took = append(p.took, t)
			}
		}
		if j.Kind == "label" && j.Steps == 1 { // a pass that is long warms up by itself
			break
		}
	}
	if j.Kind == "step" {
		for _, p := range both {
			t, err := p.take("profile")
			if err != nil {
				return c, err
			}
			p.part = t.Parts
		}
	}
	return c, errors.Join(c.peer.end(), c.ours.end())
}

// pictures writes the JPEG files that are labelled, as the peer makes them.
func (b bench) pictures(n int) (string, error) {
	dir, err := os.MkdirTemp("", "must-bench-")
	if err != nil {
		return "", err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(b.python, "label.py", "--make", strconv.Itoa(n), "--images", dir, "--make-only")
	cmd.Dir, cmd.Stderr = b.peers, os.Stderr
	return dir, cmd.Run()
}
