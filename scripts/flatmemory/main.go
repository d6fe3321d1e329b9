// Command flatmemory shows what labelling a large folder of images takes, with tiny teachers on tiny
// images, so that what is measured is the stream and not the networks:
//
//	go build -o bin/must ./cmd/must && go run ./scripts/flatmemory -must bin/must -dir /tmp/flat
//
// It labels folders of -counts images (hard links to 256 rendered ones) and prints the peak memory of
// each run. The largest run is killed (kill -9) at random moments and started again; then every image
// must be labelled exactly once, and no shard that had been finished may have been written again.
// Last it opens a folder of -names images and labels until the first shard is there.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/jpeg"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"must/data"
	"must/data/images"
	"must/data/scenes"
	"must/label/shards"
)

func main() {
	var b bench
	counts := flag.String("counts", "1000,10000,100000", "folders to label, in images")
	names := flag.Int("names", 1_000_000, "images in the folder that is only opened; 0: none")
	flag.StringVar(&b.must, "must", "bin/must", "the program")
	flag.StringVar(&b.dir, "dir", "", "an empty folder to work in")
	flag.IntVar(&b.kills, "kills", 10, "times that the largest run is killed")
	flag.IntVar(&b.threads, "threads", 1, "of the engine")
	flag.Parse()
	if err := b.run(*counts, *names); err != nil {
		fmt.Fprintln(os.Stderr, "flatmemory:", err)
		os.Exit(1)
	}
}

type bench struct {
	must, dir      string
	kills, threads int
}

const (
	sources   = 256  // images that differ
	perFolder = 1000 // images in one folder
)

func (b *bench) run(counts string, names int) error {
	if b.dir == "" {
		return errors.New("name a folder by -dir")
	}
	var sizes []int
	for _, c := range strings.Split(counts, ",") {
		n, err := strconv.Atoi(c)
		if err != nil || n < 1 {
			return fmt.Errorf("-counts %s: want numbers with commas between them", counts)
		}
		sizes = append(sizes, n)
	}
	for _, set := range []string{"objects", "ranges"} {
		_, err := b.call("train", "--format", "scenes", "--subset", set, "--count", "64", "--size", "32", "--backbone", "resnet18", "--width", "0.125",
			"--epochs", "1", "--set", "model.fpn=16", "--set", "model.head=16", "--out", b.path("teacher-"+set)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("train on %s: %w", set, err)
		}
	}
	if err := b.render(); err != nil {
		return err
	}
	for i, n := range sizes {
		if err := b.links(n); err != nil {
			return err
		}
		kills := 0
		if i == len(sizes)-1 {
			kills = b.kills
		}
		if err := b.label(n, kills); err != nil {
			return err
		}
	}
	if names == 0 {
		return nil
	}
	return b.open(names)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) call(args ...string) *exec.Cmd {
	return exec.Command(b.must, append([]string{"--quiet", "--threads", strconv.Itoa(b.threads)}, args...)...)
}

func (b *bench) labelling(n int) *exec.Cmd {
	return b.call("label", "--teacher", b.path("teacher-objects/train/model.safetensors"), "--teacher", b.path("teacher-ranges/train/model.safetensors"),
		"--path", b.path(fmt.Sprint("images-", n)), "--out", b.path(fmt.Sprint("labels-", n)))
}

// render writes the images that all others are links to.
func (b *bench) render() error {
	ds, err := scenes.Open(data.Source{Set: "unlabelled", Split: "train", Size: 32, Count: sources})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.path("sources"), 0o777); err != nil {
		return err
	}
	for i := range sources {
		s, err := ds.Sample(i)
		if err != nil {
			return err
		}
		var file bytes.Buffer
		if err := jpeg.Encode(&file, s.Image, nil); err != nil {
			return err
		}
		if err := os.WriteFile(b.source(i), file.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) source(i int) string { return b.path(fmt.Sprintf("sources/%03d.jpg", i%sources)) }

// links fills the folder images-n.
func (b *bench) links(n int) error {
	root := b.path(fmt.Sprint("images-", n))
	for i := range n {
		folder := filepath.Join(root, fmt.Sprintf("%04d", i/perFolder))
		if i%perFolder == 0 {
			if err := os.MkdirAll(folder, 0o777); err != nil {
				return err
			}
		}
		err := os.Link(b.source(i), filepath.Join(folder, fmt.Sprintf("%08d.jpg", i)))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// label labels images-n, killed some times on its way, and checks what is there in the end.
func (b *bench) label(n, kills int) error {
	out := b.path(fmt.Sprint("labels-", n))
	finished := map[string]time.Time{} // when each finished shard was written
	var began, again time.Time
	killed := 0
	for {
		cmd := b.labelling(n)
		cmd.Stderr = os.Stderr
		began = time.Now()
		if again.IsZero() {
			again = began
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		if killed < kills {
			defer time.AfterFunc(time.Duration(rand.IntN(9000))*time.Millisecond, func() { cmd.Process.Kill() }).Stop()
		}
		err := cmd.Wait()
		if err := unchanged(out, finished); err != nil {
			return err
		}
		if err == nil {
			usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			fmt.Printf("%9d images: peak %4d MB; last start %.1f s, in all %.1f s, killed %d times\n", n, usage.Maxrss/1000,
				time.Since(began).Seconds(), time.Since(again).Seconds(), killed)
			break
		}
		if killed++; killed > kills {
			return err
		}
		fmt.Printf("          killed after %.1f s: %d shards finished\n", time.Since(began).Seconds(), len(finished))
	}
	return b.check(n, out)
}

// unchanged reports a shard that was written twice, and notes the new ones.
func unchanged(out string, finished map[string]time.Time) error {
	manifests, err := filepath.Glob(filepath.Join(out, "manifest", "*.json"))
	if err != nil {
		return err
	}
	for _, m := range manifests {
		info, err := os.Stat(m)
		if err != nil {
			return err
		}
		if at, known := finished[m]; known && !at.Equal(info.ModTime()) {
			return fmt.Errorf("%s was written again", m)
		}
		finished[m] = info.ModTime()
	}
	return nil
}

// check counts the labels of every image.
func (b *bench) check(n int, out string) error {
	var index struct {
		Complete bool
		Skipped  int
		Dataset  struct{ Samples int }
		Shards   []struct {
			From, To int
			Files    map[string]struct{ Samples int }
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "index.json"))
	if err == nil {
		err = json.Unmarshal(text, &index)
	}
	if err != nil {
		return err
	}
	next := 0
	for _, s := range index.Shards {
		if s.From != next {
			return fmt.Errorf("%s: a shard begins at image %d, not %d", out, s.From, next)
		}
		for task, f := range s.Files {
			if f.Samples != s.To-s.From {
				return fmt.Errorf("%s: %d labels for %s of images %d to %d", out, f.Samples, task, s.From, s.To)
			}
		}
		next = s.To
	}
	if !index.Complete || index.Skipped != 0 || index.Dataset.Samples != n || next != n {
		return fmt.Errorf("%s: labels of %d images of %d, %d skipped, complete: %v", out, next, n, index.Skipped, index.Complete)
	}
	set, err := shards.Open(out)
	if err != nil {
		return err
	}
	return set.Verify(context.Background())
}

// open times what comes before the first label of a folder of n images.
func (b *bench) open(n int) error {
	if err := b.links(n); err != nil {
		return err
	}
	began := time.Now()
	ds, err := images.Open(data.Source{Path: b.path(fmt.Sprint("images-", n))})
	if err != nil {
		return err
	}
	fmt.Printf("%9d images: opened in %.1f s\n", ds.Len(), time.Since(began).Seconds())
	cmd := b.labelling(n)
	began = time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	first := filepath.Join(b.path(fmt.Sprint("labels-", n)), "manifest", "shard-000000.json")
	for time.Since(began) < 10*time.Minute {
		if _, err := os.Stat(first); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(began)
	cmd.Process.Kill()
	cmd.Wait()
	fmt.Printf("%9d images: first 1000 labelled after %.1f s; peak %d MB\n", n, took.Seconds(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss/1000)
	return nil
}
