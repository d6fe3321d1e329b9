package imagenet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/task/classification"
)

// pack makes a tar of the files, sorted by name backwards: the order in a tar must not matter.
func pack(files map[string]string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(files))) {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg})
		w.Write([]byte(files[name]))
	}
	w.Close()
	return b.String()
}

func zipped(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(content))
	w.Close()
	return b.String()
}

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// photo is a JPEG of one grey; n02012849_3 is a PNG and n03126707_1 a CMYK JPEG, whatever they are called.
func photo(grey uint8) string {
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	var b bytes.Buffer
	jpeg.Encode(&b, img, nil)
	return b.String()
}

func pngPhoto(grey uint8) string {
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	var b bytes.Buffer
	png.Encode(&b, img)
	return b.String()
}

// A miniature has three classes. Validation images are of the sorted classes 2, 0, 1, 1: by the
// devkit's numbers 1, 2, 3, 3.
type miniature struct {
	train map[string]map[string]string // by id and name
	val   map[string]string
	truth []string
}

func mini(t testing.TB) miniature {
	return miniature{
		train: map[string]map[string]string{
			"n01440764": {"n01440764_10026.JPEG": photo(10), "n01440764_9.JPEG": photo(20)},
			"n02012849": {"n02012849_3.JPEG": pngPhoto(30)},
			"n03126707": {"n03126707_1.JPEG": read(t, "../imagefile/testdata/cmyk.jpg")},
		},
		val: map[string]string{
			"ILSVRC2012_val_00000001.JPEG": photo(101), "ILSVRC2012_val_00000002.JPEG": photo(102),
			"ILSVRC2012_val_00000003.JPEG": photo(103), "ILSVRC2012_val_00000004.JPEG": photo(104),
		},
		truth: []string{"n03126707", "n01440764", "n02012849", "n02012849"},
	}
}

// trainFolders and valFolders are class folders, flat a flat folder.
func (m miniature) trainFolders(at string, files map[string]string) {
	for id, images := range m.train {
		for name, content := range images {
			files[at+id+"/"+name] = content
		}
	}
}

func (m miniature) valFolders(at string, files map[string]string) {
	for i, name := range slices.Sorted(maps.Keys(m.val)) {
		files[at+m.truth[i]+"/"+name] = m.val[name]
	}
}

func (m miniature) flat(at string, files map[string]string) {
	for name, content := range m.val {
		files[at+name] = content
	}
}

func (m miniature) classTars(at string, files map[string]string) {
	for id, images := range m.train {
		files[at+id+".tar"] = pack(images)
	}
}

const synsets = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\r\n\n"

// layouts are the miniature as everyone has it.
func layouts(t testing.TB) map[string]map[string]string {
	m := mini(t)
	out := map[string]map[string]string{"folders": {}, "kaggle": {}, "tars": {}, "class tars": {}, "labels": {}, "tiny": {}}

	m.trainFolders("train/", out["folders"])
	m.valFolders("val/", out["folders"])
	out["folders"]["synset_words.txt"] = synsets
	out["folders"]["train/lost+found/x.jpg"] = "not looked at"

	m.trainFolders("ILSVRC/Data/CLS-LOC/train/", out["kaggle"])
	m.flat("ILSVRC/Data/CLS-LOC/val/", out["kaggle"])
	out["kaggle"]["LOC_synset_mapping.txt"] = synsets
	out["kaggle"]["LOC_val_solution.csv"] = "ImageId,PredictionString\nILSVRC2012_val_00000003,n02012849 85 1 499 272 \n" +
		"ILSVRC2012_val_00000004,n02012849 1 2 3 4 n02012849 5 6 7 8\nILSVRC2012_val_00000001,n03126707 1 2 3 4\nILSVRC2012_val_00000002,n01440764 1 2 3 4\n"
	out["kaggle"]["ILSVRC/ImageSets/CLS-LOC/val.txt"] = "ILSVRC2012_val_00000001 1\n" // numbers, not classes

	tars := map[string]string{}
	m.classTars("", tars)
	out["tars"][trainTar] = pack(tars)
	out["tars"][valTar] = pack(m.val)
	kit := map[string]string{
		"ILSVRC2012_devkit_t12/data/meta.mat":       read(t, "testdata/meta.mat"),
		"ILSVRC2012_devkit_t12/data/" + groundTruth: "1\n2\n3\n3\n",
		"ILSVRC2012_devkit_t12/readme.txt":          "x",
	}
	out["tars"][devkitTar] = zipped(pack(kit))

	m.classTars("train/", out["class tars"])
	m.flat("val/", out["class tars"])
	maps.Copy(out["class tars"], kit)

	m.trainFolders("train/", out["labels"])
	m.flat("val/", out["labels"])
	out["labels"]["imagenet_2012_validation_synset_labels.txt"] = strings.Join(m.truth, "\n")
	out["labels"]["synset_words.txt"] = synsets

	m.trainFolders("train/", out["tiny"])
	m.flat("val/images/", out["tiny"])
	out["tiny"]["synset_words.txt"] = synsets
	for i, id := range m.truth {
		out["tiny"]["val/val_annotations.txt"] += fmt.Sprintf("ILSVRC2012_val_%08d.JPEG\t%s\t0\t32\t44\t62\n", i+1, id)
	}
	return out
}

// In every layout the set is the same: keys, order, classes and pixels.
func TestLayouts(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	names := []string{"tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)"}
	want := map[string][]string{
		"train": {"train/n01440764/n01440764_10026 0 10", "train/n01440764/n01440764_9 0 20", "train/n02012849/n02012849_3 1 30", "train/n03126707/n03126707_1 2 CMYK"},
		"val":   {"val/ILSVRC2012_val_00000001 2 101", "val/ILSVRC2012_val_00000002 0 102", "val/ILSVRC2012_val_00000003 1 103", "val/ILSVRC2012_val_00000004 1 104"},
	}
	for layout, files := range layouts(t) {
		dir := datatest.Folder(t, files)
		for split, want := range want {
			d, err := Open(data.Source{Path: dir, Split: split})
			if err != nil {
				t.Errorf("%s: %v", layout, err)
				continue
			}
			if got := d.Labels()[classification.Name].Classes; !slices.Equal(got, names) {
				t.Errorf("%s: classes %q", layout, got)
			}
			var got []string
			for i := range d.Len() {
				s, err := d.Sample(i)
				if err != nil {
					t.Errorf("%s: %v", layout, err)
					continue
				}
				pixel := fmt.Sprint(s.Image.RGBAAt(3, 3).R)
				if s.Image.Rect.Dx() != 8 {
					pixel = "CMYK"
				}
				if s.Key != d.Key(i) || s.Image.RGBAAt(3, 3) == (color.RGBA{}) {
					t.Errorf("%s: %s is %s", layout, d.Key(i), s.Key)
				}
				got = append(got, fmt.Sprintf("%s %d %s", s.Key, slices.Index(classification.Of(s), 1), pixel))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", layout, got, want)
			}
		}
	}
}

// Without a list of classes they are the ids that occur in any split; an image that no file tells the
// class of is unlabelled.
func TestWithoutTables(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"train/n00000002/a.JPEG": photo(1), "train/n00000001/b.JPEG": photo(1),
		"val/x.JPEG": photo(1), "val/y.JPEG": photo(1), "LOC_val_solution.csv": "x,n00000003 1 2 3 4\n",
	})
	d, err := Open(data.Source{Path: dir, Split: "val"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels()[classification.Name].Classes; !slices.Equal(got, []string{"n00000001", "n00000002", "n00000003"}) {
		t.Errorf("classes %q", got)
	}
	x, errX := d.Sample(0)
	y, errY := d.Sample(1)
	if errX != nil || errY != nil || classification.Of(x)[2] != 1 || classification.Of(y) != nil {
		t.Errorf("%v, %v, %v, %v", x, errX, y, errY)
	}
}

func TestBrokenSamples(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"train/n00000001/a.JPEG": "no image",
		valTar:                   pack(map[string]string{"ILSVRC2012_val_00000001.JPEG": "no image", "ILSVRC2012_val_00000002.JPEG": photo(1), "._x.JPEG": "", "readme.txt": ""}),
		"imagenet_2012_validation_synset_labels.txt": "n00000001 n00000001",
	})
	for split, want := range map[string]string{"train": "a.JPEG: not an image", "val": valTar + ": not an image"} {
		d, err := Open(data.Source{Path: dir, Split: split})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Sample(0)
		if broken, ok := errors.AsType[*data.SampleError](err); !ok || broken.Key != d.Key(0) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if split == "val" && d.Len() != 2 {
			t.Errorf("%d images in the tar", d.Len())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	all := layouts(t)
	with := func(layout string, changes map[string]string) string {
		files := maps.Clone(all[layout])
		for name, content := range changes {
			if files[name] = content; content == "" {
				delete(files, name)
			}
		}
		return datatest.Folder(t, files)
	}
	long := pack(map[string]string{"n01440764.tar": pack(map[string]string{"n01440764_1.JPEG": photo(1)}), "n02012849.tar": pack(map[string]string{"n02012849_1.JPEG": strings.Repeat("x", 5000)})})
	for _, c := range []struct {
		split, dir, want string
	}{
		{"", with("folders", nil), "want train or val"},
		{"test", with("folders", nil), "never published"},
		{"train", filepath.Join(t.TempDir(), "absent"), "no such folder"},
		{"train", t.TempDir(), "no train images"},
		{"val", datatest.Folder(t, map[string]string{trainTar: all["tars"][trainTar]}), "no val images"},
		{"train", datatest.Folder(t, map[string]string{trainTar: "not a tar, but as long as a header of one would have to be" + strings.Repeat(" ", 600)}), "damaged or cut short"},
		{"train", datatest.Folder(t, map[string]string{trainTar: pack(map[string]string{"x.JPEG": photo(1)})}), "no class tars"},
		{"train", datatest.Folder(t, map[string]string{trainTar: long[:len(long)-9000]}), "cut short"},
		{"train", datatest.Folder(t, map[string]string{trainTar: pack(map[string]string{"n01440764.tar": "nonsense" + strings.Repeat("x", 600)})}), "n01440764.tar: after its beginning"},
		{"val", with("kaggle", map[string]string{"LOC_val_solution.csv": ""}), "has a class in any file"},
		{"val", datatest.Folder(t, map[string]string{"val/a.JPEG": photo(1)}), "nothing tells the classes"},
		{"val", with("kaggle", map[string]string{"LOC_val_solution.csv": "ImageId,x\nILSVRC2012_val_00000001,65\n"}), "LOC_val_solution.csv:2:"},
		{"val", with("kaggle", map[string]string{"LOC_synset_mapping.txt": "tench\n"}), "LOC_synset_mapping.txt:1:"},
		{"train", with("kaggle", map[string]string{"LOC_synset_mapping.txt": "n01440764 tench\n"}), "class n02012849 of n02012849/n02012849_3.JPEG is not among the 1 of"},
		{"val", with("class tars", map[string]string{"ILSVRC2012_devkit_t12/data/" + groundTruth: "1\n5\n"}), `:2: "5" is no number of a class`},
		{"val", with("class tars", map[string]string{"ILSVRC2012_devkit_t12/data/meta.mat": ""}), "put meta.mat"},
		{"val", with("class tars", map[string]string{"ILSVRC2012_devkit_t12/data/meta.mat": "x"}), "meta.mat: not a MAT-file"},
		{"val", with("tars", map[string]string{devkitTar: all["tars"][devkitTar][:100]}), devkitTar + ": it is damaged"},
		{"val", with("folders", map[string]string{"val/n01440764/same.JPEG": photo(1), "val/n02012849/same.JPEG": photo(1)}), "two images are called same.JPEG"},
	} {
		if _, err := Open(data.Source{Path: c.dir, Split: c.split}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.split, err, c.want)
		}
	}
}

// A kept index is used while the files are as they were, and only then.
func TestKeptIndex(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	file := filepath.Join(datatest.Folder(t, map[string]string{"n00000001.tar": pack(map[string]string{"a.JPEG": photo(1)})}), "n00000001.tar")
	whole, err := wholeFile(file, "n00000001")
	if err != nil {
		t.Fatal(err)
	}
	sources := []source{whole}
	cache, stamp, err := cacheFile(sources)
	if err != nil {
		t.Fatal(err)
	}
	if loadIndex(cache, stamp, sources) != nil {
		t.Error("an index that was never kept")
	}
	ix, err := openIndex(sources)
	if err != nil {
		t.Fatal(err)
	}
	if err := saveIndex(cache, ix); err != nil {
		t.Fatal(err)
	}
	if kept := loadIndex(cache, stamp, sources); kept == nil || kept.Members[0][0] != ix.Members[0][0] {
		t.Errorf("kept %+v of %+v", kept, ix)
	}
	ix.Members[0][0].Offset = whole.size
	saveIndex(cache, ix)
	if loadIndex(cache, stamp, sources) != nil {
		t.Error("an index of images beyond the end")
	}
	os.WriteFile(file, []byte(pack(map[string]string{"b.JPEG": photo(1), "c.JPEG": photo(1)})), 0o600)
	if _, now, _ := cacheFile(sources); now == stamp {
		t.Error("another file has the same stamp")
	}
	os.WriteFile(cache, []byte("nonsense"), 0o600)
	if loadIndex(cache, stamp, sources) != nil {
		t.Error("nonsense is an index")
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(pack(map[string]string{"n1/a.JPEG": "xyz", "b.png": ""})))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "x.tar")
		os.WriteFile(file, b, 0o600)
		members, err := source{file, "", 0, int64(len(b))}.scan(func(string) bool { return true })
		if err != nil {
			return
		}
		for _, m := range members {
			if m.Offset < 0 || m.Size < 0 || m.Offset+m.Size > int64(len(b)) || strings.Contains(m.Name, "/") {
				t.Errorf("%+v in %d bytes", m, len(b))
			}
		}
	})
}

func FuzzTables(f *testing.F) {
	f.Add(synsets)
	f.Add("ImageId,PredictionString\nILSVRC2012_val_00000003,n02012849 85 1 499 272 \n")
	f.Add("n01440764\nn02012849\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (map[string]string, error){parseAnnotations, parseLabels} {
			truth, err := parse(text)
			for image, id := range truth {
				if err == nil && (image == "" || !wnidPattern.MatchString(id)) {
					t.Errorf("%q: %q", image, id)
				}
			}
		}
		words, err := parseSynsets(text)
		for id := range words {
			if err == nil && !wnidPattern.MatchString(id) {
				t.Errorf("%q", id)
			}
		}
	})
}

// Scanning costs two small reads an image.
func BenchmarkScan(b *testing.B) {
	files := map[string]string{}
	for i := range 1000 {
		files[fmt.Sprintf("n01440764_%d.JPEG", i)] = strings.Repeat("x", 100_000)
	}
	whole, err := wholeFile(filepath.Join(datatest.Folder(b, map[string]string{"x.tar": pack(files)}), "x.tar"), "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if members, err := whole.scan(func(string) bool { return true }); err != nil || len(members) != 1000 {
			b.Fatal(err)
		}
	}
}
