package heif

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t testing.TB, name string) []byte {
	content, err := os.ReadFile(filepath.Join("..", "testdata", "heif", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// patched returns a file with the first bytes old, which are there once, replaced by others of the same length.
func patched(t *testing.T, content []byte, old, by string) []byte {
	if bytes.Count(content, []byte(old)) != 1 {
		t.Fatalf("%q is there %d times", old, bytes.Count(content, []byte(old)))
	}
	return bytes.Replace(content, []byte(old), []byte(by), 1)
}

func TestParse(t *testing.T) {
	for name, want := range map[string]Header{
		"97.avif":        {Codec: "AVIF", Coded: image.Pt(97, 65), Crop: image.Rect(0, 0, 97, 65), Turn: 1},
		"97.heic":        {Codec: "HEIC", Coded: image.Pt(98, 66), Crop: image.Rect(0, 0, 97, 65), Turn: 1},
		"turn7.avif":     {Codec: "AVIF", Coded: image.Pt(80, 48), Crop: image.Rect(0, 0, 80, 48), Turn: 7},
		"turned1.heic":   {Codec: "HEIC", Coded: image.Pt(80, 64), Crop: image.Rect(0, 0, 80, 48), Turn: 8},
		"mirrored0.heic": {Codec: "HEIC", Coded: image.Pt(80, 64), Crop: image.Rect(0, 0, 80, 48), Turn: 4},
		"exif.heic":      {Codec: "HEIC", Coded: image.Pt(80, 64), Crop: image.Rect(0, 0, 80, 48), Turn: 1},
	} {
		want.KR, want.KB, want.Full = 0.299, 0.114, true
		got, err := Parse(read(t, name))
		if err != nil || *got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// TestDamaged decodes files whose container and picture do not agree, or of which a part is missing.
func TestDamaged(t *testing.T) {
	avif, heic := read(t, "40.avif"), read(t, "40.heic")
	size := func(w, h byte) string {
		return "ispe\x00\x00\x00\x00\x00\x00\x00" + string(w) + "\x00\x00\x00" + string(h)
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"no meta":        {avif[:32], "no picture"},
		"video":          {[]byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x08moov"), "a video"},
		"cut":            {avif[:len(avif)-200], "damaged"},
		"cut HEIC":       {heic[:len(heic)-200], "damaged"},
		"no size":        {patched(t, avif, "ispe", "xxxx"), "does not tell its size"},
		"nothing":        {patched(t, avif, size(40, 30), size(0, 30)), "0×30 pixels"},
		"another size":   {patched(t, avif, size(40, 30), size(50, 31)), ""},
		"another HEIC":   {patched(t, heic, "ispe\x00\x00\x00\x00\x00\x00\x00\x40", "ispe\x00\x00\x00\x00\x00\x00\x00\x50"), ""},
		"no crop":        {patched(t, heic, "clap\x00\x00\x00\x28", "clap\x00\x00\x10\x28"), "reaches beyond"},
		"another codec":  {bytes.ReplaceAll(avif, []byte("av01"), []byte("jpeg")), `coded as "jpeg"`},
		"no main":        {patched(t, avif, "pitm", "xxxx"), "no main picture"},
		"no properties":  {patched(t, avif, "ipma", "xxxx"), "no properties"},
		"a lie of size":  {patched(t, avif, size(40, 30), "ispe\x00\x00\x00\x00\x7f\xff\xff\xff\x7f\xff\xff\xff"), "pixels"},
		"noise as an AV": {append(bytes.Clone(avif[:len(avif)-150]), bytes.Repeat([]byte{0xa5, 0x3c}, 75)...), ""},
	} {
		h, err := Parse(c.content)
		if err == nil {
			err = Decode(c.content, h, func(image.Image) {})
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"40.avif", "40.heic", "turn7.avif", "turned1.heic", "alpha.avif"} {
		content := read(f, name)
		f.Add(content[:min(len(content), 700)]) // the boxes; pixels are the decoder's
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		h, err := Parse(content)
		if err != nil {
			return
		}
		if h.Coded.X < 1 || h.Coded.Y < 1 || h.Crop.Empty() || !h.Crop.In(image.Rectangle{Max: h.Coded}) || h.Turn < 1 || h.Turn > 8 || h.Codec == "" {
			t.Errorf("header %+v", h)
		}
	})
}
