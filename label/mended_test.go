package label

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
)

// fragile is a set whose samples fail as they are told to.
type fragile struct {
	data.Dataset
	fail map[int]error
}

func (f fragile) Sample(i int) (*data.Sample, error) {
	if err := f.fail[i]; err != nil {
		return nil, &data.SampleError{Key: f.Key(i), File: filepath.Join(os.TempDir(), f.Key(i)), Err: err}
	}
	return f.Dataset.Sample(i)
}

// An error of the system stops labelling; what is mended is labelled by the same command, whose counts
// are of the whole set.
func TestMended(t *testing.T) {
	ds := open(t, "crowds", 6)
	teachers := []Teacher{teacher(t, 32, 1, data.Labels{classification.Name: {Classes: []string{"a", "b", "c"}}}, classification.Name)}
	dir := t.TempDir()
	o := Options{Name: "set", Batch: 2, ShardSize: 4}
	broken := errors.New("not an image")
	if _, err := Run(t.Context(), fragile{ds, map[int]error{1: fs.ErrPermission}}, teachers, dir, o); err == nil || !strings.Contains(err.Error(), "permission") || !strings.Contains(err.Error(), "repeat the command") {
		t.Fatalf("a file that may not be read: %v", err)
	}
	sum, err := Run(t.Context(), fragile{ds, map[int]error{1: broken}}, teachers, dir, o)
	if err != nil || sum.All.Skipped != 1 || sum.All.Images != ds.Len()-1 {
		t.Fatalf("%+v, %v", sum, err)
	}
	again, err := Run(t.Context(), fragile{ds, map[int]error{1: broken}}, teachers, dir, o)
	if err != nil || again.Images != 0 || again.All.Images != sum.All.Images || again.All.Skipped != 1 {
		t.Fatalf("repeated: %+v, %v", again, err)
	}
	mended, err := Run(t.Context(), ds, teachers, dir, o)
	if err != nil || mended.All.Skipped != 0 || mended.All.Images != ds.Len() {
		t.Fatalf("mended: %+v, %v", mended, err)
	}
}
