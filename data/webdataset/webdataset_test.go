package webdataset

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
)

func pngOf(v uint8) string {
	img := image.NewGray(image.Rect(0, 0, 3, 2))
	img.SetGray(1, 1, color.Gray{v})
	var b bytes.Buffer
	png.Encode(&b, img)
	return b.String()
}

// pack makes a tar of names and contents in turn.
func pack(members ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w.WriteHeader(&tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1]))})
		io.WriteString(w, members[i+1])
	}
	w.Close()
	return b.Bytes()
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"train-000000.tar": string(pack(
			"./a/x.png", pngOf(1), "./a/x.cls", "0\n",
			"a/y.CLS", "dog", "a/y.PNG", pngOf(2), "a/y.seg.png", "not the image",
			"alone.cls", "1",
			"__meta__", "x", "README", "x")),
		"train-000001.tar": string(pack(
			"b.1.png", "of no use", // the key is b, the extension 1.png
			"c.json", `{"label": "dog", "width": 3}`, "c.png", pngOf(3), "c.txt", "0",
			"d.png", pngOf(4), "d.txt", "a dog on a lawn",
			"e.jpg", "not an image")),
		"classes.txt": "cat\ndog\n",
		"notes.md":    "",
	})
	for _, path := range []string{dir, dir + "/train-{000000..000001}.tar", dir + "/train-*.tar", dir + "/{train-000000,train-000001}.tar"} {
		d, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Labels()[classification.Name].Classes; !slices.Equal(got, []string{"cat", "dog"}) {
			t.Errorf("classes %v", got)
		}
		want := []struct {
			key   string
			class []float32
		}{{"a/x", []float32{1, 0}}, {"a/y", []float32{0, 1}}, {"c", []float32{0, 1}}, {"d", nil}}
		if d.Len() != len(want)+1 {
			t.Fatalf("%d samples", d.Len())
		}
		for i, w := range want {
			s, err := d.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			if s.Key != w.key || d.Key(i) != w.key || !slices.Equal(classification.Of(s), w.class) || s.Image.RGBAAt(1, 1).G != uint8(i+1) {
				t.Errorf("sample %d: %s %v %v", i, s.Key, classification.Of(s), s.Image.RGBAAt(1, 1))
			}
		}
		_, err = d.Sample(4)
		if se, ok := errors.AsType[*data.SampleError](err); !ok || se.Key != "e" || se.File != filepath.Join(dir, "train-000001.tar") {
			t.Errorf("broken image: %v", err)
		}
	}
}

func TestWithoutClassNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.tar": string(pack("x.png", pngOf(1), "x.cls", "2", "y.png", pngOf(2)))})
	d, err := Open(dir)
	if err != nil || !slices.Equal(d.Labels()[classification.Name].Classes, []string{"0", "1", "2"}) {
		t.Errorf("%v", err)
	}
	write(t, dir, map[string]string{"a.tar": string(pack("x.png", pngOf(1))), "classes.txt": "a\nb"})
	if d, err := Open(dir + "/a.tar"); err != nil || d.Labels().Has(classification.Name) {
		t.Errorf("unlabelled images: %v", err)
	}
}

// Keys that come back in another shard get its name.
func TestSharedKeys(t *testing.T) {
	dir := t.TempDir()
	shard := string(pack("0.png", pngOf(1), "1.png", pngOf(2)))
	write(t, dir, map[string]string{"a.tar": shard, "b.tar": shard + ""})
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range d.Len() {
		keys = append(keys, d.Key(i))
	}
	if want := []string{"a/0", "a/1", "b/0", "b/1"}; !slices.Equal(keys, want) {
		t.Errorf("keys %v", keys)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := string(pack("x.png", pngOf(1), "y.png", pngOf(2)))
	for want, files := range map[string]map[string]string{
		"a.tar: after x: the tar is damaged or cut": {"a.tar": good[:1300]},
		"outside the folder":                        {"a.tar": string(pack("../../x.png", ""))},
		`member "../x.png" is outside`:              {"a.tar": string(pack("../x.png", ""))},
		"no .tar file":                              {"x.jpg": ""},
		"uncompress":                                {"a.tar.gz": ""},
		"hold no image":                             {"a.tar": string(pack("x.txt", "a"))},
		`member x.cls: "cow" is neither`:            {"a.tar": string(pack("x.cls", "cow")), "classes.txt": "dog"},
		"class 1 of 1":                              {"a.tar": string(pack("x.cls", "1")), "classes.txt": "dog"},
		`class "dog" twice`:                         {"a.tar": good, "classes.txt": "dog\ndog"},
	} {
		dir := t.TempDir()
		write(t, dir, files)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for path, want := range map[string]string{"no/such": "no such file", "x{0..": "without its }", "x{b..a}.tar": "not a range", "x{0..99999999}": "not a range"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestExpand(t *testing.T) {
	got, err := expand("a{08..10}-{x,y}.tar")
	if want := []string{"a08-x.tar", "a08-y.tar", "a09-x.tar", "a09-y.tar", "a10-x.tar", "a10-y.tar"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add(pack("a/x.png", "png", "a/x.cls", "3", "b.json", `{"label":1}`, "b.jpg", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scanner{dataset: &dataset{}, most: unknown}
		if err := s.scanTar(0, bytes.NewReader(b)); err != nil {
			return
		}
		for i, it := range s.items {
			if it.offset+it.size > int64(len(b)) || !filepath.IsLocal(s.keys[i]) {
				t.Errorf("%s at %d, %d bytes of %d", s.keys[i], it.offset, it.size, len(b))
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	var members []string
	for i := range 10000 {
		members = append(members, fmt.Sprintf("dir/%08d.jpg", i), strings.Repeat("x", 5000), fmt.Sprintf("dir/%08d.cls", i), "7")
	}
	path := filepath.Join(b.TempDir(), "a.tar")
	os.WriteFile(path, pack(members...), 0o666)
	for b.Loop() {
		if _, err := Open(path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/sample")
}
