// Package data defines the one sample type of the project and what a dataset is.
//
// Every stage speaks in Samples: a dataset yields them, augmentation moves them, a teacher's
// prediction is one, a pseudo label is one. The rule that everything else follows from:
// a label that is nil says "unknown, no supervision for this task"; an empty, non-nil list of
// objects says "there are none".
package data

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// Ignore marks a pixel of a class map that neither trains nor counts.
const Ignore = 255

// A Sample is an image and all that is known about it, in the pixel frame of that image.
type Sample struct {
	// Key names the sample within its dataset: a slash-separated relative path without extension.
	// It is valid UTF-8, never empty, never absolute and has no "." or ".." element.
	Key string

	Image *image.RGBA // opaque, bounds start at (0, 0)

	Known LabelSet // the labels; a task that has none is unknown
}

// Has reports whether s carries a label for the task.
func (s *Sample) Has(task string) bool { return s.Known.Of(task) != nil }

// Label returns the label of a task, nil where it is unknown.
func (s *Sample) Label(task string) Label { return s.Known.Of(task) }

// Put makes l the label of its task; nil is ignored.
func (s *Sample) Put(l Label) {
	if l != nil {
		s.Known = s.Known.with(l)
	}
}

// Forget makes a task unknown.
func (s *Sample) Forget(task string) { s.Known = s.Known.without(task) }

// An Object is one thing in an image.
type Object struct {
	Box   Box
	Class int     // index into the classes of the data set
	Score float32 // 1 for a true label
	Mask  *Mask   // nil: unknown
	Area  float64 // annotated area in px², 0 where the dataset gives none
	Crowd bool    // a crowd (COCO) or difficult (VOC): neither trains nor counts against a detector
}

// A Box spans [X0, X1) × [Y0, Y1) in pixels; pixel (0, 0) covers [0, 1) × [0, 1).
type Box struct{ X0, Y0, X1, Y1 float64 }

// W returns the width.
func (b Box) W() float64 { return b.X1 - b.X0 }

// H returns the height.
func (b Box) H() float64 { return b.Y1 - b.Y0 }

// Area returns the area in px², 0 for an inverted box.
func (b Box) Area() float64 { return max(0, b.W()) * max(0, b.H()) }

// Clip returns the part of b inside a w×h image.
func (b Box) Clip(w, h int) Box {
	fw, fh := float64(w), float64(h)
	return Box{min(max(b.X0, 0), fw), min(max(b.Y0, 0), fh), min(max(b.X1, 0), fw), min(max(b.Y1, 0), fh)}
}

// A Mask is the binary shape of an object: Pix holds Rect.Dx()·Rect.Dy() values of 0 or 1, row by
// row; everything outside Rect is 0.
type Mask struct {
	Rect image.Rectangle
	Pix  []uint8

	// Probs, of a detector's prediction in the frame of its input, are probabilities on a square grid over the
	// object's box. In the image's own frame the mask is made of them anew, so that its edge is as fine as the
	// image.
	Probs []float32
}

// At reports whether the pixel belongs to the object.
func (m *Mask) At(x, y int) bool {
	return image.Pt(x, y).In(m.Rect) && m.Pix[(y-m.Rect.Min.Y)*m.Rect.Dx()+x-m.Rect.Min.X] != 0
}

// A Grid holds one value per pixel, row by row.
type Grid[T any] struct {
	W, H int
	Pix  []T
}

// NewGrid returns a grid of zero values.
func NewGrid[T any](w, h int) *Grid[T] { return &Grid[T]{w, h, make([]T, w*h)} }

// At returns the value of pixel (x, y).
func (g *Grid[T]) At(x, y int) T { return g.Pix[y*g.W+x] }

// Check tells whether a map, of what is named, has another size than its image.
func (g *Grid[T]) Check(what string, size image.Point) error {
	if g.W != size.X || g.H != size.Y || len(g.Pix) != g.W*g.H {
		return fmt.Errorf("%s of %d×%d pixels for an image of %d×%d", what, g.W, g.H, size.X, size.Y)
	}
	return nil
}

// Set stores the value of pixel (x, y).
func (g *Grid[T]) Set(x, y int, v T) { g.Pix[y*g.W+x] = v }

// Units of depth.
const (
	Metric  = "metric"  // metres along the optical axis
	Inverse = "inverse" // inverse depth of unknown scale and shift

	// Relative is depth of unknown scale, as files have it; as a label it is Inverse.
	Relative = "relative"
)

// A Dataset yields samples by index. It is safe for concurrent use.
type Dataset interface {
	// Len returns the number of samples.
	Len() int
	// Labels says what the samples can carry. A sample may lack some of it.
	Labels() Labels
	// Key returns the key of sample i without decoding it. Keys are unique in the dataset.
	Key(i int) string
	// Sample decodes sample i. The caller owns the result and may change it. A broken file is an
	// error that names the file; other samples stay readable.
	Sample(i int) (*Sample, error)
}

// Notes returns what a dataset noticed about its files when it was opened, by a method Notes of its own
// or of one that it wraps and returns from a method Unwrap; nil where there is nothing to tell.
func Notes(d Dataset) []string {
	switch d := d.(type) {
	case interface{ Notes() []string }:
		return d.Notes()
	case interface{ Unwrap() Dataset }:
		return Notes(d.Unwrap())
	}
	return nil
}

// Close closes the files that a dataset holds open, by a method Close of its own or of one that it wraps; most
// hold none. It is used no more then.
func Close(d Dataset) error {
	switch d := d.(type) {
	case io.Closer:
		return d.Close()
	case interface{ Unwrap() Dataset }:
		return Close(d.Unwrap())
	}
	return nil
}

// A Source says where a dataset is and how to read it; recipes and the command line fill it.
type Source struct {
	Format string  `yaml:"format"`                  // scenes, imagefolder, voc, images, …
	Path   string  `yaml:"path,omitempty"`          // folder or file; not used by scenes
	Images string  `yaml:"images_folder,omitempty"` // folder of the images, where a file of labels in Path cannot tell
	Set    string  `yaml:"subset,omitempty"`        // which set of a family, such as scenes' crowds or VOC's year
	Split  string  `yaml:"split,omitempty"`         // train, val or test
	Count  int     `yaml:"count,omitempty"`         // use only so many samples, spread over the set; 0: all
	Size   int     `yaml:"size,omitempty"`          // rendered side in pixels; scenes only
	Seed   uint64  `yaml:"seed,omitempty"`          // scenes only
	Scale  float64 `yaml:"scale,omitempty"`         // depth units per stored unit, where the format cannot know
	Units  string  `yaml:"units,omitempty"`         // what pairs of image and depth store: metric (or ""), relative or inverse
	Frame  string  `yaml:"frame,omitempty"`         // what labels were drawn on, where their sizes do not tell: shown, stored or resized
	Lines  string  `yaml:"lines,omitempty"`         // what lines of YOLO labels hold, where their numbers do not tell
	Void   string  `yaml:"void,omitempty"`          // values of semantic maps that are no class, separated by commas, or none
	Text   string  `yaml:"encoding,omitempty"`      // encoding of text files, where their bytes do not tell
	Metric string  `yaml:"metric,omitempty"`        // published protocol to score by, see registry.Protocols()
	Labels string  `yaml:"labels,omitempty"`        // folder of pseudo-label shards to fill in what is unknown
}

// SampleError is what a dataset returns for a broken item; loaders skip and count it.
type SampleError struct {
	Key  string // the sample
	File string // the file that could not be used, if one
	Err  error
}

func (e *SampleError) Error() string {
	if e.File != "" {
		return fmt.Sprintf("sample %s: %s: %v", printable(e.Key), printable(e.File), e.Err)
	}
	return fmt.Sprintf("sample %s: %v", printable(e.Key), e.Err)
}

func (e *SampleError) Unwrap() error { return e.Err }

// System reports whether the file could not be read for a reason that is none of its own: it may not be
// read, the medium fails, or its whole folder is gone. A file that alone is not there is a broken sample.
func (e *SampleError) System() bool {
	if errors.Is(e.Err, fs.ErrNotExist) {
		entries, err := os.ReadDir(filepath.Dir(e.File))
		return e.File != "" && (err != nil || len(entries) == 0)
	}
	_, system := errors.AsType[syscall.Errno](e.Err)
	return errors.Is(e.Err, fs.ErrPermission) || system
}

// printable returns a name as it is, or in quotes where it would move the cursor.
func printable(name string) string {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return strconv.Quote(name)
	}
	return name
}
