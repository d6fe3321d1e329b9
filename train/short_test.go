package train

import (
	"errors"
	"strings"
	"testing"

	"must/loader"
	"must/torch"
)

// TestOutOfMemory asks libtorch for more memory than there is: the error names the batch that fits.
func TestOutOfMemory(t *testing.T) {
	failed := torch.Do(func() { torch.Zeros(torch.Float, 1<<50) })
	if !torch.OutOfMemory(failed) {
		t.Fatalf("too large a tensor: %v", failed)
	}
	c := config(1)
	c.Batch = 4
	net := all(t, c).Net
	l, err := loader.New(set(4), loader.Options{Batch: 4, Augment: c.Augment, Train: true})
	if err != nil {
		t.Fatal(err)
	}
	var s *Stepper
	if err := torch.DoErr(func() (err error) {
		s, err = NewStepper(net, nil, c)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer torch.Do(s.Free)
	for b, err := range l.Steps(t.Context(), 0, 1) {
		if err != nil {
			t.Fatal(err)
		}
		got := s.t.short(failed, b)
		if !errors.Is(got, failed) || !strings.Contains(got.Error(), "2 fit: set train.accumulate to 2") {
			t.Error(got)
		}
		if other := errors.New("other"); s.t.short(other, b) != other {
			t.Error("another error is changed")
		}
	}
}
