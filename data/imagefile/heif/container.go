// Package heif reads the pictures of phones: AVIF and HEIC, AV1 and HEVC pictures in a container of ISO/IEC 23008-12.
//
// The decoders are libavif with libaom, and libheif with libde265, compiled to WebAssembly by
// github.com/gen2brain/avif and github.com/gen2brain/heic; wazero runs them. They see no file and no clock, and
// memory and time are bounded: what a damaged file does to them ends as an error.
package heif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
)

// A Header is what the container says of its main picture.
type Header struct {
	Codec string      // AVIF or HEIC
	Coded image.Point // size in pixels as coded
	Deep  bool        // more than 8 bits a channel

	// What is to be done to the coded picture, first to last.
	Crop image.Rectangle // the part that is shown
	Turn int             // and its EXIF orientation, 1 to 8

	// How luma and chroma become colours: coefficients of red and blue in luma (ITU-T H.273), and whether values use
	// all of 0 to 255.
	KR, KB float64
	Full   bool
}

// Size returns the size of the picture as it is shown.
func (h *Header) Size() image.Point {
	size := h.Crop.Size()
	if h.Turn >= 5 {
		size.X, size.Y = size.Y, size.X
	}
	return size
}

// maxBoxes bounds the boxes and properties that are looked at.
const maxBoxes = 1 << 16

// errShort is told of a file that ends too early.
var errShort = io.ErrUnexpectedEOF

// Parse reads the header of a file. Whatever EXIF says of its orientation does not count in this format.
func Parse(content []byte) (*Header, error) {
	top, err := boxes(content)
	if err != nil && top["meta"] == nil { // the pictures may be cut short: their decoder tells
		return nil, err
	}
	if top["meta"] == nil {
		if top["moov"] != nil {
			return nil, errors.New("a video, without a still picture")
		}
		return nil, errors.New("no picture in it")
	}
	meta, err := boxes(skip(top["meta"][0], 4))
	if err != nil {
		return nil, err
	}
	main, err := mainItem(meta["pitm"])
	if err != nil {
		return nil, err
	}
	properties, err := propertiesOf(meta["iprp"], main)
	if err != nil {
		return nil, err
	}
	h := &Header{Turn: 1, KR: 0.299, KB: 0.114, Full: true}
	switch kind := itemType(meta["iinf"], main); kind {
	case "av01":
		h.Codec = "AVIF"
	case "hvc1", "hev1":
		h.Codec = "HEIC"
	case "grid", "iovl", "iden": // made of others
		h.Codec = codecOf(meta["iprp"])
	default:
		return nil, fmt.Errorf("its picture is coded as %q, want AV1 or HEVC", kind)
	}
	if h.Codec == "" {
		return nil, errors.New("its picture is neither AV1 nor HEVC")
	}
	for _, p := range properties {
		if err := h.apply(p); err != nil {
			return nil, err
		}
	}
	if h.Coded == (image.Point{}) {
		return nil, errors.New("it does not tell its size")
	}
	return h, nil
}

// apply takes over a property of the main picture.
func (h *Header) apply(p box) error {
	b := p.payload
	u32 := func(i int) int64 { return int64(binary.BigEndian.Uint32(b[4*i:])) }
	switch {
	case p.kind == "ispe" && len(b) >= 12:
		w, height := u32(1), u32(2)
		if w < 1 || height < 1 || w > 1<<24 || height > 1<<24 {
			return fmt.Errorf("%d×%d pixels", w, height)
		}
		h.Coded = image.Pt(int(w), int(height))
		h.Crop = image.Rectangle{Max: h.Coded}
	case p.kind == "clap" && len(b) >= 32:
		crop, err := cleanAperture(b, h.Coded)
		if err != nil {
			return err
		}
		h.Crop = crop
	case p.kind == "irot" && len(b) >= 1: // quarter turns counter-clockwise
		for range b[0] & 3 {
			h.Turn = turned[h.Turn]
		}
	case p.kind == "imir" && len(b) >= 1: // 0 swaps top and bottom, 1 left and right
		h.Turn = flipped[h.Turn]
		if b[0]&1 == 1 {
			h.Turn = turned[turned[h.Turn]]
		}
	case p.kind == "pixi" && len(b) >= 6:
		h.Deep = b[5] > 8
	case p.kind == "colr" && len(b) >= 11 && string(b[:4]) == "nclx":
		h.Full = b[10]&0x80 != 0
		switch binary.BigEndian.Uint16(b[8:]) {
		case 1:
			h.KR, h.KB = 0.2126, 0.0722
		case 9:
			h.KR, h.KB = 0.2627, 0.0593
		}
	}
	return nil
}

// EXIF orientations after a quarter turn counter-clockwise, and after top and bottom are swapped.
var (
	turned  = [...]int{1: 8, 2: 5, 3: 6, 4: 7, 5: 4, 6: 1, 7: 2, 8: 3}
	flipped = [...]int{1: 4, 2: 3, 3: 2, 4: 1, 5: 8, 6: 7, 7: 6, 8: 5}
)

// cleanAperture returns the part of a picture that is shown (ISO/IEC 14496-12 §12.1.4): its width and height, and how
// far its centre lies from the picture's, as fractions.
func cleanAperture(b []byte, size image.Point) (image.Rectangle, error) {
	var v [4]float64
	for i := range v {
		n, d := int32(binary.BigEndian.Uint32(b[8*i:])), int32(binary.BigEndian.Uint32(b[8*i+4:]))
		if d == 0 {
			return image.Rectangle{}, errors.New("its clean aperture is a fraction of zero")
		}
		v[i] = float64(n) / float64(d)
	}
	x0 := v[2] + (float64(size.X)-v[0])/2
	y0 := v[3] + (float64(size.Y)-v[1])/2
	if !(v[0] >= 1 && v[1] >= 1 && x0 >= 0 && y0 >= 0 && x0+v[0] <= float64(size.X) && y0+v[1] <= float64(size.Y)) {
		return image.Rectangle{}, errors.New("its clean aperture reaches beyond the picture")
	}
	return image.Rect(int(x0), int(y0), int(x0)+int(v[0]), int(y0)+int(v[1])), nil
}

// A box is a part of the file.
type box struct {
	kind    string
	payload []byte
}

// split returns the boxes in b in order, those before the first damaged one with an error.
func split(b []byte) (all []box, err error) {
	for len(b) > 0 {
		if len(b) < 8 {
			return all, errShort
		}
		n, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch {
		case n == 1 && len(b) >= 16:
			n, head = binary.BigEndian.Uint64(b[8:]), 16
		case n == 0:
			n = uint64(len(b))
		}
		kind := string(b[4:8])
		if n < head || len(all) >= maxBoxes {
			return all, errors.New("damaged")
		}
		if n > uint64(len(b)) {
			return all, errShort
		}
		all = append(all, box{kind, b[head:n]})
		b = b[n:]
	}
	return all, nil
}

func boxes(b []byte) (map[string][][]byte, error) {
	all, err := split(b)
	byKind := map[string][][]byte{}
	for _, x := range all {
		byKind[x.kind] = append(byKind[x.kind], x.payload)
	}
	return byKind, err
}

func skip(b []byte, n int) []byte { return b[min(n, len(b)):] }

// A cursor reads numbers; behind the end they are 0 and short is set.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) (v uint64) {
	if len(c.b) < n {
		c.b, c.short = nil, true
		return 0
	}
	for _, x := range c.b[:n] {
		v = v<<8 | uint64(x)
	}
	c.b = c.b[n:]
	return v
}

// wide is 4 where yes, else 2: how many bytes numbers of items have.
func wide(yes bool) int {
	if yes {
		return 4
	}
	return 2
}

func mainItem(pitm [][]byte) (uint64, error) {
	if pitm == nil {
		return 0, errors.New("no main picture in it")
	}
	c := cursor{b: pitm[0]}
	id := func(version uint64) uint64 { return c.take(wide(version > 0)) }(c.take(4) >> 24)
	if c.short {
		return 0, errShort
	}
	return id, nil
}

// itemType returns the kind of an item, "" where it is not listed.
func itemType(iinf [][]byte, item uint64) string {
	if iinf == nil {
		return ""
	}
	c := cursor{b: iinf[0]}
	c.take(wide(c.take(4)>>24 > 0))
	entries, _ := split(c.b)
	for _, e := range entries {
		c := cursor{b: e.payload}
		version := c.take(4) >> 24
		if e.kind != "infe" || version < 2 {
			continue
		}
		id := c.take(wide(version > 2))
		c.take(2) // protection
		if id == item && len(c.b) >= 4 {
			return string(c.b[:4])
		}
	}
	return ""
}

// codecOf tells the codec of a picture that is made of others by the settings of decoders in the file.
func codecOf(iprp [][]byte) string {
	list, _ := propertyList(iprp)
	for _, p := range list {
		switch p.kind {
		case "av1C":
			return "AVIF"
		case "hvcC":
			return "HEIC"
		}
	}
	return ""
}

func propertyList(iprp [][]byte) (list []box, associations [][]byte) {
	if iprp == nil {
		return nil, nil
	}
	parts, _ := boxes(iprp[0])
	if len(parts["ipco"]) > 0 {
		list, _ = split(parts["ipco"][0])
	}
	return list, parts["ipma"]
}

// propertiesOf returns the properties of an item, in the order in which they apply.
func propertiesOf(iprp [][]byte, item uint64) (found []box, err error) {
	list, associations := propertyList(iprp)
	for _, b := range associations {
		c := cursor{b: b}
		head := c.take(4)
		for range c.take(4) {
			id := c.take(wide(head>>24 > 0))
			count := c.take(1)
			var mine []box
			for range count {
				var at uint64
				if head&1 == 1 {
					at = c.take(2) & 0x7fff
				} else {
					at = c.take(1) & 0x7f
				}
				if at >= 1 && at <= uint64(len(list)) {
					mine = append(mine, list[at-1])
				}
			}
			if c.short {
				return nil, errShort
			}
			if id == item {
				return slices.Clip(mine), nil
			}
		}
	}
	return nil, errors.New("its main picture has no properties")
}
