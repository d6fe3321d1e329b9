package export

import (
	"encoding/json"

	"must/augment"
	"must/data"
	"must/detect"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// metadataKey holds a [Description] in the metadata of a model.
const metadataKey = "must.export"

const format = 1

// A Description is all that is needed to feed and to read an exported model.
type Description struct {
	Format int          `json:"format"`
	Spec   network.Spec `json:"spec"` // its tasks are those in the model
	Argmax bool         `json:"argmax,omitempty"`
	Raw    bool         `json:"raw,omitempty"`
	Half   bool         `json:"half,omitempty"`
	Origin Origin       `json:"origin"`
}

// letterbox is the rule by which images get to the input, for people.
const letterbox = "turn as EXIF says; scale by s = size / longer side, sides rounded half up and at least 1, with Pillow's BILINEAR (antialiased), first to the width, then to the height; " +
	"put into the top left corner of size x size; fill the rest with the colour of fill"

// describe makes the metadata, every value JSON: all in one key for this program, and apart for others.
func describe(n *network.Network, o Options) (map[string]string, error) {
	spec := n.Spec
	spec.Tasks = o.Tasks
	if len(o.Tasks) < len(n.Spec.Tasks) {
		spec.Labels = n.Labels.Only(o.Tasks...)
	}
	texts := map[string]string{}
	var err error
	put := func(key string, v any) {
		b, e := json.Marshal(v)
		if err == nil {
			err = e
		}
		texts[key] = string(b)
	}
	put(metadataKey, Description{format, spec, o.Argmax, o.Raw, o.Half, o.Origin})
	put("program", o.Program)
	put("size", n.Size)
	put("letterbox", letterbox)
	put("fill", [3]int{int(augment.Fill[0]), int(augment.Fill[1]), int(augment.Fill[2])})
	put("colour_order", "RGB")
	put("mean", spec.Mean)
	put("std", spec.Std)
	put("tasks", spec.Tasks)
	put("trained_from", o.Origin.Training)
	put("checkpoint_sha256", o.Origin.SHA256)
	l := spec.Labels
	thresholds := map[string]float64{}
	for _, t := range spec.Tasks {
		switch t {
		case classification.Name:
			put("classification.classes", l[classification.Name].Classes)
		case detection.Name:
			put("detection.classes", l[detection.Name].Classes)
			thresholds["detection.score"] = float64(detect.DefaultRoIs().Score)
			thresholds["detection.nms"] = detect.DefaultRoIs().NMS
		case segmentation.Name:
			put("segmentation.classes", l[segmentation.Name].Classes)
		case depth.Name:
			put("depth.units", l[depth.Name].Units)
			put("depth.meaning", map[string]string{data.Metric: "metres along the optical axis", data.Inverse: "inverse depth of unknown scale and shift"}[l[depth.Name].Units])
		case normals.Name:
			put("normals.meaning", "unit vectors: x right, y down, z away from the camera")
		}
	}
	put("thresholds", thresholds)
	return texts, err
}
