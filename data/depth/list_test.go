package depth

import (
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/data/npy"
)

// Lists that name the images of a part, beside one of half of them.
func TestListsOfNames(t *testing.T) {
	files := map[string]string{"train.txt": "a\r\nsub/c.png\r\n", "train_half.txt": "a\n", "val.txt": "b\ngone\n", "test.txt": "x\n"}
	for _, name := range []string{"a", "b", "sub/c"} {
		files["rgb/"+name+".png"] = "png 2×2"
		files["depth/"+name+".npy"] = string(npy.Append(nil, npy.Float32, []int{2, 2}, []float32{1, 2, 3, 4}))
	}
	files["train.txt"] = "a\r\nrgb/sub/c.png\r\n"
	dir := datatest.Folder(t, files)
	for _, c := range []struct {
		split, set string
		keys       []string
		note       string
	}{
		{"train", "", []string{"rgb/a", "rgb/sub/c"}, ""},
		{"train", "train_half.txt", []string{"rgb/a"}, ""},
		{"val", "", []string{"rgb/b"}, "names in val.txt without an image: 1"},
		{"", "", []string{"rgb/a", "rgb/b", "rgb/sub/c"}, ""},
	} {
		d, err := Open(data.Source{Path: dir, Split: c.split, Set: c.set})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for i := range d.Len() {
			keys = append(keys, d.Key(i))
			if s, err := d.Sample(i); err != nil || !s.Has("depth") {
				t.Errorf("%s: %v", d.Key(i), err)
			}
		}
		if notes := strings.Join(data.Notes(d), "; "); !slices.Equal(keys, c.keys) || notes != c.note {
			t.Errorf("%s %s: %v, %q, want %v, %q", c.split, c.set, keys, notes, c.keys, c.note)
		}
	}
	if _, err := Open(data.Source{Path: dir, Split: "test"}); err == nil || !strings.Contains(err.Error(), "names no image") {
		t.Error(err)
	}
}
