// Package generated replaces what programs write into pages that people write.
package generated

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"must/atomicfile"
)

// Replace replaces what stands in a page between two marks.
func Replace(path, begin, end string, body []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := Between(old, begin, end, body)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, text)
}

// Between returns a page with a body between two marks.
func Between(page []byte, begin, end string, body []byte) ([]byte, error) {
	head, rest, ok := bytes.Cut(page, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("the lines %q and %q are missing", begin, end)
	}
	return slices.Concat(head, []byte(begin), body, []byte(end), tail), nil
}
