package formats

import (
	"strings"
	"testing"

	"must/data"
)

func TestOpenRefusesWhatAFormatHasNoUseFor(t *testing.T) {
	dir := t.TempDir()
	for want, s := range map[string]data.Source{
		"subset is 2007, but the format images has no use for it":                                {Format: "images", Path: dir, Set: "2007"},
		"scale is 0.5, but the format coco":                                                      {Format: "coco", Path: dir, Scale: 0.5},
		"units is inverse, but the format diode has no use for it (it is for depth, multi, nyu)": {Format: "diode", Path: dir, Units: "inverse"},
		`format is "vok"; there are scenes, imagefolder`:                                         {Format: "vok", Path: dir},
		"no such file or folder":                                                                 {Format: "voc", Path: dir + "/no"},
	} {
		if _, err := Open(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
}
