package imagefile

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type person struct {
	File, RGB string // hexadecimal
	W, H      int
}

// people are pictures as people have them, and what Pillow reads in them.
func people(t testing.TB) map[string]person {
	t.Helper()
	text, err := os.ReadFile("testdata/people.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]person
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadsWhatPillowReads(t *testing.T) {
	all := people(t)
	// Pillow smooths chroma and what a progressive picture does not know yet; lossy.webp as in images.json.
	tolerance := map[string]int{"cut subsampled.jpg": 45, "cut progressive.jpg": 12, "cut progressive in scan 1.jpg": 60, "cut progressive in scan 3.jpg": 60, "cut progressive in scan 4.jpg": 24, "lossy animation.webp": 16, "part, lossy.webp": 16, "part, lossy, transparent.webp": 16, "inks.jpg": 6}
	for name, want := range all {
		img, err := DecodeMember(name, unhex(t, want.File))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if img.Rect != image.Rect(0, 0, want.W, want.H) || !img.Opaque() {
			t.Errorf("%s: %v, opaque %v", name, img.Rect, img.Opaque())
			continue
		}
		allowed, worst := tolerance[name], 0
		if allowed == 0 && (strings.HasSuffix(name, ".jpg") || strings.HasSuffix(name, ".mpo")) {
			allowed = 3
		}
		for i, w := range unhex(t, want.RGB) {
			d := int(img.Pix[i/3*4+i%3]) - int(w)
			worst = max(worst, d, -d)
		}
		if worst > allowed {
			t.Errorf("%s: off by up to %d, want at most %d", name, worst, allowed)
		}
	}
}

func TestCutShort(t *testing.T) {
	cut.seen, cut.first = nil, ""
	defer func() { cut.seen, cut.first = nil, "" }()
	all := people(t)
	dir := t.TempDir()
	for _, name := range []string{"cut half.jpg", "cut four fifths.jpg", "whole but for its end.jpg"} {
		if got := CutShort(); name == "cut half.jpg" && got != "" {
			t.Errorf("before any: %q", got)
		}
		file := filepath.Join(dir, name)
		content := unhex(t, all[name].File)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // one picture, however often it is read
			if _, err := Sample("k", file); err != nil {
				t.Error(err)
			}
		}
		// Who can be asked again gets no half picture.
		_, err := DecodeBytes(content)
		if whole := strings.HasPrefix(name, "whole"); whole != (err == nil) {
			t.Errorf("%s: %v", name, err)
		} else if !whole && !strings.Contains(err.Error(), "JPEG cut short") {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := CutShort()
	if !strings.HasPrefix(got, "2 JPEG cut short") || !strings.Contains(got, filepath.Join(dir, "cut four fifths.jpg")) {
		t.Errorf("%q", got)
	}
}

// A picture cut anywhere is refused or read; what is left of it is not changed.
func TestCutAnywhere(t *testing.T) {
	defer func() { cut.seen, cut.first = nil, "" }()
	all := people(t)
	for _, name := range []string{"whole but for its end.jpg", "cut subsampled.jpg", "cut with restarts.jpg", "cut grey.jpg", "cut optimised.jpg", "cut progressive.jpg"} {
		content := unhex(t, all[name].File)
		want, err := DecodeMember(name, content)
		if err != nil {
			t.Fatal(err)
		}
		first, read := -1, 0
		for n := range content {
			img, err := DecodeMember(name, content[:n])
			if err != nil {
				if first >= 0 && name != "cut progressive.jpg" {
					t.Errorf("%s: read with %d bytes, not with %d: %v", name, first, n, err)
				}
				continue
			}
			if first < 0 {
				first = n
			}
			read++
			if name == "cut progressive.jpg" {
				continue
			}
			if n := 4 * 4; !slices.Equal(img.Pix[:n], want.Pix[:n]) { // of the first block
				t.Errorf("%s cut: starts %v, want %v", name, img.Pix[:n], want.Pix[:n])
			}
		}
		if read < 50 {
			t.Errorf("%s: %d of %d cuts are read", name, read, len(content))
		}
	}
}

// Written again, a scan that is whole says the same.
func TestMendChangesNothing(t *testing.T) {
	all := people(t)
	for _, name := range []string{"whole but for its end.jpg", "cut progressive.jpg"} {
		content := unhex(t, all[name].File)
		n := 0
		for s := range segments(content) {
			if s.marker != sos {
				continue
			}
			end := s.end
			for end < len(content)-1 && (content[end] != 0xff || content[end+1] == 0) {
				end++
			}
			if end == len(content)-1 && name == "cut progressive.jpg" {
				break // the one that is cut
			}
			if end == len(content)-1 {
				end++
			}
			want, err := jpeg.Decode(bytes.NewReader(append(slices.Clone(content[:end]), 0xff, eoi)))
			if err != nil {
				t.Fatal(err)
			}
			whole, _ := mend(content[:end])
			if len(s.payload) > 6 && name == "cut progressive.jpg" || s.payload[len(s.payload)-1]>>4 != 0 {
				continue // left out
			}
			got, err := jpeg.Decode(bytes.NewReader(whole))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s up to %d: not as it was: %v", name, end, err)
			}
			n++
		}
		if want := map[string]int{"whole but for its end.jpg": 1, "cut progressive.jpg": 4}[name]; n != want {
			t.Errorf("%s: %d scans looked at, want %d", name, n, want)
		}
	}
}
