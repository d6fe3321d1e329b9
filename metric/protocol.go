package metric

import (
	"fmt"
	"image"
	"strings"

	"must/data"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

// Protocols are the published ways of scoring a set that differ from a task's usual one:
//
//   - ade20k: the scene parsing benchmark: mean IoU over all classes, pixel accuracy, and their mean;
//   - nyu: depth within the Eigen crop, and truth up to 10 m;
//   - voc: average precision of the Pascal VOC development kits, VOC10_AP (2010 and later) and VOC07_AP;
//   - voc07: the same, ranked by VOC07_AP.
//
// DIODE's depth and DSINE's normals are scored as is usual.
var Protocols = []string{"ade20k", "nyu", "voc", "voc07"}

// CheckProtocol refuses a name that is none of Protocols, or one for a task that the set has no labels
// for. "" is the usual way.
func CheckProtocol(name string, l data.Labels) error {
	task := map[string]string{"": "", "ade20k": segmentation.Name, "nyu": depth.Name, "voc": detection.Name, "voc07": detection.Name}
	switch t, ok := task[name]; {
	case !ok:
		return fmt.Errorf("metric is %q, want one of %s", name, strings.Join(Protocols, ", "))
	case t != "" && !l.Has(t):
		return fmt.Errorf("metric %s is for %s, which the set has no labels for", name, t)
	}
	return nil
}

// ForDetection returns an empty metric for a set with the labels l: COCO's, or VOC's.
func ForDetection(classes int, masks bool, l data.Labels) Metric {
	switch l[detection.Name].Protocol {
	case "voc", "voc07":
		m := NewVOC(classes)
		m.first07 = l[detection.Name].Protocol == "voc07"
		return m
	}
	return NewDetection(classes, masks)
}

// ForSegmentation returns an empty metric for a set with the labels l.
func ForSegmentation(classes int, l data.Labels) Metric {
	m := NewSegmentation(classes)
	m.ade20k = l[segmentation.Name].Protocol == "ade20k"
	return m
}

// ForDepth returns an empty metric for predictions in the given units, on a set with the labels l.
// Predictions of unknown scale and shift are aligned to the truth by least squares, image by image, in
// inverse depth, as MiDaS does (Ranftl et al. 2020). Truth of unknown scale and shift has no depth to
// compare: there the errors are those of inverse depth.
func ForDepth(units string, l data.Labels) Metric {
	o := DepthOptions{Truth: l[depth.Name].Units, Prediction: units}
	if units == data.Inverse || l[depth.Name].Units == data.Inverse {
		o.Align = ScaleShift
	}
	if units == data.Inverse && l[depth.Name].Units == data.Inverse {
		o.Truth, o.Prediction = "", ""
	}
	if l[depth.Name].Protocol == "nyu" {
		o.Max, o.Crop, o.CropOf = 10, EigenCrop, image.Pt(640, 480)
	}
	return NewDepth(o)
}
