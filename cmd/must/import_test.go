package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"must/checkpoint"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/weights"
)

// vitFile writes a ViT of timm's names: patch 8 for 32 pixels, one block of width 64, three classes.
func vitFile(t *testing.T, path string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	var tensors []weights.Tensor
	for name, shape := range map[string][]int64{
		"cls_token": {1, 1, 64}, "pos_embed": {1, 17, 64}, "patch_embed.proj.weight": {64, 3, 8, 8}, "patch_embed.proj.bias": {64},
		"blocks.0.norm1.weight": {64}, "blocks.0.norm1.bias": {64}, "blocks.0.attn.qkv.weight": {192, 64}, "blocks.0.attn.qkv.bias": {192},
		"blocks.0.attn.proj.weight": {64, 64}, "blocks.0.attn.proj.bias": {64}, "blocks.0.norm2.weight": {64}, "blocks.0.norm2.bias": {64},
		"blocks.0.mlp.fc1.weight": {256, 64}, "blocks.0.mlp.fc1.bias": {256}, "blocks.0.mlp.fc2.weight": {64, 256}, "blocks.0.mlp.fc2.bias": {64},
		"norm.weight": {64}, "norm.bias": {64}, "head.weight": {3, 64}, "head.bias": {3}, "head_dist.weight": {3, 64},
	} {
		n := 1
		for _, d := range shape {
			n *= int(d)
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64()) * 0.05
		}
		tensors = append(tensors, weights.FromFloat32s(name, shape, v))
	}
	if err := weights.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	vit, names, two, out := filepath.Join(dir, "vit.safetensors"), filepath.Join(dir, "names.txt"), filepath.Join(dir, "two.txt"), filepath.Join(dir, "out.safetensors")
	vitFile(t, vit)
	for path, text := range map[string]string{names: "cat\ndog\nplain fox\n\n", two: "cat\ndog\n"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text := must(t, "import", "--weights", vit, "--classes", names, "--out", out, "--list", "--size", "64", "--normalise", "imagenet", "--batch", "1024", "--lr", "0.5")
	says(t, text, "taken over    heads.classification.weight", "unused        head_dist.weight: ", "from vit.safetensors (timm ViT): 20 tensors taken over", "written: "+out)
	c, err := checkpoint.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Spec; s.Size != 64 || s.Mean != network.ImageNetMean || s.Model.Backbone.(model.ViTConfig).Grid != 4 || s.Labels[classification.Name].Classes[2] != "plain fox" || c.Training.Batch != 1024 || c.Training.LR != 0.5 {
		t.Errorf("the checkpoint says %+v %+v", s, c.Training)
	}
	says(t, must(t, "import", "--weights", vit, "--classes", names), "of 32 px, 3 classes, mean [127.5 127.5 127.5]")

	fails(t, []string{"import", "--weights", vit, "--classes", two}, "vit.safetensors", "3 classes", "the list has 2")
	fails(t, []string{"import", "--weights", out, "--classes", names}, "a checkpoint of this program")
	fails(t, []string{"import", "--weights", names, "--classes", names}, "names.txt", "safetensors")
}
