// Command benchpeers measures a training step and labelling beside PyTorch programs that do the same work
// (test/peers/bench), and writes the tables of docs/performance.md:
//
//	make bench-peers QUICK=1
//	go run ./scripts/benchpeers -device cuda -write docs/performance.md
//
// The two programs of a comparison take turns, a step or a pass each, so that whatever else the machine does meets
// both; of what they took the medians are compared.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"must/torch"
)

// A job is what a comparison measures.
type job struct {
	Kind    string // step or label
	Device  string
	Threads int
	Small   bool // ResNet-18 at 64 px and narrow heads, in place of ResNet-50 at 512 px
	BF16    bool
	Batch   int
	Steps   int    // that count
	Images  string // folder to label
	Size    int    // 0: as Small says
}

func (j job) String() string {
	name := "ResNet-50, 512 px"
	if j.Small {
		name = "ResNet-18, 64 px"
	}
	if j.Size > 0 {
		name = fmt.Sprintf("%s at %d px", strings.Split(name, ",")[0], j.Size)
	}
	precision := "float32"
	if j.BF16 {
		precision = "bfloat16"
	}
	if j.Kind == "label" {
		return fmt.Sprintf("labelling, four teachers, %s, %s", name, precision)
	}
	return fmt.Sprintf("training step, %s, batch %d, %s", name, j.Batch, precision)
}

func main() {
	var j job
	flag.StringVar(&j.Device, "device", "cpu", "cpu or cuda")
	flag.IntVar(&j.Threads, "threads", runtime.NumCPU(), "of each program")
	quick := flag.Bool("quick", false, "fewer steps and images: on two cores 10 minutes at most")
	only := flag.String("only", "", "those comparisons whose name has this in it, such as 512")
	tiny := flag.Bool("tiny", false, "smallest sizes, to try the command itself")
	write := flag.String("write", "", "page whose tables are replaced; without it they are only printed")
	revision := flag.String("revision", "of this checkout", "of the sources, for the page")
	python := flag.String("python", or(os.Getenv("PYTHON"), "python3"), "with torch and torchvision")
	peers := flag.String("peers", "test/peers/bench", "folder of the peers' programs")
	worker := flag.String("worker", "", "used by the command itself: step or label")
	flag.BoolVar(&j.Small, "small", false, "of a worker")
	flag.BoolVar(&j.BF16, "bf16", false, "of a worker")
	flag.IntVar(&j.Batch, "batch", 2, "of a worker")
	flag.IntVar(&j.Size, "size", 0, "of a worker")
	flag.StringVar(&j.Images, "images", "", "of a worker")
	flag.Parse()
	err := func() error {
		if j.Kind = *worker; j.Kind != "" {
			return work(j)
		}
		b := bench{python: *python, peers: *peers}
		if err := torch.Open(torch.Options{Device: j.Device, Threads: j.Threads}); err != nil {
			return err
		}
		var all []comparison
		for _, j := range jobs(j, *quick, *tiny) {
			if !strings.Contains(j.String(), *only) {
				continue
			}
			c, err := b.compare(j)
			if err != nil {
				return fmt.Errorf("%v: %w", j, err)
			}
			all = append(all, c)
			fmt.Println(c.text())
		}
		return page(*write, j.Device, *revision, all)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchpeers:", err)
		os.Exit(1)
	}
}

// jobs are the comparisons of a device.
func jobs(of job, quick, tiny bool) (all []job) {
	add := func(j job) {
		j.Device, j.Threads = of.Device, of.Threads
		all = append(all, j)
	}
	switch {
	case tiny:
		add(job{Kind: "step", Small: true, Batch: 2, Steps: 2})
		add(job{Kind: "label", Small: true, Batch: 2, Steps: 1})
	case of.Device == "cuda":
		for _, bf16 := range []bool{true, false} {
			add(job{Kind: "step", Batch: 16, Steps: 12, BF16: bf16})
			add(job{Kind: "step", Small: true, Batch: 256, Steps: 12, BF16: bf16})
		}
		add(job{Kind: "label", Batch: 16, Steps: 2})
	case quick:
		add(job{Kind: "step", Small: true, Batch: 32, Steps: 5})
		add(job{Kind: "step", Batch: 2, Steps: 3})
		add(job{Kind: "label", Batch: 4, Steps: 1})
	default:
		add(job{Kind: "step", Small: true, Batch: 32, Steps: 15})
		add(job{Kind: "step", Batch: 2, Steps: 9})
		add(job{Kind: "label", Batch: 4, Steps: 3})
	}
	return all
}

// images is how many pictures a pass labels.
func (j job) images() int {
	if j.Device == "cuda" {
		return 256
	}
	return 8
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
