package data

import (
	"fmt"
	"os"
)

// ReadFile reads a file of at most most bytes, whose size is looked at before memory is taken. The error
// names the file.
func ReadFile(file string, most int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: not a file of up to %d MB", file, most>>20)
	}
	return os.ReadFile(file)
}
