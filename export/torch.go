package export

import (
	"encoding/binary"
	"slices"
	"strings"

	"must/checkpoint/convert"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/torch"
	"must/weights"
	"must/weights/pth"
)

// Torch writes the backbone, and the classifier where the network has one, as a state dict under
// torchvision's names. It returns how to build the model that loads it strictly.
func Torch(n *network.Network, path string) (build string, err error) {
	classes := 0
	if slices.Contains(n.Spec.Tasks, classification.Name) {
		classes = len(n.Labels[classification.Name].Classes)
	}
	if build, err = convert.Torchvision(n.Model, n.Size, classes); err != nil {
		return "", err
	}
	var entries []pth.Entry
	err = torch.Do(func() {
		state := n.Set.State()
		for _, p := range n.Set.All() {
			theirs := convert.TorchvisionName(n.Model, p.Name)
			if theirs == "" {
				continue
			}
			shape, values := p.Shape, state[p.Name]
			if vit, ok := n.Trunk.Backbone.(*model.ViT); ok && p.Name == "backbone.pos_embed" {
				side := int64(n.Size) / vit.Patch() // torchvision does not resample them
				t := vit.Positions(side)
				shape, values = t.Shape(), torch.Values[float32](t)
			}
			entries = append(entries, pth.Entry{Name: theirs, DType: "F32", Shape: shape, Data: weights.FromFloat32s("", shape, values).Data})
			if norm, ok := strings.CutSuffix(theirs, "running_var"); ok {
				entries = append(entries, pth.Entry{Name: norm + "num_batches_tracked", DType: "I64", Data: binary.LittleEndian.AppendUint64(nil, 0)})
			}
		}
	})
	if err != nil {
		return "", err
	}
	return build, pth.Write(path, entries)
}
