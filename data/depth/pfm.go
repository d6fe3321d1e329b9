package depth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"must/data"
)

// maxPFM is the largest file of a map that is read, in bytes.
const maxPFM = 1 << 30

// readPFM reads a portable float map (Middlebury, Scene Flow): "Pf", width and height, a scale whose sign tells the
// order of bytes (negative: little-endian), then rows of float32 from the lowest one up.
func readPFM(file string) (*data.Grid[float32], error) {
	b, err := data.ReadFile(file, maxPFM)
	if err != nil {
		return nil, err
	}
	g, err := decodePFM(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return g, nil
}

func decodePFM(b []byte) (*data.Grid[float32], error) {
	var fields [4]string
	rest := b
	for i := range fields {
		rest = bytes.TrimLeft(rest, " \t\r\n")
		end := bytes.IndexAny(rest, " \t\r\n")
		if end < 0 || end > 40 {
			return nil, fmt.Errorf("not a PFM: its head is cut short")
		}
		fields[i], rest = string(rest[:end]), rest[end:]
	}
	if fields[0] == "PF" {
		return nil, fmt.Errorf("a PFM of three colours is no depth map: want one of grey (Pf)")
	}
	if fields[0] != "Pf" {
		return nil, fmt.Errorf("not a PFM: it begins with %q, want Pf", fields[0])
	}
	w, errW := strconv.Atoi(fields[1])
	h, errH := strconv.Atoi(fields[2])
	scale, errS := strconv.ParseFloat(fields[3], 64)
	if errW != nil || errH != nil || errS != nil || w < 1 || h < 1 || scale == 0 || math.IsNaN(scale) {
		return nil, fmt.Errorf("not a PFM: width, height and scale are %q", fields[1:])
	}
	rest = rest[1:] // one blank after the scale
	if w > len(rest)/4 || h > len(rest)/4/w || len(rest) != 4*w*h {
		return nil, fmt.Errorf("a PFM of %d×%d pixels needs 4 bytes of each, it has %d", w, h, len(rest))
	}
	var order binary.ByteOrder = binary.LittleEndian
	if scale > 0 {
		order = binary.BigEndian
	}
	g := data.NewGrid[float32](w, h)
	for i := range g.Pix {
		x, y := i%w, h-1-i/w
		g.Set(x, y, math.Float32frombits(order.Uint32(rest[4*i:])))
	}
	return g, nil
}
