package winograd

import "golang.org/x/sys/cpu"

var supported = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// entry is the address of the C function that does a job's tasks.
func entry() uintptr

// run does a job's tasks.
//
//go:noescape
func run(j *job)
