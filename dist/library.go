package dist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"must/native"
)

// An MPILibrary is one MPI on this machine.
type MPILibrary struct {
	Path    string // of the shared library, or its name where the system's loader knows it
	MPIExec string // its launcher; "" where there is none beside it
	Reason  string // why this one
}

// NoMPIError says that no MPI that fits the launcher is on this machine.
type NoMPIError struct {
	OpenMPI bool // one of Open MPI was needed
	Looked  []native.Place
}

func (e *NoMPIError) Error() string {
	var b strings.Builder
	b.WriteString("no MPI library found; looked at:\n")
	if e.OpenMPI {
		b.Reset()
		b.WriteString("the launcher is Open MPI's, but no libmpi.so.40 was found; looked at:\n")
	}
	for _, p := range e.Looked {
		fmt.Fprintf(&b, "  %s: %s\n", p.Where, p.Why)
	}
	if e.OpenMPI {
		b.WriteString("set MPI to the folder of the Open MPI that the launcher belongs to.")
	} else {
		b.WriteString("`make mpi` in the project's folder mends it, or set MPI to the folder of an MPICH, an Intel MPI or an MPI 5 library.")
	}
	return b.String()
}

// FindMPI returns the first MPI library of, in this order: the folder $MPI; .mpi beside the project or
// the binary; must/mpi in the user's cache; the libraries beside the mpiexec on PATH. Open MPI's are
// asked for by openMPI, and are left out without it. Where MPI is set, nothing else is looked at.
func FindMPI(openMPI bool) (MPILibrary, error) {
	if dir := os.Getenv("MPI"); dir != "" {
		l, err := describeMPI(dir, "$MPI", openMPI)
		if err != nil {
			return MPILibrary{}, fmt.Errorf("MPI=%s: %w; set it to the folder that holds libmpi, or unset it", dir, err)
		}
		return l, nil
	}
	l, looked, ok := native.Search("mpi", "mpich", func(dir, reason string) (MPILibrary, error) { return describeMPI(dir, reason, openMPI) })
	if ok {
		return l, nil
	}
	for _, name := range []string{"mpiexec", "mpiexec.mpich", "mpiexec.openmpi"} {
		path, err := exec.LookPath(name)
		if err != nil {
			looked = append(looked, native.Place{Where: name + " on PATH", Why: "not there"})
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		dir := filepath.Dir(filepath.Dir(path))
		l, err := describeMPI(dir, "beside "+path, openMPI)
		if err == nil {
			return l, nil
		}
		looked = append(looked, native.Place{Where: dir + " (beside " + path + ")", Why: err.Error()})
	}
	return MPILibrary{}, &NoMPIError{openMPI, append([]native.Place{{Where: "$MPI", Why: "not set"}}, looked...)}
}

// describeMPI looks for a library in dir and in the folders below it that installations use.
func describeMPI(dir, reason string, openMPI bool) (MPILibrary, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return MPILibrary{}, err
	}
	if _, err := os.Stat(dir); err != nil {
		return MPILibrary{}, errors.New("no such folder")
	}
	names := []string{"libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so.12", "libmpich.so.12"}
	if openMPI {
		names = []string{"libmpi.so.40"}
	}
	for _, sub := range []string{"", "lib", "lib64", "lib/release", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"} {
		for _, name := range names {
			path := filepath.Join(dir, sub, name)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			l := MPILibrary{Path: path, Reason: reason}
			for _, exe := range []string{"mpiexec.hydra", "bin/mpiexec.hydra", "bin/mpiexec", "../bin/mpiexec"} {
				if info, err := os.Stat(filepath.Join(dir, exe)); err == nil && info.Mode()&0o111 != 0 {
					l.MPIExec = filepath.Join(dir, exe)
					break
				}
			}
			return l, nil
		}
	}
	return MPILibrary{}, fmt.Errorf("none of %s in it", strings.Join(names, ", "))
}

// bundles holds one release of MPICH by GOOS/GOARCH.
var bundles = map[string]native.Bundle{
	"linux/amd64": {
		Tags: []string{"manylinux_2_28_x86_64"},
		Wheels: []native.Wheel{{Name: "mpich", Version: "5.0.2", SHA256: "8fed465ebff269ea2ebac179a25de02671ddf8df476e0f115be089015015cfd4", Size: 13282595,
			Libs: wheelFiles("lib/libmpi_abi.so.1", "lib/libmpi.so.12", "lib/mpich/libfabric.so.1", "lib/mpich/libucm.so.0", "lib/mpich/libucp.so.0",
				"lib/mpich/libucs.so.0", "lib/mpich/libucs_signal.so.0", "lib/mpich/libuct.so.0", "bin/mpiexec.hydra", "bin/hydra_pmi_proxy")}},
		Unpacked: 30741287,
	},
}

func wheelFiles(names ...string) []string {
	for i, n := range names {
		names[i] = "mpich-5.0.2.data/data/" + n
	}
	return names
}

// FetchMPI downloads a pinned MPICH with pip, checks its SHA-256 and puts the libraries and mpiexec.hydra
// into dir, see [native.Bundle.Fetch]. A dir that is there already is only described.
func FetchMPI(ctx context.Context, dir string, out io.Writer) (MPILibrary, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	b, ok := bundles[platform]
	if !ok {
		return MPILibrary{}, fmt.Errorf("fetch MPI: no wheel for %s is known here; install MPICH and set MPI to its folder", platform)
	}
	b.Title, b.Product, b.Variable = "MPICH", "MPI", "MPI"
	err := native.CheckLibC()
	reason := "fetched before"
	if err == nil {
		var fresh bool
		fresh, err = b.Fetch(ctx, dir, out, func(dir string) error {
			for _, exe := range []string{"mpiexec.hydra", "hydra_pmi_proxy"} { // pip makes them executable, we unpack by ourselves
				if err := os.Chmod(filepath.Join(dir, exe), 0o755); err != nil {
					return err
				}
			}
			_, err := describeMPI(dir, "", false)
			return err
		})
		if fresh {
			reason = "fetched just now"
		}
	}
	if err != nil {
		return MPILibrary{}, fmt.Errorf("fetch MPI: %w", err)
	}
	return describeMPI(dir, reason, false)
}

// FindNCCL returns the path of NCCL's library: in the folder $NCCL; in the nvidia package of the python3 on
// PATH, where pip puts it beside PyTorch; or where systems keep their libraries. The path is empty where
// there is none.
func FindNCCL() (path, reason string) {
	type place struct{ dir, reason string }
	places := []place{{os.Getenv("NCCL"), "$NCCL"}, {filepath.Join(os.Getenv("NCCL"), "lib"), "$NCCL"}}
	if os.Getenv("NCCL") == "" {
		places = nil
		if dir, python, err := native.PythonPackage("nvidia"); err == nil {
			places = append(places, place{filepath.Join(dir, "nccl", "lib"), "nvidia-nccl of " + python})
		}
		for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda/lib64"} {
			places = append(places, place{dir, "the system's"})
		}
	}
	for _, p := range places {
		if _, err := os.Stat(filepath.Join(p.dir, "libnccl.so.2")); err == nil {
			return filepath.Join(p.dir, "libnccl.so.2"), p.reason
		}
	}
	return "", ""
}
