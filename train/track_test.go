package train

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Beside its log a run leaves what TensorBoard reads: every step's losses, scores, and a picture of
// predictions at every evaluation; a resumed run goes on in a file of its own.
func TestTracked(t *testing.T) {
	c := config(6)
	c.EvalEvery = 1
	j := all(t, c)
	j.Val = set(3)
	run(t, j)
	b, err := os.ReadFile(filepath.Join(j.Dir, "events.out.tfevents.0000000000.must"))
	if err != nil {
		t.Fatal(err)
	}
	evaluations := bytes.Count(b, []byte("predictions"))
	for tag, want := range map[string]int{
		"loss/total": 6, "rate": 6, "gradient": 6, "loss/detection.mask": 6, "score/segmentation.mIoU": evaluations, "\x89PNG": evaluations,
	} {
		if n := bytes.Count(b, []byte(tag)); n != want {
			t.Errorf("%q comes %d times, not %d", tag, n, want)
		}
	}
	if evaluations < 2 {
		t.Errorf("%d pictures of predictions", evaluations)
	}
	if _, err := os.Stat(filepath.Join(j.Dir, mlflowFile)); err == nil {
		t.Error("without a server there is a run on one")
	}
}
