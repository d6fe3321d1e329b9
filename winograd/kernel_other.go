//go:build !amd64

package winograd

const supported = false

func entry() uintptr { panic("winograd: not for this processor") }

func run(*job) { entry() }
