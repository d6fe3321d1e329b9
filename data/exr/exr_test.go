package exr

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files of testdata/make_exr.py, by the format's own library.
func TestReadDepthEqualsOpenEXR(t *testing.T) {
	b, err := os.ReadFile("testdata/depth.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		W, H  int
		Depth []*float64
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]func(i int, v float64) float64{
		"none": nil, "rle": nil, "zips": nil, "zip": nil, "named": nil, "grey": nil, "window": nil,
		"half":    nil,
		"integer": func(i int, _ float64) float64 { return float64(i) },
		"flat":    func(int, float64) float64 { return 2 },
	} {
		g, err := ReadDepth(filepath.Join("testdata", name+".exr"))
		if err != nil {
			t.Error(err)
			continue
		}
		if g.W != want.W || g.H != want.H {
			t.Errorf("%s: %d×%d", name, g.W, g.H)
			continue
		}
		for i, v := range g.Pix {
			w, tolerance := math.Inf(1), 0.
			if want.Depth[i] != nil {
				w = *want.Depth[i]
			}
			if of != nil {
				w = of(i, w)
			}
			if name == "half" {
				tolerance = w / 2048
			}
			if math.IsInf(w, 1) != math.IsInf(float64(v), 1) || !math.IsInf(w, 1) && math.Abs(float64(v)-w) > tolerance {
				t.Errorf("%s: pixel %d is %v, want %v", name, i, v, w)
				break
			}
		}
	}
	for name, want := range map[string]string{"piz": "compressed by PIZ", "colours": "differ"} {
		if _, err := ReadDepth(filepath.Join("testdata", name+".exr")); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name+".exr") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole, err := os.ReadFile("testdata/zip.exr")
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := Decode(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes were read", n, len(whole))
		}
	}
	tiles := append([]byte(nil), whole...)
	binary.LittleEndian.PutUint32(tiles[4:], 2|tiled)
	if _, err := Decode(tiles); err == nil || !strings.Contains(err.Error(), "scan lines") {
		t.Error(err)
	}
	// A window of absurd size takes no memory.
	at := strings.Index(string(whole), "dataWindow\x00box2i\x00") + len("dataWindow\x00box2i\x00") + 4
	huge := append([]byte(nil), whole...)
	binary.LittleEndian.PutUint32(huge[at+8:], 1<<14)
	binary.LittleEndian.PutUint32(huge[at+12:], 1<<12)
	if _, err := Decode(huge); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Error(err)
	}
	binary.LittleEndian.PutUint32(huge[at+12:], 1<<30)
	if _, err := Decode(huge); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.exr")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 { // of which deflate makes 4 MB: more is only slower
			t.Skip()
		}
		if g, err := Decode(b); err == nil && len(g.Pix) != g.W*g.H {
			t.Error(g.W, g.H, len(g.Pix))
		}
	})
}
