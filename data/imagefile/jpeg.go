package imagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"iter"
	"slices"
)

// errCut is told beside an image of which a part is missing.
var errCut = errors.New("JPEG cut short: a part of the picture is missing")

// decodeJPEG decodes the first picture of a JPEG file. What is cut short within its scan comes back with errCut.
func decodeJPEG(content []byte) (image.Image, error) {
	content = withAdobe(content)
	img, err := jpeg.Decode(bytes.NewReader(content))
	if !errors.Is(err, io.ErrUnexpectedEOF) && err != jpeg.FormatError("short Huffman data") {
		return img, err
	}
	whole, missing := mend(content)
	if whole == nil {
		return nil, io.ErrUnexpectedEOF
	}
	img, mended := jpeg.Decode(bytes.NewReader(whole))
	switch {
	case mended != nil:
		return nil, err
	case missing:
		return img, errCut
	}
	return img, nil
}

const (
	soi, eoi, sos        = 0xd8, 0xd9, 0xda
	dht, dri             = 0xc4, 0xdd
	app1, app14          = 0xe1, 0xee
	baseline, sequential = 0xc0, 0xc1
	progressive          = 0xc2
)

// A segment is a marker with its payload, found at an offset of its file.
type segment struct {
	marker  byte
	payload []byte
	at, end int
}

// segments walks a JPEG file up to a damaged segment, past scans to what follows them.
func segments(content []byte) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		for at := 2; at+4 <= len(content) && content[at] == 0xff; {
			marker := content[at+1]
			if marker == 0xff { // a fill byte
				at++
				continue
			}
			n := int(binary.BigEndian.Uint16(content[at+2:]))
			if marker == eoi || n < 2 || at+2+n > len(content) {
				return
			}
			s := segment{marker, content[at+4 : at+2+n], at, at + 2 + n}
			if !yield(s) {
				return
			}
			at = s.end
			for marker == sos && at+1 < len(content) && (content[at] != 0xff || content[at+1] == 0 || content[at+1]&^7 == 0xd0) {
				at++
			}
		}
	}
}

// withAdobe marks a picture of four channels that lacks Adobe's marker as inverted CMYK, as Pillow takes it.
func withAdobe(content []byte) []byte {
	inks := false
	for s := range segments(content) {
		if s.marker == sos {
			break
		}
		if s.marker == app14 && bytes.HasPrefix(s.payload, []byte("Adobe")) {
			return content
		}
		if s.marker >= baseline && s.marker <= progressive {
			inks = len(s.payload) == 6+4*3
		}
	}
	if !inks {
		return content
	}
	return slices.Concat(content[:2], []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"), content[2:])
}

// mend completes a JPEG that ends too early, nil where it cannot: blocks that are missing become grey, as libjpeg
// makes them, or stay as coarse as the scans before have them. A scan that refines others is left out.
func mend(content []byte) (whole []byte, missing bool) {
	scans := 0
	var last segment
	frame := byte(0)
	var f jpegFrame
	for s := range segments(content) {
		switch {
		case s.marker >= baseline && s.marker <= progressive:
			if frame != 0 || !f.read(s.payload) {
				return nil, false
			}
			frame = s.marker
		case s.marker == sos:
			scans++
			last = s
			if frame == baseline || frame == sequential {
				return f.rewrite(content, s)
			}
		}
	}
	if frame != progressive || scans < 2 {
		return nil, false
	}
	if whole := f.finish(content, last); whole != nil {
		return whole, true
	}
	return append(slices.Clone(content[:last.at]), 0xff, eoi), true
}

// A jpegFrame is what the frame header says of the components, ITU-T T.81 §B.2.2.
type jpegFrame struct {
	w, h       int
	components []jpegComponent
}

type jpegComponent struct {
	id     byte
	h, v   int
	dc, ac huffmanTable
	in     int // the DC value of the last block that was read
	out    int // and of the last that was written
}

func (f *jpegFrame) read(b []byte) bool {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return false
	}
	f.h, f.w = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	for b := b[6:]; len(b) > 0; b = b[3:] {
		f.components = append(f.components, jpegComponent{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15)})
	}
	if len(f.components) == 1 { // not interleaved: a block at a time
		f.components[0].h, f.components[0].v = 1, 1
	}
	return f.w > 0 && f.h > 0
}

// rewrite returns the file with its one scan of all components written again, whole and in tables of Huffman codes that
// have every symbol, and whether blocks were missing; nil where the scan has none.
func (f *jpegFrame) rewrite(content []byte, scan segment) (whole []byte, missing bool) {
	n := len(f.components)
	if len(scan.payload) != 4+2*n || int(scan.payload[0]) != n {
		return nil, false
	}
	tables, interval, ok := readTables(content[:scan.at])
	if !ok {
		return nil, false
	}
	for id := range tables {
		if id&^0x13 != 0 {
			return nil, false
		}
	}
	out := slices.Clone(content[:2])
	for s := range segments(content[:scan.at]) {
		if s.marker != dht && !s.restarts() {
			out = append(out, content[s.at:s.end]...)
		}
	}
	maxH, maxV := 1, 1
	for i := range f.components {
		c := &f.components[i]
		id, t := scan.payload[1+2*i], scan.payload[2+2*i]
		if id != c.id || t&^0x33 != 0 || c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return nil, false
		}
		c.dc, c.ac = tables[t>>4], tables[0x10|t&3]
		maxH, maxV = max(maxH, c.h), max(maxV, c.v)
	}
	out = append(out, flatTables...)
	out = append(out, content[scan.at:scan.end]...)
	for i := range n {
		out[len(out)-3-2*n+2*i+1] = 0 // flatTables for all
	}
	units := ((f.w + 8*maxH - 1) / (8 * maxH)) * ((f.h + 8*maxV - 1) / (8 * maxV))
	r, w := bitReader{b: content[scan.end:]}, bitWriter{b: out}
	for unit := range units {
		if interval > 0 && unit > 0 && unit%interval == 0 && !r.short {
			r.restart()
			for i := range f.components {
				f.components[i].in = 0
			}
		}
		there := !r.short
		if unit == 0 && r.empty() {
			return nil, false
		}
		for i := range f.components {
			c := &f.components[i]
			for range c.h * c.v {
				if !there {
					w.symbol(c.difference(0), 5)
					w.symbol(coefficient{}, 9)
				} else if !c.block(&r, &w) {
					return nil, false
				}
			}
		}
		if unit == 0 && r.short {
			return nil, false
		}
	}
	return append(w.flush(), 0xff, eoi), r.short
}

// restarts reports whether the segment says how many units there are between restarts.
func (s segment) restarts() bool { return s.marker == dri && len(s.payload) == 2 }

// readTables reads what precedes a scan: the Huffman tables, by class and number in one byte as the file has them, and
// how many units there are between restarts, 0 for none. It is false where a table is damaged.
func readTables(head []byte) (tables map[byte]huffmanTable, interval int, ok bool) {
	tables = map[byte]huffmanTable{}
	for s := range segments(head) {
		switch {
		case s.restarts():
			interval = int(binary.BigEndian.Uint16(s.payload))
		case s.marker == dht:
			for b := s.payload; len(b) >= 17; {
				t, rest := readHuffman(b)
				if t == nil {
					return nil, 0, false
				}
				tables[b[0]], b = t, rest
			}
		}
	}
	return tables, interval, true
}

// finish returns the file with its last scan, the first one of AC values of a component, written again and whole; nil
// where the scan is another or damaged.
func (f *jpegFrame) finish(content []byte, scan segment) []byte {
	p := scan.payload // of one component: its number, its tables, the first and last value, how much is refined
	if len(p) != 6 || p[0] != 1 || p[3] == 0 || p[4] > 63 || p[5]>>4 != 0 {
		return nil
	}
	maxH, maxV := 1, 1
	var of jpegComponent
	for _, c := range f.components {
		maxH, maxV = max(maxH, c.h), max(maxV, c.v)
		if c.id == p[1] {
			of = c
		}
	}
	tables, interval, ok := readTables(content[:scan.at])
	if !ok {
		return nil
	}
	of.ac = tables[0x10|p[2]&15]
	across := func(size, sampling, most int) int { return ((size*sampling+most-1)/most + 7) / 8 }
	blocks := across(f.w, of.h, maxH) * across(f.h, of.v, maxV)
	noRestarts := []byte{0xff, dri, 0, 4, 0, 0}
	head := []byte{0xff, sos, 0, 8, 1, p[1], 0, p[3], p[4], p[5]}
	r, w := bitReader{b: content[scan.end:]}, bitWriter{b: slices.Concat(content[:scan.at], noRestarts, flatTables, head)}
	empty := 0 // blocks that have no more values
	for block := range blocks {
		if interval > 0 && block > 0 && block%interval == 0 && !r.short {
			r.restart()
			empty = 0
		}
		if r.short {
			empty = 1
		}
		for k := int(p[3]); k <= int(p[4]) && empty == 0; k++ {
			s, ok := of.ac.next(&r)
			switch run, size := int(s>>4), int(s&15); {
			case !ok || s == 0xff:
				return nil
			case size == 0 && run < 15:
				empty = 1<<run + r.bits(run)
			default:
				w.symbol(coefficient{s, r.bits(size)}, 9)
				k += run
			}
		}
		if empty > 0 {
			w.symbol(coefficient{}, 9)
			empty--
		}
	}
	return append(w.flush(), 0xff, eoi)
}

// A coefficient is written as a symbol, whose low four bits count the bits that follow.
type coefficient struct {
	symbol byte
	bits   int
}

// difference returns how the DC value dc follows the last one that was written.
func (c *jpegComponent) difference(dc int) coefficient {
	d := dc - c.out
	c.out = dc
	size := byte(0)
	for a := max(d, -d); a>>size > 0; size++ {
	}
	if d < 0 {
		d += 1<<size - 1
	}
	return coefficient{size, d}
}

// block copies a block, false where its codes are none. Bits that are missing are 0.
func (c *jpegComponent) block(r *bitReader, w *bitWriter) bool {
	size, ok := c.dc.next(r)
	if !ok || size > 11 {
		return false
	}
	d := r.bits(int(size))
	if size > 0 && d>>(size-1) == 0 {
		d -= 1<<size - 1
	}
	c.in += d
	if c.in < -1<<13 || c.in > 1<<13 {
		return false
	}
	w.symbol(c.difference(c.in), 5)
	for k := 1; k < 64; k++ {
		s, ok := c.ac.next(r)
		if !ok || s == 0xff {
			return false
		}
		w.symbol(coefficient{s, r.bits(int(s & 15))}, 9)
		if s == 0 {
			break
		}
		k += int(s >> 4)
	}
	return true
}

// flatTables define Huffman codes that are the symbols themselves: of 5 bits for DC, of 9 for AC, where 255 is no symbol.
var flatTables = func() []byte {
	b := append([]byte{0xff, dht, 0, 0, 0x00}, make([]byte, 16)...)
	b[5+4] = 16
	for s := range 16 {
		b = append(b, byte(s))
	}
	counts := make([]byte, 16)
	counts[8] = 255
	b = append(append(b, 0x10), counts...)
	for s := range 255 {
		b = append(b, byte(s))
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-2))
	return b
}()

// A huffmanTable holds the codes of each length, 1 to 16, T.81 §C: the first one, and the symbols.
type huffmanTable []struct {
	first   int
	symbols []byte
}

func readHuffman(b []byte) (t huffmanTable, rest []byte) {
	code := 0
	rest = b[17:]
	for i := range 16 {
		n := int(b[1+i])
		if n > len(rest) {
			return nil, nil
		}
		t = append(t, struct {
			first   int
			symbols []byte
		}{code, rest[:n]})
		rest = rest[n:]
		code = (code + n) << 1
	}
	return t, rest
}

func (t huffmanTable) next(r *bitReader) (symbol byte, ok bool) {
	code := 0
	for _, length := range t {
		code = code<<1 | r.bits(1)
		if i := code - length.first; i >= 0 && i < len(length.symbols) {
			return length.symbols[i], true
		}
	}
	return 0, false
}

// A bitReader reads a scan without its stuffed zeros.
type bitReader struct {
	b     []byte
	acc   byte
	left  int
	short bool // bits were asked for that are not there
}

func (r *bitReader) empty() bool {
	return len(r.b) == 0 || r.b[0] == 0xff && (len(r.b) == 1 || r.b[1] != 0)
}

func (r *bitReader) bits(n int) (v int) {
	for range n {
		if r.left == 0 {
			if r.empty() {
				r.short = true
				v <<= 1
				continue
			}
			step := 1
			if r.b[0] == 0xff {
				step = 2
			}
			r.acc, r.left, r.b = r.b[0], 8, r.b[step:]
		}
		r.left--
		v = v<<1 | int(r.acc>>r.left&1)
	}
	return v
}

// restart moves on behind a restart marker.
func (r *bitReader) restart() {
	r.left = 0
	if len(r.b) >= 2 && r.b[0] == 0xff && r.b[1]&^7 == 0xd0 {
		r.b = r.b[2:]
	} else {
		r.b, r.short = nil, true
	}
}

// A bitWriter writes a scan.
type bitWriter struct {
	b   []byte
	acc uint64
	n   int
}

func (w *bitWriter) symbol(c coefficient, codeBits int) {
	w.bits(int(c.symbol), codeBits)
	w.bits(c.bits, int(c.symbol&15))
}

func (w *bitWriter) bits(v, n int) {
	w.acc = w.acc<<n | uint64(v)
	for w.n += n; w.n >= 8; w.n -= 8 {
		x := byte(w.acc >> (w.n - 8))
		w.b = append(w.b, x)
		if x == 0xff {
			w.b = append(w.b, 0)
		}
	}
}

func (w *bitWriter) flush() []byte {
	w.bits(1<<7-1, 7)
	return w.b
}
