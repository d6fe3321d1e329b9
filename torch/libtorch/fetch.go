package libtorch

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
)

// A wheel is one pinned Python package and the libraries taken out of it.
type wheel struct {
	name, version string
	sha256        string
	size          int64    // of the wheel, bytes
	libs          []string // paths inside the wheel
}

// A bundle is what makes up a libtorch on one platform.
type bundle struct {
	tags     []string // pip's platform tags of the wheels
	wheels   []wheel  // torch first
	unpacked int64    // size of all libs, bytes
}

// bundles holds the CPU parts of one PyTorch release by GOOS/GOARCH. The libraries do not depend on
// the Python version, so that the wheel for pythonTag serves whatever python3 runs pip. On Linux
// libtorch_cpu is linked with CUDA's runtime and its profiler even where no GPU is used.
var bundles = map[string]bundle{
	"linux/amd64": {
		tags: []string{"manylinux_2_28_x86_64", "manylinux_2_25_x86_64", "manylinux2014_x86_64"},
		wheels: []wheel{
			{"torch", "2.15.0", "48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e", 539136850,
				[]string{"torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1"}},
			{"nvidia-cuda-runtime", "13.2.86", "3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0", 2323576,
				[]string{"nvidia/cu13/lib/libcudart.so.13"}},
			{"nvidia-cuda-cupti", "13.2.86", "8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586", 11988600,
				[]string{"nvidia/cu13/lib/libcupti.so.13"}},
		},
		unpacked: 458846715,
	},
	"linux/arm64": {
		tags: []string{"manylinux_2_28_aarch64", "manylinux_2_25_aarch64", "manylinux2014_aarch64"},
		wheels: []wheel{
			{"torch", "2.15.0", "58ce2ebfb3430941353109a85be63ee8e941da22f13daa2c43344eeb51c81e06", 483605887,
				[]string{"torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1",
					"torch/lib/libarm_compute.so", "torch/lib/libarm_compute_graph.so",
					"torch/lib/libnvpl_blas_core.so.0", "torch/lib/libnvpl_blas_lp64_gomp.so.0",
					"torch/lib/libnvpl_lapack_core.so.0", "torch/lib/libnvpl_lapack_lp64_gomp.so.0"}},
			{"nvidia-cuda-runtime", "13.2.86", "37844957894bfdecf90243568d21a2cb251b66106915b71459a23c8e6ef2da69", 2341433,
				[]string{"nvidia/cu13/lib/libcudart.so.13"}},
			{"nvidia-cuda-cupti", "13.2.86", "d9a5c133f73fcb9013f3ada0da6fb54d4117618d81f3f5a0419417ea6ee829d4", 11760263,
				[]string{"nvidia/cu13/lib/libcupti.so.13"}},
		},
		unpacked: 375326817,
	},
	"darwin/arm64": {
		tags: []string{"macosx_14_0_arm64"},
		wheels: []wheel{
			{"torch", "2.15.0", "e808b63d616a43b326e1a5677d45a2e5babe7a8ce27edb03ddb48e7dd9b6d663", 138527954,
				[]string{"torch/lib/libtorch_cpu.dylib", "torch/lib/libc10.dylib", "torch/lib/libomp.dylib"}},
		},
		unpacked: 423819504,
	},
}

const pythonTag = "311"

// Fetch downloads the CPU part of a pinned PyTorch release with `python3 -m pip download`, checks
// its SHA-256 and puts the libraries into dir. It tells out what it does, before it does it. When
// it fails or is interrupted, dir is not there; what a killed run left behind goes at the next one.
// A dir that is there already is only described.
func Fetch(ctx context.Context, dir string, out io.Writer) (Library, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	b, ok := bundles[platform]
	if !ok {
		return Library{}, fmt.Errorf("fetch libtorch: PyTorch publishes no wheel for %s; build or find a libtorch and set LIBTORCH to its folder", platform)
	}
	if loaders := map[string]string{"linux/amd64": "/lib64/ld-linux-x86-64.so.2", "linux/arm64": "/lib/ld-linux-aarch64.so.1"}; loaders[platform] != "" && !exists(loaders[platform]) {
		return Library{}, fmt.Errorf("fetch libtorch: PyTorch's wheels need glibc, and this system has none (no %s)", loaders[platform])
	}
	lib, err := b.fetch(ctx, dir, out)
	if err != nil {
		return Library{}, fmt.Errorf("fetch libtorch: %w", err)
	}
	return lib, nil
}

func (b bundle) fetch(ctx context.Context, dir string, out io.Writer) (Library, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Library{}, err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return Library{}, err
	}
	unlock, err := lock(parent, out)
	if err != nil {
		return Library{}, err
	}
	defer unlock()
	if exists(dir) {
		lib, err := open(dir, "fetched before")
		if err != nil {
			err = fmt.Errorf("%w; remove %s and run it again", err, dir)
		}
		return lib, err
	}
	// A new name each time: the pip of a killed run may go on writing into the old one for a while.
	partial := dir + ".partial-*"
	left, err := filepath.Glob(partial)
	if err != nil {
		return Library{}, err
	}
	for _, old := range left {
		if err := os.RemoveAll(old); err != nil {
			return Library{}, err
		}
	}
	if err := b.announce(dir, out); err != nil {
		return Library{}, err
	}
	work, err := os.MkdirTemp(parent, filepath.Base(partial))
	if err != nil {
		return Library{}, err
	}
	defer os.RemoveAll(work)

	wheels := filepath.Join(work, "wheels")
	if err := b.download(ctx, work, wheels, out); err != nil {
		return Library{}, err
	}
	libs := filepath.Join(work, "libs")
	if err := os.Mkdir(libs, 0o777); err != nil {
		return Library{}, err
	}
	for _, w := range b.wheels {
		if err := w.unpack(ctx, wheels, libs); err != nil {
			return Library{}, err
		}
	}
	if err := writeSynced(filepath.Join(libs, "version"), strings.NewReader(b.wheels[0].version+"\n")); err != nil {
		return Library{}, err
	}
	if _, err := open(libs, ""); err != nil {
		return Library{}, err
	}
	if err := os.Rename(libs, dir); err != nil {
		return Library{}, err
	}
	return open(dir, "fetched just now")
}

// announce says what will be fetched, and refuses where the disk is too full for it.
func (b bundle) announce(dir string, out io.Writer) error {
	var download int64
	for _, w := range b.wheels {
		download += w.size
	}
	need := max(2*download, download+b.unpacked) // pip holds its download twice for a moment
	fmt.Fprintf(out, "Fetching the CPU part of PyTorch %s, once:\n", b.wheels[0].version)
	for _, w := range b.wheels {
		fmt.Fprintf(out, "  %-20s %-8s %6.1f MB\n", w.name, w.version, megabytes(w.size))
	}
	fmt.Fprintf(out, "%.0f MB to download with pip; %.0f MB stay in %s; %.0f MB of disk meanwhile.\n",
		megabytes(download), megabytes(b.unpacked), dir, megabytes(need))
	fmt.Fprintln(out, "Nothing else on this machine is changed. Where PyTorch is already installed, set LIBTORCH to its folder instead.")

	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(dir), &disk); err != nil {
		return nil // no figure is no reason to refuse
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < need {
		return fmt.Errorf("%.0f MB of disk are free at %s, %.0f MB are needed: free some, or set LIBTORCH to a PyTorch elsewhere",
			megabytes(free), filepath.Dir(dir), megabytes(need))
	}
	return nil
}

// download has pip put the wheels into the folder to. It keeps its own temporary files in work,
// and no cache: that would hold the wheel in memory and on disk once more.
func (b bundle) download(ctx context.Context, work, to string, out io.Writer) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("no python3 on PATH: install Python 3 with pip (Debian, Ubuntu: `sudo apt-get install python3-pip`)")
	}
	if err := exec.CommandContext(ctx, python, "-m", "pip", "--version").Run(); err != nil {
		return fmt.Errorf("%s has no pip: `%s -m ensurepip --user` mends it (Debian, Ubuntu: `sudo apt-get install python3-pip`)", python, python)
	}
	args := []string{"-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check",
		"--python-version", pythonTag, "--implementation", "cp", "--abi", "cp" + pythonTag, "--dest", to}
	for _, tag := range b.tags {
		args = append(args, "--platform", tag)
	}
	for _, w := range b.wheels {
		args = append(args, w.name+"=="+w.version)
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
			"or set LIBTORCH to the folder of a PyTorch that is already here", python, err)
	}
	return nil
}

// unpack checks the wheel, which lies in the folder from, and puts its libraries into the folder to.
func (w wheel) unpack(ctx context.Context, from, to string) error {
	found, err := filepath.Glob(filepath.Join(from, strings.ReplaceAll(w.name, "-", "_")+"-"+w.version+"-*.whl"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("pip left %d wheels of %s %s, want 1", len(found), w.name, w.version)
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
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != w.sha256 {
		return fmt.Errorf("%s is not the pinned file: its sha256 is %s, want %s; it was thrown away, run it again, and if that persists the index that pip uses serves another file",
			filepath.Base(found[0]), sum, w.sha256)
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", found[0], err)
	}
	for _, name := range w.libs {
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
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		fmt.Fprintln(out, "Another libtorch is being fetched; waiting for it.")
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
	}
	return func() { f.Close() }, nil
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
