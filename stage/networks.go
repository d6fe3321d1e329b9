package stage

import (
	"fmt"
	"path/filepath"
	"time"

	"must/checkpoint"
	"must/label"
	"must/network"
	"must/onnx"
	"must/teacher"
	"must/torch"
	"must/train"
)

// checkpoint returns the file of a source: a train stage's model, or the file itself.
func (e *Env) checkpoint(from string) string {
	if e.Step(from) != nil {
		return filepath.Join(e.Folder(from), train.ModelFile)
	}
	return from
}

// network builds a network, with the trunk of a source if one is named, where partial is set also of one
// that lacks a part of it; build gets its checkpoint, else nil. It also returns the sha256 of the source.
func (w *Work) network(from string, partial bool, build func(c *checkpoint.Checkpoint) (*network.Network, error)) (net *network.Network, sum string, err error) {
	var c *checkpoint.Checkpoint
	if from != "" {
		if c, err = checkpoint.ReadPretrained(w.checkpoint(from)); err != nil {
			return nil, "", err
		}
		sum = c.SHA256
	}
	err = torch.DoErr(func() error {
		if net, err = build(c); err != nil || c == nil {
			return err
		}
		filled, err := c.Fill(net, checkpoint.Parts{Partial: partial})
		if err == nil && c.External() {
			w.Display.Logf("%v", filled)
		}
		return err
	})
	if err != nil {
		if net != nil {
			torch.Do(net.Free)
		}
		return nil, "", err
	}
	return net, sum, nil
}

// declaration returns that of an external teacher, and the folder that its files are relative to.
func (e *Env) declaration(name string) (*onnx.Declaration, string, error) {
	if d := e.External[name]; d != nil {
		return d, "", nil
	}
	return teacher.Declaration(name)
}

// external opens an external teacher, its classes mapped to the recipe's. The caller frees it.
func (e *Env) external(name string) (label.Teacher, error) {
	d, dir, err := e.declaration(name)
	if err != nil {
		return label.Teacher{}, err
	}
	classes, err := e.classes(d.Task)
	if err != nil {
		return label.Teacher{}, err
	}
	return teacher.External(name, d, dir, classes)
}

// Try opens an external teacher, has it label one image, and returns the seconds that this took.
func (e *Env) Try(name string) (seconds float64, err error) {
	t, err := e.external(name)
	if err != nil {
		return 0, err
	}
	defer t.Net.Free()
	began := time.Now()
	err = teacher.Try(t)
	return time.Since(began).Seconds(), err
}

// teachers opens the networks of train stages or checkpoint files, and external teachers. The caller
// frees them.
func (w *Work) teachers(from []string, engine string) (opened []label.Teacher, err error) {
	defer func() {
		if err != nil {
			teacher.Free(opened)
			opened = nil
		}
	}()
	for _, name := range from {
		t, err := w.open(name, engine)
		if err != nil {
			return opened, err
		}
		opened = append(opened, t)
	}
	return opened, nil
}

// partial adds that weights need not be whole.
func (in *Inputs) partial(yes bool) {
	if yes {
		in.Add("partial", yes)
	}
}

// engine adds the one that runs networks, where it is not libtorch.
func (in *Inputs) engine(name string) {
	if name != "" {
		in.Add("engine", name)
	}
}

// open opens the network of a train stage or checkpoint file in an engine, or an external teacher.
func (w *Work) open(name, engine string) (label.Teacher, error) {
	if w.IsExternal(name) {
		return w.external(name)
	}
	return teacher.Checkpoint(w.checkpoint(name), teacher.Engine{Name: engine, Log: w.Display.Logf})
}

// Hash adds up all that the labels of an external teacher depend on: what is declared of it, and its
// files.
func (e *Env) Hash(name string) (d onnx.Declaration, sum string, err error) {
	declared, dir, err := e.declaration(name)
	if err != nil {
		return d, "", fmt.Errorf("teacher %s: %w", name, err)
	}
	d = *declared
	if sum, err = d.Hash(dir); err == nil {
		err = d.Classes.Read(dir)
	}
	return d, sum, err
}
