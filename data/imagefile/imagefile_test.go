package imagefile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"must/data"
)

func TestDecodeEqualsPillow(t *testing.T) {
	text, err := os.ReadFile("testdata/images.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		W, H int
		RGB  string // hexadecimal
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	tolerance := map[string]int{"cmyk.jpg": 6, "subsampled.jpg": 30, "lossy.webp": 16, "alpha.webp": 16, "rgba.png": 1}
	for name, want := range expected {
		// The name says nothing.
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "photo.xyz")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		img, err := Decode(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if img.Rect != image.Rect(0, 0, want.W, want.H) || !img.Opaque() {
			t.Errorf("%s: %v, opaque %v", name, img.Rect, img.Opaque())
			continue
		}
		allowed := tolerance[name]
		if allowed == 0 && strings.HasSuffix(name, ".jpg") {
			allowed = 3
		}
		rgb, err := hex.DecodeString(want.RGB)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range rgb {
			w := int(w)
			if got := int(img.Pix[i/3*4+i%3]); got < w-allowed || got > w+allowed {
				t.Errorf("%s: value %d is %d, want %d", name, i, got, w)
				break
			}
		}
	}
}

func TestDecodeStored(t *testing.T) {
	upright, err1 := Decode("testdata/exif6.png")
	stored, err2 := DecodeStored("testdata/exif6.png")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if upright.Rect.Dx() != 16 || stored.Rect.Dx() != 24 {
		t.Errorf("widths %d and %d, want 16 and 24", upright.Rect.Dx(), stored.Rect.Dx())
	}
}

// bigPNG is the header of a PNG of any size.
func bigPNG(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	ihdr := append([]byte("IHDR"), make([]byte, 13)...)
	binary.BigEndian.PutUint32(ihdr[4:], w)
	binary.BigEndian.PutUint32(ihdr[8:], h)
	copy(ihdr[12:], []byte{8, 2, 0, 0, 0})
	b = binary.BigEndian.AppendUint32(b, 13)
	b = append(b, ihdr...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
}

func TestBadFiles(t *testing.T) {
	photo, err := os.ReadFile("testdata/exif1.jpg")
	if err != nil {
		t.Fatal(err)
	}
	shot, err := os.ReadFile("testdata/rgb.png")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty.jpg":    {nil, "the file is empty"},
		"text.jpg":     {[]byte("<html>404</html>"), "not an image"},
		"short.jpg":    {photo[:len(photo)*2/3], "JPEG cut short"},
		"header.jpg":   {photo[:4], "JPEG cut short"},
		"short.png":    {shot[:len(shot)/2], "PNG cut short"},
		"huge.png":     {bigPNG(20000, 20000), "20000×20000 pixels are over the limit of 134217728"},
		"absurd.png":   {bigPNG(1<<31-1, 1<<31-1), "dimension overflow"},
		"nothing.png":  {bigPNG(0, 5), "PNG"},
		"phone.heic":   {[]byte("\x00\x00\x00\x18ftypheic...."), "AVIF or HEIC cut short"},
		"bmp.bmp":      {[]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00"), "BMP"},
		"tiff.tif":     {[]byte("II*\x00\xff\xff\xff\xff"), "TIFF"},
		"riff.webp":    {[]byte("RIFF\x10\x00\x00\x00WEBPVP8 "), "WebP"},
		"flipped.jpeg": {append([]byte("\xff\xd8\xff\xe1\x00\x04"), photo[2:]...), ""},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		img, err := Decode(file)
		if c.want == "" {
			continue // any answer but a panic
		}
		if err == nil || img != nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		_, err = Sample("k", file)
		var broken *data.SampleError
		if !errors.As(err, &broken) || broken.Key != "k" || broken.File != file || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: sample error %v", name, err)
		}
	}
	for _, file := range []string{filepath.Join(dir, "absent.png"), dir} {
		if _, err := Decode(file); err == nil || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestOnePixel(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	img.Set(0, 0, color.NRGBA{200, 100, 50, 255})
	var b bytes.Buffer
	png.Encode(&b, img)
	got, err := DecodeBytes(b.Bytes())
	if err != nil || got.RGBAAt(0, 0) != (color.RGBA{200, 100, 50, 255}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDecodeIndex(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, img image.Image) string {
		file := filepath.Join(dir, name)
		var b bytes.Buffer
		if strings.HasSuffix(name, ".jpg") {
			jpeg.Encode(&b, img, nil)
		} else {
			png.Encode(&b, img)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// All indices look the same: only the indices count.
	palette := make(color.Palette, 256)
	for i := range palette {
		palette[i] = color.RGBA{1, 2, 3, 255}
	}
	paletted := image.NewPaletted(image.Rect(0, 0, 3, 2), palette)
	copy(paletted.Pix, []uint8{0, 1, 255, 20, 7, 3})
	grey := image.NewGray(image.Rect(0, 0, 3, 2))
	copy(grey.Pix, paletted.Pix)
	for name, img := range map[string]image.Image{"paletted.png": paletted, "grey.png": grey} {
		g, err := DecodeIndex(write(name, img))
		if err != nil || g.W != 3 || g.H != 2 || !reflect.DeepEqual(g.Pix, paletted.Pix) {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
	// Two bits of palette, one bit of grey.
	few := image.NewPaletted(image.Rect(0, 0, 3, 1), palette[:4])
	copy(few.Pix, []uint8{3, 0, 2})
	if g, err := DecodeIndex(write("few.png", few)); err != nil || !reflect.DeepEqual(g.Pix, few.Pix) {
		t.Errorf("%v, %v", g, err)
	}
	if g, err := DecodeIndex("testdata/grey1.png"); err != nil || g.At(23, 0)|g.At(23, 15) != 1 {
		t.Errorf("one bit of grey: %v, %v", g, err)
	}
	for name, img := range map[string]image.Image{
		"colour.png": image.NewRGBA(grey.Rect), "deep.png": image.NewGray16(grey.Rect), "lossy.jpg": grey,
	} {
		if _, err := DecodeIndex(write(name, img)); err == nil || !strings.Contains(err.Error(), "grey") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeGray16(t *testing.T) {
	g, err := DecodeGray16("testdata/grey16.png")
	if err != nil {
		t.Fatal(err)
	}
	if g.W != 24 || g.H != 16 || g.At(23, 15) != 23*2500+15*300 || g.At(1, 0) != 2500 {
		t.Errorf("%d×%d, %d", g.W, g.H, g.At(23, 15))
	}
	if _, err := DecodeGray16("testdata/grey.png"); err == nil || !strings.Contains(err.Error(), "16-bit grey") {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.png", "a/z.JPEG", "a/b/c.webp", "a.txt", ".hidden.png", ".git/x.png", "a/Thumbs.db", "a-1.jpg"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := List(dir)
	if want := []string{"a-1.jpg", "a/b/c.webp", "a/z.JPEG", "b.png"}; err != nil || !reflect.DeepEqual(files, want) {
		t.Errorf("%v, %v", files, err)
	}
	if _, err := List(filepath.Join(dir, "no")); err == nil || !strings.Contains(err.Error(), "no such folder") {
		t.Error(err)
	}
	if os.Symlink(dir, filepath.Join(dir, "a", "loop")) == nil {
		if _, err := List(dir); err == nil || !strings.Contains(err.Error(), "link") {
			t.Errorf("a loop of links: %v", err)
		}
	}
}

func TestKeys(t *testing.T) {
	files := []string{"a.jpg", "a.png", "a.png.jpg", "b.c.jpg", "d/.e", "d/f", "g\xff.jpg", "sub/a.jpg"}
	want := []string{"a.jpg", "a.png", "a.png.jpg", "b.c", "d/.e", "d/f", "g%FF", "sub/a"}
	if got := Keys(files); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInSplit(t *testing.T) {
	counts := map[string]int{}
	for i := range 4000 {
		in := 0
		for _, split := range Splits {
			if InSplit(strings.Repeat("x", i%7)+string(rune('a'+i)), split) {
				counts[split]++
				in++
			}
		}
		if in != 1 {
			t.Fatal("a file is in several splits or none")
		}
	}
	if counts["train"] < 3500 || counts["val"] < 120 || counts["test"] < 120 {
		t.Errorf("%v", counts)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(content) < 4096 {
			f.Add(content)
		}
	}
	for _, p := range people(f) {
		f.Add(unhex(f, p.File))
	}
	f.Add(bigPNG(20000, 20000))
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, config, err := sniff(content); err == nil && config.Width*config.Height > 1<<20 {
			t.Skip("slow")
		}
		img, err := DecodeBytes(content)
		if err == nil && (img.Rect.Min != image.Point{} || img.Rect.Empty() || !img.Opaque()) {
			t.Errorf("%v, opaque %v", img.Rect, img.Opaque())
		}
	})
}

func BenchmarkDecodeJPEG(b *testing.B) {
	img := image.NewRGBA(image.Rect(0, 0, 640, 480))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i >> 9)
	}
	var buf bytes.Buffer
	jpeg.Encode(&buf, img, nil)
	for b.Loop() {
		if _, err := DecodeBytes(buf.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
