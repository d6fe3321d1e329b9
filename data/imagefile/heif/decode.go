package heif

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

//go:generate go run must/scripts/heif

//go:embed avif.wasm.gz
var avifModule []byte

//go:embed heic.wasm.gz
var heicModule []byte

// A decoder is a module, compiled once and run anew for every picture.
type decoder struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

var decoders = map[string]func() (*decoder, error){
	"AVIF": sync.OnceValues(func() (*decoder, error) { return compile(avifModule) }),
	"HEIC": sync.OnceValues(func() (*decoder, error) { return compile(heicModule) }),
}

func compile(packed []byte) (*decoder, error) {
	g, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	code, err := io.ReadAll(g)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	m, err := r.CompileModule(ctx, code)
	return &decoder{r, m}, err
}

// BytesPerPixel is the memory that a decoder takes for a pixel, at most.
func (h *Header) BytesPerPixel() int64 {
	switch {
	case h.Codec == "HEIC":
		return 8
	case h.Deep:
		return 36
	}
	return 22
}

const (
	ownMemory = 64 << 20 // of a decoder, besides pixels and the file
	ownTime   = 2 * time.Minute
	pixelTime = 30 * time.Microsecond // many times what it takes, for machines that do other things
)

// Decode calls use with the picture as it is coded, before Crop and Turn: a *image.RGBA or *image.RGBA64 of an
// AVIF, a *image.YCbCr or *image.Gray of a HEIC, whose transparency is left out. It is gone when use returns.
func Decode(content []byte, h *Header, use func(image.Image)) error {
	open, ok := decoders[h.Codec]
	if !ok {
		return fmt.Errorf("no decoder of %q", h.Codec)
	}
	d, err := open()
	if err != nil {
		return fmt.Errorf("the decoder of %s: %w", h.Codec, err)
	}
	pixels := int64(h.Coded.X) * int64(h.Coded.Y)
	ctx, cancel := context.WithTimeout(context.Background(), ownTime+time.Duration(pixels)*pixelTime)
	defer cancel()
	m := &memory{}
	limit := uint64(ownMemory + 2*int64(len(content)) + h.BytesPerPixel()*pixels)
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(_, most uint64) experimental.LinearMemory {
		m.reserve(min(limit, most))
		return m
	}))
	module, err := d.runtime.InstantiateModule(ctx, d.module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return explain(ctx, err)
	}
	defer module.Close(context.Background())
	c := call{ctx, module, h.Codec == "HEIC"}
	img, err := c.decode(content, h)
	if err != nil {
		return explain(ctx, err)
	}
	use(img)
	return nil
}

// explain tells of a picture that the decoder gave up.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("damaged: decoding it takes too long")
	}
	return err
}

// A call is one run of a decoder.
type call struct {
	ctx    context.Context
	module api.Module
	heic   bool
}

var errDamaged = errors.New("damaged, or of a kind that the decoder does not know")

func (c call) decode(content []byte, h *Header) (image.Image, error) {
	in, err := c.alloc(len(content))
	if err != nil {
		return nil, err
	}
	if !c.module.Memory().Write(in, content) {
		return nil, errDamaged
	}
	at, err := c.alloc(8 * 4) // what the decoder tells: five numbers, and from the seventh on how long the picture is shown
	if err != nil {
		return nil, err
	}
	const unseen = 0xff // what no duration begins with
	duration := at + 6*4
	if !c.module.Memory().Write(duration, bytes.Repeat([]byte{unseen}, 8)) {
		return nil, errDamaged
	}
	decode := func(configOnly uint64, out uint32) error {
		args := []uint64{uint64(in), uint64(len(content)), configOnly}
		numbers := 5 // width, height, colour space, chroma, premultiplied
		if !c.heic {
			args = append(args, 0) // the first picture only
			numbers = 4            // width, height, bits, count
		}
		for i := range numbers {
			args = append(args, uint64(at)+4*uint64(i))
		}
		if !c.heic {
			args = append(args, uint64(duration))
		}
		result, err := c.module.ExportedFunction("decode").Call(c.ctx, append(args, uint64(out))...)
		if err == nil && result[0] == 0 {
			err = errDamaged
		}
		return err
	}
	if err := decode(1, 0); err != nil {
		return nil, damaged(err)
	}
	var told [5]uint32
	for i := range told {
		told[i], _ = c.module.Memory().ReadUint32Le(at + 4*uint32(i))
	}
	size := image.Pt(int(told[0]), int(told[1]))
	want := h.Coded
	if c.heic { // whose decoder crops and turns
		want = h.Size()
	}
	if size != want {
		return nil, fmt.Errorf("the container tells %d×%d pixels and the picture %d×%d", want.X, want.Y, size.X, size.Y)
	}
	p, err := layoutOf(size, told, c.heic)
	if err != nil {
		return nil, err
	}
	out, err := c.alloc(p.bytes)
	if err != nil {
		return nil, err
	}
	if err := decode(0, out); err != nil {
		return nil, damaged(err)
	}
	if b, _ := c.module.Memory().Read(duration, 8); !c.heic && !slices.ContainsFunc(b, func(v byte) bool { return v != unseen }) {
		return nil, errDamaged // it calls a picture that it could not decode a success
	}
	pix, ok := c.module.Memory().Read(out, uint32(p.bytes))
	if !ok {
		return nil, errDamaged
	}
	return p.image(pix), nil
}

// damaged hides a trap of the module: its words say nothing to people.
func damaged(err error) error {
	if err == nil || errors.Is(err, errDamaged) {
		return err
	}
	return errDamaged
}

func (c call) alloc(n int) (uint32, error) {
	result, err := c.module.ExportedFunction("malloc").Call(c.ctx, uint64(n))
	if err != nil || result[0] == 0 {
		return 0, errors.New("damaged: decoding it takes too much memory")
	}
	return uint32(result[0]), nil
}

// A layout is how a decoder writes pixels.
type layout struct {
	bytes int
	image func(pix []byte) image.Image
}

func layoutOf(size image.Point, told [5]uint32, heic bool) (layout, error) {
	r := image.Rectangle{Max: size}
	w, h := size.X, size.Y
	if !heic {
		if told[2] > 8 {
			return layout{8 * w * h, func(pix []byte) image.Image {
				for i := 0; i+1 < len(pix); i += 2 { // little-endian
					pix[i], pix[i+1] = pix[i+1], pix[i]
				}
				return &image.RGBA64{Pix: pix, Stride: 8 * w, Rect: r}
			}}, nil
		}
		return layout{4 * w * h, func(pix []byte) image.Image { return &image.RGBA{Pix: pix, Stride: 4 * w, Rect: r} }}, nil
	}
	const yCbCr, monochrome = 0, 2
	stride := func(w int) int { return (max(64, w) + 15) &^ 15 } // libheif's planes
	switch told[2] {
	case monochrome:
		return layout{stride(w) * h, func(pix []byte) image.Image { return &image.Gray{Pix: pix, Stride: stride(w), Rect: r} }}, nil
	case yCbCr:
		ratio, cw, ch := image.YCbCrSubsampleRatio420, (w+1)/2, (h+1)/2
		switch told[3] {
		case 2:
			ratio, ch = image.YCbCrSubsampleRatio422, h
		case 3:
			ratio, cw, ch = image.YCbCrSubsampleRatio444, w, h
		}
		luma, chroma := stride(w)*h, stride(cw)*ch
		return layout{luma + 2*chroma, func(pix []byte) image.Image {
			return &image.YCbCr{Y: pix[:luma], Cb: pix[luma:][:chroma], Cr: pix[luma+chroma:][:chroma],
				YStride: stride(w), CStride: stride(cw), SubsampleRatio: ratio, Rect: r}
		}}, nil
	}
	return layout{}, errors.New("its colours are neither YCbCr nor grey")
}

// memory is that of a module: reserved at once, taken page by page as it is touched, given back at the end.
type memory struct{ b []byte }

func (m *memory) reserve(n uint64) {
	m.b, _ = syscall.Mmap(-1, 0, int(n), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
}

// Reallocate returns the first size bytes, nil where there are no more.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	return m.b[:size]
}

func (m *memory) Free() {
	if m.b != nil {
		_ = syscall.Munmap(m.b)
		m.b = nil
	}
}
