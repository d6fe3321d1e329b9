package shards

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"must/data"
)

// childDir is the environment variable that turns the test binary into a labelling process.
const childDir = "MUST_SHARDS_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := work(dir, slow{killed}, provenance(), Options{ShardSize: 3}); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var killed = images{n: 90}

// slow takes a while for each image, so that a kill meets all stages of a shard.
type slow struct{ images }

func (s slow) Sample(i int) (*data.Sample, error) {
	time.Sleep(200 * time.Microsecond)
	return s.images.Sample(i)
}

func child(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+dir)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Two processes at a time work on one set and are killed at random moments; what they leave is at
// every moment whole shards, none of which is made twice, and in the end the very bytes of a run that
// was not disturbed.
func TestKilledProcesses(t *testing.T) {
	want := t.TempDir()
	fill(t, want, killed, provenance(), Options{ShardSize: 3})

	dir := t.TempDir()
	r := rand.New(rand.NewPCG(7, 7))
	made := map[string]time.Time{}
	kills := 0
	for round := 0; ; round++ {
		a, b := child(t, dir), child(t, dir)
		done := make(chan error, 2)
		go func() { done <- a.Wait() }()
		go func() { done <- b.Wait() }()
		if kills < 12 {
			time.Sleep(time.Duration(r.IntN(60_000)) * time.Microsecond)
			a.Process.Kill()
			time.Sleep(time.Duration(r.IntN(10_000)) * time.Microsecond)
			b.Process.Kill()
			kills++
		}
		if errA, errB := <-done, <-done; errA == nil && errB == nil {
			break
		}
		for path, at := range manifests(t, dir) {
			if before, ok := made[path]; ok && !before.Equal(at) {
				t.Errorf("%s was made again", path)
			}
			made[path] = at
			var x Index
			x.Provenance = provenance()
			for _, task := range x.tasks() {
				tar := tarPath(dir, task, path[:len(path)-len(".json")])
				if _, err := os.Stat(tar); err != nil {
					t.Errorf("%s has a manifest: %v", tar, err)
				}
			}
		}
		if round > 50 {
			t.Fatal("no progress")
		}
	}
	t.Logf("%d rounds killed, %d shards made in them", kills, len(made))
	sameContents(t, contents(t, dir), contents(t, want))
}

// manifests maps the manifests of finished shards to when they were written.
func manifests(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	m := map[string]time.Time{}
	entries, err := os.ReadDir(filepath.Join(dir, manifestDir))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ok, _ := filepath.Match("shard-*.json", e.Name()); ok {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			m[e.Name()] = info.ModTime()
		}
	}
	return m
}
