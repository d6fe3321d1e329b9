// Package tracking tells other programs how a run goes: TensorBoard by event files beside the run's log, and
// an MLflow server over HTTP. docs/tracking.md says what they are told.
package tracking

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Events is a file that TensorBoard reads: TFRecords of tensorflow.Event, whose few fields in use are written
// by hand (tensorflow/core/util/event.proto and framework/summary.proto).
type Events struct {
	f   *os.File
	now func() time.Time
}

// pattern matches our event files. TensorBoard reads files whose names have "tfevents" in them, in the order
// of their names.
const pattern = "events.out.tfevents.*.must"

// OpenEvents begins a file in dir for the steps after one. What earlier files say of later steps, which a
// killed run left behind, is taken back; files that began later go.
func OpenEvents(dir string, step int) (*Events, error) {
	name := func(step int) string { return fmt.Sprintf("events.out.tfevents.%010d.must", step) }
	old, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	for _, path := range old {
		if filepath.Base(path) >= name(step) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	f, err := os.Create(filepath.Join(dir, name(step)))
	if err != nil {
		return nil, err
	}
	e := &Events{f, time.Now}
	version := protowire.AppendTag(nil, 3, protowire.BytesType) // file_version
	if err = e.write(0, protowire.AppendString(version, "brain.Event:2")); err == nil && step > 0 {
		var start []byte // a session log of status START: forget what was said of this step and later ones
		start = protowire.AppendTag(start, 1, protowire.VarintType)
		start = protowire.AppendVarint(start, 1)
		log := protowire.AppendTag(nil, 7, protowire.BytesType)
		err = e.write(step+1, protowire.AppendBytes(log, start))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return e, nil
}

// Scalars writes values at a step, by tag. Those that are not finite are written too: TensorBoard shows them.
func (e *Events) Scalars(step int, values map[string]float64) error {
	var summary []byte
	for _, tag := range slices.Sorted(maps.Keys(values)) {
		v := protowire.AppendTag(nil, 1, protowire.BytesType)
		v = protowire.AppendString(v, tag)
		v = protowire.AppendTag(v, 2, protowire.Fixed32Type) // simple_value
		v = protowire.AppendFixed32(v, math.Float32bits(float32(values[tag])))
		summary = protowire.AppendTag(summary, 1, protowire.BytesType)
		summary = protowire.AppendBytes(summary, v)
	}
	return e.summary(step, summary)
}

// Image writes a picture at a step.
func (e *Events) Image(step int, tag string, img image.Image) error {
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return err
	}
	size := img.Bounds().Size()
	var m []byte
	for k, v := range []int{size.Y, size.X, 4} { // height, width, colour space RGBA
		m = protowire.AppendTag(m, protowire.Number(k+1), protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(v))
	}
	m = protowire.AppendTag(m, 4, protowire.BytesType)
	m = protowire.AppendBytes(m, file.Bytes())
	v := protowire.AppendTag(nil, 1, protowire.BytesType)
	v = protowire.AppendString(v, tag)
	v = protowire.AppendTag(v, 4, protowire.BytesType)
	v = protowire.AppendBytes(v, m)
	summary := protowire.AppendTag(nil, 1, protowire.BytesType)
	return e.summary(step, protowire.AppendBytes(summary, v))
}

func (e *Events) summary(step int, summary []byte) error {
	what := protowire.AppendTag(nil, 5, protowire.BytesType)
	return e.write(step, protowire.AppendBytes(what, summary))
}

// write appends an event, whole or not at all to who reads meanwhile.
func (e *Events) write(step int, what []byte) error {
	event := protowire.AppendTag(nil, 1, protowire.Fixed64Type) // wall_time, seconds
	event = protowire.AppendFixed64(event, math.Float64bits(float64(e.now().UnixMicro())/1e6))
	event = protowire.AppendTag(event, 2, protowire.VarintType)
	event = protowire.AppendVarint(event, uint64(step))
	if _, err := e.f.Write(record(append(event, what...))); err != nil {
		return fmt.Errorf("%s: %w", e.f.Name(), err)
	}
	return nil
}

// Close ends the file.
func (e *Events) Close() error { return e.f.Close() }

// record frames data as a TFRecord: its length, the length's checksum, data, its checksum.
func record(data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, masked(b))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, masked(data))
}

// masked is the checksum of TFRecords: CRC-32C, turned and shifted so that a checksum of data that holds
// checksums stays good.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}
