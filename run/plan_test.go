package run

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	r := load(t, t.TempDir(), tiny)
	s, err := r.Plan(context.Background(), nil)
	if err != nil || s.Faults() != 0 || s.Mappings != nil {
		t.Fatalf("%v; %+v", err, s)
	}
	for i, want := range []string{"2 sets", "2 steps of 4 on 8 images", "2 steps of 4 on 8 images", "16 images by 2 teachers", "4 steps of 4 on 16 images", "8 images", "2 trials, 8 steps in all"} {
		x := s.Stages[i]
		if x.Work != want || (x.Seconds > 0) != (i > 0) || x.State != Runs || x.Seconds > 60 {
			t.Errorf("%+v, want %s", x, want)
		}
	}
	if b := s.Stages[4].Bytes; b != 0 && (b < 1e6 || b > 4e9) {
		t.Errorf("the student would take %d bytes", b)
	}
	runAll(t, r)
	if s, err = r.Plan(context.Background(), nil); err != nil || s.Stages[5].State != Done || s.Stages[5].Seconds != 0 {
		t.Errorf("%v; after the run: %+v", err, s.Stages[5])
	}
}

func TestPlanShowsMappings(t *testing.T) {
	r := load(t, t.TempDir(), twoSpaces)
	s, err := r.Plan(context.Background(), errors.New("no libtorch"))
	if err != nil || s.Faults() != 0 {
		t.Fatalf("%v; %s", err, s.Text())
	}
	text := s.Text()
	for _, want := range []string{
		"detection of boxes: 1 classes of 3 keep their names", "2 renamed: mushroom → vessel, house → vessel", "4 map to nothing and are unknown: cylinder, cone, ring, pyramid",
		"2 of the recipe's, unknown in it: Ball, box", "segmentation of rooms", "not estimated: no libtorch",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "detection of stuff") {
		t.Errorf("it maps labels that are not used:\n%s", text)
	}
}

func TestPlanNamesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		settings []string
		want     []string
		faults   int
	}{
		{[]string{"data.rooms={format: ade20k, path: nowhere}"}, []string{"nowhere", "ADEChallengeData2016", "2 steps of 4 on 8 images"}, 1},
		{[]string{"teacher-boxes.tasks=[depth]"}, []string{"cannot run: no set of [crowds] has labels for depth"}, 4}, // and three more read it
		{[]string{"teacher-boxes.data=[crowds, objects]", "data.objects.subset=boxes"}, []string{"declare the task's classes under spaces"}, 5},
		{[]string{"data.rooms.subset=ranges"}, []string{"data set rooms has no labels for segmentation"}, 1},
	} {
		r := load(t, t.TempDir(), tiny, c.settings...)
		s, err := r.Plan(context.Background(), errors.New("not measured"))
		if err != nil {
			t.Fatal(err)
		}
		text := s.Text()
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%v: it does not say %q:\n%s", c.settings, want, text)
			}
		}
		if n := s.Faults(); n != c.faults {
			t.Errorf("%v: %d faults, want %d:\n%s", c.settings, n, c.faults, text)
		}
	}
}
