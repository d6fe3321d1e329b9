package coco

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"must/data"
)

// writeTrain2017 writes a file of the size and shape of instances_train2017.json: 118,287 images,
// 860,001 annotations in random order, 1 % crowds, in all 450 MB, and images of no content.
func writeTrain2017(b *testing.B, root string) string {
	const images, annotations = 118287, 860001
	file := filepath.Join(root, "annotations", "instances_train2017.json")
	for _, dir := range []string{"annotations", "train2017"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	fmt.Fprint(w, `{"info": {"year": 2017}, "licenses": [], "images": [`)
	for i := range images {
		name := fmt.Sprintf("%012d.jpg", 4*i+9)
		fmt.Fprintf(w, `%s{"license": 3,"file_name": "%s","coco_url": "http://images.cocodataset.org/train2017/%[2]s","height": 480,"width": 640,`+
			`"date_captured": "2013-11-14 11:18:45","flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg","id": %[3]d}`,
			comma(i), name, 4*i+9)
		if err := os.WriteFile(filepath.Join(root, "train2017", name), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Fprint(w, `],"annotations": [`)
	for i := range annotations {
		fmt.Fprint(w, comma(i), `{"segmentation": `)
		crowd := 0
		if rng.IntN(100) == 0 {
			crowd = 1
			fmt.Fprint(w, `{"counts": [0`)
			for range 600 {
				fmt.Fprintf(w, ",%d", rng.IntN(500))
			}
			fmt.Fprint(w, `],"size": [480,640]}`)
		} else {
			fmt.Fprint(w, `[[0.5`)
			for range 1 + 2*(2+rng.IntN(45)) {
				fmt.Fprintf(w, ",%.2f", 480*rng.Float64())
			}
			fmt.Fprint(w, `]]`)
		}
		fmt.Fprintf(w, `,"area": %.4f,"iscrowd": %d,"image_id": %d,"bbox": [%.2f,%.2f,%.2f,%.2f],"category_id": %d,"id": %d}`,
			1e4*rng.Float64(), crowd, 4*rng.IntN(images)+9, 400*rng.Float64(), 300*rng.Float64(), 1+200*rng.Float64(), 1+200*rng.Float64(), 1+rng.IntN(80), i+1)
	}
	fmt.Fprint(w, `],"categories": [`)
	for i := range 80 {
		fmt.Fprintf(w, `%s{"supercategory": "x","id": %d,"name": "class %[2]d"}`, comma(i), i+1)
	}
	fmt.Fprint(w, "]}")
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	return file
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// BenchmarkOpenTrain2017 opens a set of the size of COCO train2017; B/held is the memory that the open
// set keeps, B/system what the program has ever asked the system for.
func BenchmarkOpenTrain2017(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 450 MB")
	}
	root := b.TempDir()
	info, err := os.Stat(writeTrain2017(b, root))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var d data.Dataset
	for b.Loop() {
		if d, err = Open(data.Source{Path: root, Split: "train"}); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "B/held")
	b.ReportMetric(float64(after.Sys), "B/system")
	runtime.KeepAlive(d)
}
