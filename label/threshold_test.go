package label

import (
	"testing"

	"github.com/goccy/go-yaml"
)

func TestThresholds(t *testing.T) {
	for text, want := range map[string]Threshold{"0.5\n": {0.5, 0.5}, "[0.1, 0.5]\n": {0.1, 0.5}} {
		var got Threshold
		if err := yaml.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		again, err := yaml.Marshal(got)
		var twice Threshold
		if err == nil {
			err = yaml.Unmarshal(again, &twice)
		}
		if err != nil || twice != want {
			t.Errorf("%v is written as %q, %v", want, again, err)
		}
	}
	for _, text := range []string{"[0.1]", "[0.1, 0.2, 0.3]", "high", "{low: 1}"} {
		var got Threshold
		if err := yaml.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	all := Thresholds{"detection": {0.1, 0.5}, "segmentation": {0.4, 0.4}}
	if least, open := all.Least(), all.Open(); least["detection"] != 0.5 || least["segmentation"] != 0.4 || open["detection"] != 0.1 || len(open) != 1 {
		t.Errorf("%v, %v", least, open)
	}
}
