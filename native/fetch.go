package native

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

// A Wheel is one pinned Python package and the libraries taken out of it.
type Wheel struct {
	Name, Version string
	SHA256        string
	Size          int64    // of the wheel, bytes
	Libs          []string // paths inside the wheel
}

// A Bundle is the wheels that make up a library on one platform.
type Bundle struct {
	Title    string   // what is fetched, for people
	Product  string   // what it is a part of
	Variable string   // of the environment, for the folder of one that is already here
	Tags     []string // pip's platform tags of the wheels
	Wheels   []Wheel  // that of the product first
	Unpacked int64    // size of all libs, bytes
}

// The libraries do not depend on the Python version, so that the wheel for pythonTag serves whatever
// python3 runs pip.
const pythonTag = "311"

// CheckLibC tells where a Linux system lacks the C library that wheels are linked with.
func CheckLibC() error {
	loader := map[string]string{"linux/amd64": "/lib64/ld-linux-x86-64.so.2", "linux/arm64": "/lib/ld-linux-aarch64.so.1"}[runtime.GOOS+"/"+runtime.GOARCH]
	if loader != "" && !exists(loader) {
		return fmt.Errorf("wheels need glibc, and this system has none (no %s)", loader)
	}
	return nil
}

// Fetch downloads the bundle with `python3 -m pip download`, checks its SHA-256 and puts the
// libraries, with a file that tells the version, into dir, if check accepts them. It tells out what it
// does, before it does it. When it fails or is interrupted, dir is not there; what a killed run left
// behind goes at the next one. A dir that is there already is only checked; fresh is false then.
func (b Bundle) Fetch(ctx context.Context, dir string, out io.Writer, check func(dir string) error) (fresh bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return false, err
	}
	unlock, err := lock(parent, out)
	if err != nil {
		return false, err
	}
	defer unlock()
	if exists(dir) {
		if err := check(dir); err != nil {
			return false, fmt.Errorf("%w; remove %s and run it again", err, dir)
		}
		return false, nil
	}
	// A new name each time: the pip of a killed run may go on writing into the old one for a while.
	partial := dir + ".partial-*"
	left, err := filepath.Glob(partial)
	if err != nil {
		return false, err
	}
	for _, old := range left {
		if err := os.RemoveAll(old); err != nil {
			return false, err
		}
	}
	if err := b.announce(dir, out); err != nil {
		return false, err
	}
	work, err := os.MkdirTemp(parent, filepath.Base(partial))
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(work)

	wheels := filepath.Join(work, "wheels")
	if err := b.download(ctx, work, wheels, out); err != nil {
		return false, err
	}
	libs := filepath.Join(work, "libs")
	if err := os.Mkdir(libs, 0o777); err != nil {
		return false, err
	}
	for _, w := range b.Wheels {
		if err := w.unpack(ctx, wheels, libs); err != nil {
			return false, err
		}
	}
	if err := writeSynced(filepath.Join(libs, "version"), strings.NewReader(b.Wheels[0].Version+"\n")); err != nil {
		return false, err
	}
	if err := check(libs); err != nil {
		return false, err
	}
	return true, os.Rename(libs, dir)
}

// announce says what will be fetched, and refuses where the disk is too full for it.
func (b Bundle) announce(dir string, out io.Writer) error {
	var download int64
	for _, w := range b.Wheels {
		download += w.Size
	}
	need := max(2*download, download+b.Unpacked) // pip holds its download twice for a moment
	fmt.Fprintf(out, "Fetching %s %s, once:\n", b.Title, b.Wheels[0].Version)
	for _, w := range b.Wheels {
		fmt.Fprintf(out, "  %-20s %-8s %6.1f MB\n", w.Name, w.Version, megabytes(w.Size))
	}
	fmt.Fprintf(out, "%.0f MB to download with pip; %.0f MB stay in %s; %.0f MB of disk meanwhile.\n",
		megabytes(download), megabytes(b.Unpacked), dir, megabytes(need))
	fmt.Fprintf(out, "Nothing else on this machine is changed. Where %s is already installed, set %s to its folder instead.\n", b.Product, b.Variable)

	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(dir), &disk); err != nil {
		return nil // no figure is no reason to refuse
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < need {
		return fmt.Errorf("%.0f MB of disk are free at %s, %.0f MB are needed: free some, or set %s to a %s elsewhere",
			megabytes(free), filepath.Dir(dir), megabytes(need), b.Variable, b.Product)
	}
	return nil
}

// download has pip put the wheels into the folder to. It keeps its own temporary files in work,
// and no cache: that would hold the wheel in memory and on disk once more.
func (b Bundle) download(ctx context.Context, work, to string, out io.Writer) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("no python3 on PATH: install Python 3 with pip (Debian, Ubuntu: `sudo apt-get install python3-pip`)")
	}
	if err := exec.CommandContext(ctx, python, "-m", "pip", "--version").Run(); err != nil {
		return fmt.Errorf("%s has no pip: `%s -m ensurepip --user` mends it (Debian, Ubuntu: `sudo apt-get install python3-pip`)", python, python)
	}
	args := []string{"-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check",
		"--python-version", pythonTag, "--implementation", "cp", "--abi", "cp" + pythonTag, "--dest", to}
	for _, tag := range b.Tags {
		args = append(args, "--platform", tag)
	}
	for _, w := range b.Wheels {
		args = append(args, w.Name+"=="+w.Version)
	}
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+work)
	cmd.Stdout, cmd.Stderr = out, out
	// Let pip end its own temporary files; kill it only if it does not.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10e9
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted; nothing is left behind, run it again")
		}
		return fmt.Errorf("`%s -m pip download` failed (%w), see above: check the network (pip's PIP_PROXY, PIP_INDEX_URL and PIP_FIND_LINKS are respected) and run it again, "+
			"or set %s to the folder of a %s that is already here", python, err, b.Variable, b.Product)
	}
	return nil
}

// unpack checks the wheel, which lies in the folder from, and puts its libraries into the folder to.
func (w Wheel) unpack(ctx context.Context, from, to string) error {
	found, err := filepath.Glob(filepath.Join(from, strings.ReplaceAll(w.Name, "-", "_")+"-"+w.Version+"-*.whl"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("pip left %d wheels of %s %s, want 1", len(found), w.Name, w.Version)
	}
	f, err := os.Open(found[0])
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != w.SHA256 {
		return fmt.Errorf("%s is not the pinned file: its sha256 is %s, want %s; it was thrown away, run it again, and if that persists the index that pip uses serves another file",
			filepath.Base(found[0]), sum, w.SHA256)
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", found[0], err)
	}
	for _, name := range w.Libs {
		if err := ctx.Err(); err != nil {
			return err
		}
		lib, err := archive.Open(name)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(found[0]), err)
		}
		if err := writeSynced(filepath.Join(to, path.Base(name)), lib); err != nil {
			return err
		}
	}
	return nil
}

// writeSynced writes a file that survives a power cut once its folder has been renamed.
func writeSynced(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

// lock keeps two fetches from working in one folder. The kernel drops it when the process ends.
func lock(dir string, out io.Writer) (unlock func(), err error) {
	l := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	if held, err := l.TryLock(); err != nil || !held {
		fmt.Fprintln(out, "Another fetch into this folder is under way; waiting for it.")
		if err := l.Lock(); err != nil {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
	}
	return func() { l.Unlock() }, nil
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
