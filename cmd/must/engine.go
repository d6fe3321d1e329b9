package main

import "must/teacher"

// engine is the flag that says what runs networks.
type engine struct {
	Engine string `help:"What runs networks of ours: torch, onnxruntime, tensorrt (NVIDIA), or auto, the faster of the first two; default torch." enum:"torch,onnxruntime,tensorrt,auto" default:"torch" placeholder:"ENGINE"`
}

func (e engine) of(a *app) teacher.Engine { return teacher.Engine{Name: e.Engine, Log: a.display.Logf} }
