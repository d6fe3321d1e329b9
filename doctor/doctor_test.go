package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"must/torch"
)

// A process opens libtorch once, so every case is a process of its own.
const childEnv = "MUST_DOCTOR_IN_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if !Run(os.Stdout) {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// examine runs the doctor in dir with these variables set and returns its report.
func examine(t *testing.T, dir string, env ...string) (report string, ok bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), childEnv+"=1", "OMP_NUM_THREADS=1"), env...)
	out, err := cmd.Output()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return string(out), err == nil
}

func wants(t *testing.T, report string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(report, w) {
			t.Errorf("no %q in:\n%s", w, report)
		}
	}
}

func TestHealthy(t *testing.T) {
	info, err := torch.Describe()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	report, ok := examine(t, dir, "LIBTORCH="+info.Library.Dir)
	if !ok {
		t.Errorf("not ok:\n%s", report)
	}
	wants(t, report, info.Library.Dir, info.Library.Version, "$LIBTORCH", "processor", "cores", "memory", "GiB free", "GPU", "cpu, 1 threads",
		"works:", "GFLOP/s", "ready to train")
}

func TestSick(t *testing.T) {
	info, err := torch.Describe()
	if err != nil {
		t.Fatal(err)
	}
	l := info.Library
	cpu, c10 := filepath.Base(l.CPULib), filepath.Base(l.C10)
	for _, c := range []struct {
		name    string
		prepare func(dir string) error
		want    []string
	}{
		{"nowhere", os.RemoveAll, []string{"no such folder"}},
		{"empty", func(string) error { return nil }, []string{cpu}},
		{"text", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, cpu), []byte("not a library"), 0o644)
		}, []string{cpu}},
		{"another library", func(dir string) error {
			if err := os.Symlink(l.C10, filepath.Join(dir, cpu)); err != nil {
				return err
			}
			return os.Symlink(l.C10, filepath.Join(dir, c10))
		}, []string{"lacks", "torch_call_dispatcher"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			report, ok := examine(t, t.TempDir(), "LIBTORCH="+dir)
			if ok {
				t.Error("ok")
			}
			wants(t, report, append(c.want, dir, "unset it", "make libtorch", "no training is possible")...)
		})
	}
	t.Run("none at all", func(t *testing.T) {
		dir, home := t.TempDir(), t.TempDir()
		report, ok := examine(t, dir, "LIBTORCH=", "HOME="+home, "XDG_CACHE_HOME="+home, "PATH=")
		if ok {
			t.Error("ok")
		}
		wants(t, report, "$LIBTORCH: not set", filepath.Join(dir, ".libtorch"), home, "no python3 on PATH", "make libtorch", "no training is possible")
	})
}
