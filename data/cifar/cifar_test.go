package cifar

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/task/classification"
)

// record makes an image whose pixel p is (p+seed, 2p+seed, 3p+seed).
func record(seed int, labels ...byte) string {
	b := slices.Clone(labels)
	for plane := 1; plane <= 3; plane++ {
		for p := range pixels {
			b = append(b, byte(plane*p+seed))
		}
	}
	return string(b)
}

// cifar10 has three images in each batch, of classes 0, 1, 2.
func cifar10(folder string) map[string]string {
	files := map[string]string{folder + "batches.meta.txt": "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"}
	for k, name := range append(slices.Clone(variants[0].train), "test_batch.bin") {
		files[folder+name] = record(10*k, 0) + record(10*k+1, 1) + record(10*k+2, 2)
	}
	return files
}

func cifar100(folder string) map[string]string {
	return map[string]string{
		folder + "coarse_label_names.txt": "fish\nflowers\n",
		folder + "fine_label_names.txt":   "bee\ncod\norchid\n",
		folder + "train.bin":              record(0, 0, 1) + record(1, 1, 2),
		folder + "test.bin":               record(7, 1, 2),
	}
}

// class returns the name of a sample's class.
func class(t *testing.T, d data.Dataset, i int) string {
	t.Helper()
	s, err := d.Sample(i)
	if err != nil {
		t.Fatal(err)
	}
	if s.Key != d.Key(i) || len(classification.Of(s)) != len(d.Labels()[classification.Name].Classes) {
		t.Errorf("%s: key %s, %d classes", d.Key(i), s.Key, len(classification.Of(s)))
	}
	return d.Labels()[classification.Name].Classes[slices.Index(classification.Of(s), 1)]
}

func TestCIFAR10(t *testing.T) {
	dir := datatest.Folder(t, cifar10("cifar-10-batches-bin/"))
	d, err := Open(data.Source{Path: dir, Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != 15 || d.Key(0) != "train/00000" || d.Key(14) != "train/00014" {
		t.Errorf("%d images, %s to %s", d.Len(), d.Key(0), d.Key(d.Len()-1))
	}
	if got := class(t, d, 7); got != "automobile" {
		t.Errorf("image 7 is a %s", got)
	}
	s, _ := d.Sample(7) // record 1 of the third batch, so seed 21
	for _, p := range []int{0, 33, 1023} {
		if got, want := s.Image.RGBAAt(p%32, p/32), (color.RGBA{byte(p + 21), byte(2*p + 21), byte(3*p + 21), 255}); got != want {
			t.Errorf("pixel %d is %v, want %v", p, got, want)
		}
	}
	if d, err = Open(data.Source{Path: filepath.Join(dir, "cifar-10-batches-bin"), Set: "10"}); err != nil {
		t.Fatal(err)
	}
	if d.Len() != 18 || d.Key(15) != "test/00000" || d.Key(17) != "test/00002" {
		t.Errorf("all: %d images, %s", d.Len(), d.Key(15))
	}
}

func TestCIFAR100(t *testing.T) {
	dir := datatest.Folder(t, cifar100(""))
	for set, want := range map[string]string{"": "cod orchid", "100": "cod orchid", "100/coarse": "fish flowers"} {
		d, err := Open(data.Source{Path: dir, Set: set, Split: "train"})
		if err != nil {
			t.Fatal(err)
		}
		if got := class(t, d, 0) + " " + class(t, d, 1); got != want {
			t.Errorf("set %q: %s, want %s", set, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	with := func(files map[string]string, changes ...string) string {
		for i := 0; i < len(changes); i += 2 {
			if files[changes[i]] = changes[i+1]; changes[i+1] == "" {
				delete(files, changes[i])
			}
		}
		return datatest.Folder(t, files)
	}
	both := cifar10("cifar-10-batches-bin/")
	for name, content := range cifar100("cifar-100-binary/") {
		both[name] = content
	}
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Path: "absent"}, "no such folder"},
		{data.Source{Path: datatest.Folder(t, cifar10("")), Set: "coarse"}, "want 10, 100 or 100/coarse"},
		{data.Source{Path: datatest.Folder(t, cifar10("")), Set: "10/coarse"}, "want 10, 100 or 100/coarse"},
		{data.Source{Path: datatest.Folder(t, cifar10("")), Split: "val"}, "train and test"},
		{data.Source{Path: datatest.Folder(t, cifar10("")), Set: "100"}, "no test.bin"},
		{data.Source{Path: datatest.Folder(t, both)}, "both"},
		{data.Source{Path: datatest.Folder(t, map[string]string{"cifar-10-batches-py/test_batch": ""})}, "binary version"},
		{data.Source{Path: t.TempDir()}, "test_batch.bin (CIFAR-10)"},
		{data.Source{Path: with(cifar10(""), "data_batch_4.bin", "")}, "data_batch_4.bin: no such file"},
		{data.Source{Path: with(cifar10(""), "data_batch_4.bin", record(1, 1)[1:])}, "data_batch_4.bin: 3072 bytes"},
		{data.Source{Path: with(cifar100(""), "train.bin", record(1, 1))}, "train.bin: 3073 bytes are no whole number of 3074"},
		{data.Source{Path: with(cifar10(""), "batches.meta.txt", "")}, "batches.meta.txt: no such file"},
		{data.Source{Path: with(cifar10(""), "batches.meta.txt", "\n")}, "0 names"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.src, err, c.want)
		}
	}
}

func TestBrokenSample(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{"batches.meta.txt": "a b", "test_batch.bin": record(0, 1) + record(0, 2) + record(0, 0)})
	d, err := Open(data.Source{Path: dir, Split: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "test_batch.bin"), 7000); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "class 2, but there are 2", "record 2 cannot be read"} {
		_, err := d.Sample(i)
		if broken, ok := errors.AsType[*data.SampleError](err); want != "" && (!ok || broken.Key != fmt.Sprintf("test/0000%d", i) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		} else if want == "" && err != nil {
			t.Error(err)
		}
	}
}
