// Command scale reckons what recipes/imagenet-objects365-coco.yaml takes on a cluster, and a variant with 300 million
// images, from counts of operations, and writes the table of docs/scale.md:
//
//	go run ./scripts/scale -gpus 256 -flops 4e14 -mem 80e9 -net 5e10 -disk 2e10
package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"

	"must/scripts/generated"
)

// A cluster is what it runs on.
type cluster struct{ gpus, flops, mem, net, disk float64 }

// Operations of one image at 512 px, forward, in 10⁹: multiplications and additions of the convolutions, counted from
// their shapes; backward takes twice as many.
const (
	resnet50 = 43.  // backbone
	fpn      = 32.  // laterals and outputs, P2 to P7
	rpn      = 13.  // two hidden convolutions on P3 to P7
	boxHead  = 118. // four convolutions on 512 RoIs of 7×7
	maskHead = 132. // four convolutions and a deconvolution on 128 RoIs of 14×14; only where there are masks
	pixels   = 58.  // three convolutions on the fused P2
)

// Sizes that a count gives no better.
const (
	jpeg       = 110e3          // bytes of a picture
	activation = 101e9 / 64 / 2 // bytes an image of the student's step in bfloat16: half of the dry run's 101 GB for 64 in float32
	fixed      = 3 * 4          // bytes a parameter: weight, gradient, momentum
	efficiency = 0.1            // of the peak that steps reach, assumed: convolutions of a detector are far from matrix products; what matters most
	boxes      = 1536.          // bytes of a stored label: member of a tar and its header
	classes    = 512 + 1000*2 + 512
	segments   = 512 + 12e3       // a PNG of few regions
	depths     = 512 + 640*480*2. // float16, as large as the picture
)

// A stage passes images through a network.
type stage struct {
	name       string
	images     float64 // seen in all
	operations float64 // of an image, 10⁹
	batch      float64 // 0: it predicts
	parameters float64
	stored     float64 // bytes an image
}

func stages(pictures float64) []stage {
	const imagenet, objects, coco, depth = 1281167, 1742289, 118287, 400e3
	union := float64(imagenet + objects + coco)
	if pictures > 0 {
		union = pictures
	}
	teachers := resnet50 + (resnet50 + fpn + rpn + 2*boxHead) + 2*(resnet50+fpn+pixels) // 1,000 proposals in inference
	return []stage{
		{"teacher-classification", 90 * imagenet, 3 * resnet50, 128, 25.6e6, 0},
		{"teacher-detection", 16 * objects, 3 * (resnet50 + fpn + rpn + boxHead), 64, 45e6, 0},
		{"teacher-segmentation", 96 * coco, 3 * (resnet50 + fpn + pixels), 64, 33e6, 0},
		{"teacher-depth", 20 * depth, 3 * (resnet50 + fpn + pixels), 64, 33e6, 0},
		{"labels", union, teachers, 0, 0, boxes + classes + segments + depths},
		{"student", 12 * union, 3 * (resnet50 + fpn + rpn + boxHead + 2*pixels), 64, 52e6, 0},
	}
}

func main() {
	var c cluster
	flag.Float64Var(&c.gpus, "gpus", 256, "in all")
	flag.Float64Var(&c.flops, "flops", 4e14, "of one GPU in bfloat16, as a matrix product reaches it, a second")
	flag.Float64Var(&c.mem, "mem", 80e9, "bytes of one GPU")
	flag.Float64Var(&c.net, "net", 5e10, "bytes a second in and out of one GPU")
	flag.Float64Var(&c.disk, "disk", 2e10, "bytes a second of the shared storage")
	write := flag.String("write", "docs/scale.md", "page whose table is replaced")
	flag.Parse()
	if err := page(*write, c); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func (c cluster) table(b *bytes.Buffer, pictures float64) {
	fmt.Fprintf(b, "| stage | images | batch | time | GB a process | MB to sum a step, share of its time | read, MB/s | labels |\n|---|---|---|---|---|---|---|---|\n")
	total := 0.
	for _, s := range stages(pictures) {
		each := s.operations * 1e9 / (c.flops * efficiency) // seconds of one GPU
		batch, summed, share, memory := "–", "–", 0., activation/4
		seconds := s.images * each / c.gpus
		if s.batch > 0 {
			grown := math.Max(s.batch, c.gpus*2) // two images a GPU at least, which batch norm needs
			traffic := 2 * 4 * s.parameters * (c.gpus - 1) / c.gpus
			talk, step := traffic/c.net, grown/c.gpus*each
			share = talk / (talk + step)
			seconds = s.images / grown * (talk + step)
			batch, summed = fmt.Sprintf("%.0f", grown), fmt.Sprintf("%.0f, %.0f %%", traffic/1e6, 100*share)
			memory = fixed*s.parameters + activation*grown/c.gpus
		}
		read := s.images / seconds * jpeg
		if slow := read / c.disk; slow > 1 {
			seconds, read = seconds*slow, c.disk
		}
		fits := ""
		if memory > c.mem {
			fits = ", more than there is"
		}
		labels := "–"
		if s.stored > 0 {
			labels = fmt.Sprintf("%.1f TB, %.0f shards a task", s.images*s.stored/1e12, math.Ceil(s.images/1000))
		}
		total += seconds
		fmt.Fprintf(b, "| %s | %.3g | %s | %s | %.1f%s | %s | %.0f | %s |\n", s.name, s.images, batch, hours(seconds), memory/1e9, fits, summed, read/1e6, labels)
	}
	fmt.Fprintf(b, "| all | | | %s | | | | |\n", hours(total))
}

func hours(seconds float64) string {
	if seconds < 48*3600 {
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.0f days", seconds/86400)
}

const begin, end = "<!-- figures: go run ./scripts/scale -->\n", "<!-- end of figures -->\n"

func page(path string, c cluster) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nOn %.0f GPUs of %.3g FLOP/s and %.0f GB, %.0f GB/s each, storage of %.0f GB/s; %.0f %% of that speed reached.\n\n**As the recipe is**\n\n", c.gpus, c.flops, c.mem/1e9, c.net/1e9, c.disk/1e9, 100*efficiency)
	c.table(&b, 0)
	b.WriteString("\n**With 300 million images to label and to learn from**\n\n")
	c.table(&b, 300e6)
	b.WriteByte('\n')
	return generated.Replace(path, begin, end, b.Bytes())
}
