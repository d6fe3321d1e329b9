package shards

import (
	"bytes"
	"image"

	"must/data"
	"must/task/registry"
)

// encode appends the entry of one task to buf. size is the frame of the image.
func encode(buf *bytes.Buffer, task string, t Task, s *data.Sample, size image.Point) error {
	return registry.Get(task).Store(buf, s.Label(task), t.meaning(), t.DType, size)
}

// decode parses an entry into the sample. size is the frame of the image.
func decode(b []byte, task string, t Task, s *data.Sample, size image.Point) error {
	l, err := registry.Get(task).Load(task, b, t.meaning(), t.DType, size)
	if err == nil {
		s.Put(l)
	}
	return err
}
