package libtorch

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"must/native"
)

// sharedObject is the smallest ELF file that names the libraries it needs.
func sharedObject(machine elf.Machine, needed ...string) []byte {
	strtab := []byte{0}
	var dynamic bytes.Buffer
	for _, name := range needed {
		binary.Write(&dynamic, binary.LittleEndian, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: uint64(len(strtab))})
		strtab = append(append(strtab, name...), 0)
	}
	binary.Write(&dynamic, binary.LittleEndian, elf.Dyn64{})
	names := []byte("\x00.dynstr\x00.dynamic\x00")

	const header, section = 64, 64
	at := uint64(header)
	part := func(name uint32, typ elf.SectionType, link uint32, size int) elf.Section64 {
		s := elf.Section64{Name: name, Type: uint32(typ), Off: at, Size: uint64(size), Link: link}
		at += uint64(size)
		return s
	}
	sections := []elf.Section64{
		{},
		part(1, elf.SHT_STRTAB, 0, len(strtab)),
		part(9, elf.SHT_DYNAMIC, 1, dynamic.Len()),
		part(0, elf.SHT_STRTAB, 0, len(names)),
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1},
		Type:    uint16(elf.ET_DYN),
		Machine: uint16(machine),
		Version: 1,
		Shoff:   at,
		Ehsize:  header, Shentsize: section, Shnum: uint16(len(sections)), Shstrndx: 3,
	})
	b.Write(strtab)
	b.Write(dynamic.Bytes())
	b.Write(names)
	binary.Write(&b, binary.LittleEndian, sections)
	return b.Bytes()
}

func machine() elf.Machine {
	if runtime.GOARCH == "arm64" {
		return elf.EM_AARCH64
	}
	return elf.EM_X86_64
}

// files writes a tree of files; a value that is a []string is a library that needs those.
func files(t *testing.T, dir string, content map[string]any) {
	t.Helper()
	for name, c := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		var b []byte
		switch c := c.(type) {
		case string:
			b = []byte(c)
		case []string:
			b = sharedObject(machine(), c...)
		case []byte:
			b = c
		}
		if err := os.WriteFile(path, b, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

var cpuOnly = map[string]any{
	"libtorch_cpu.so": []string{"libc10.so", "libc.so.6"},
	"libc10.so":       []string{"libstdc++.so.6"},
	"version":         "2.15.0\n",
}

func under(dir string, content map[string]any) map[string]any {
	moved := map[string]any{}
	for name, c := range content {
		moved[dir+"/"+name] = c
	}
	return moved
}

// bare is a machine without libtorch: an empty working folder, cache and PATH.
func bare(t *testing.T) (cwd string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the libraries made up here are ELF files")
	}
	home := t.TempDir()
	t.Setenv("LIBTORCH", "")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("PATH", filepath.Join(home, "bin"))
	cwd = filepath.Join(home, "project", "deep", "down")
	if err := os.MkdirAll(cwd, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(cwd)
	return cwd
}

// python puts a python3 on PATH that answers every question with a line.
func python(t *testing.T, script string) {
	files(t, os.Getenv("PATH"), map[string]any{"python3": "#!/bin/sh\n" + script + "\n"})
}

func TestSearchOrder(t *testing.T) {
	cwd := bare(t)
	home := os.Getenv("HOME")
	found := func(reason, dir string) {
		t.Helper()
		lib, err := Find()
		if err != nil {
			t.Fatal(err)
		}
		if lib.Reason != reason || lib.Dir != dir || lib.Version != "2.15.0" {
			t.Errorf("found %s %s because %q, want 2.15.0 in %s because %q", lib.Version, lib.Dir, lib.Reason, dir, reason)
		}
	}

	_, err := Find()
	var missing *NotFoundError
	if !errors.As(err, &missing) {
		t.Fatalf("error %v is no NotFoundError", err)
	}
	for _, want := range []string{"$LIBTORCH: not set", filepath.Join(cwd, ".libtorch"), filepath.Join(home, "cache/must/libtorch"), "no python3", "make libtorch"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}

	// From the last place to the first: each goes before those set up already.
	files(t, home, under("site/torch/lib", cpuOnly))
	python(t, "echo "+home+"/site/torch")
	found("torch of "+home+"/bin/python3", home+"/site/torch/lib")

	files(t, home, under("cache/must/libtorch", cpuOnly))
	found("the user's cache", home+"/cache/must/libtorch")

	files(t, home, under("project/.libtorch", cpuOnly))
	found("the user's cache", home+"/cache/must/libtorch") // nothing says that project/ is a project
	files(t, home, map[string]any{"project/go.mod": ""})
	found("beside the project", home+"/project/.libtorch")

	files(t, home, under("elsewhere/lib", cpuOnly))
	for _, dir := range []string{"elsewhere", "elsewhere/lib"} {
		t.Setenv("LIBTORCH", filepath.Join(home, dir))
		found("$LIBTORCH", home+"/elsewhere/lib")
	}
}

func TestWrongLIBTORCHIsNoFallback(t *testing.T) {
	cwd := bare(t)
	files(t, cwd, under(".libtorch", cpuOnly))
	whole := sharedObject(machine(), "libc10.so")
	for name, c := range map[string]struct {
		content map[string]any
		want    string
	}{
		"no folder":     {nil, "no such folder"},
		"empty":         {map[string]any{"readme": ""}, "no libtorch_cpu.so"},
		"no c10":        {map[string]any{"libtorch_cpu.so": []string{}}, "no libc10.so"},
		"cut short":     {map[string]any{"libtorch_cpu.so": whole[:len(whole)-70], "libc10.so": []string{}}, "cut short"},
		"not a library": {map[string]any{"libtorch_cpu.so": "<html>", "libc10.so": []string{}}, "no shared library"},
		"other machine": {map[string]any{"libtorch_cpu.so": sharedObject(elf.EM_RISCV), "libc10.so": []string{}}, "EM_RISCV"},
		"too old":       {map[string]any{"lib/libtorch_cpu.so": []string{}, "lib/libc10.so": []string{}, "version.py": "__version__ = '2.10.1+cpu'\n"}, "2.10.1+cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "lt")
			files(t, dir, c.content)
			t.Setenv("LIBTORCH", dir)
			_, err := Find()
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "LIBTORCH="+dir) {
				t.Errorf("error %v does not name LIBTORCH=%s and %q", err, dir, c.want)
			}
			if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
				t.Error("a wrong LIBTORCH counts as a missing one")
			}
		})
	}
}

// TestPreload has the layout of a full installation with its NVIDIA packages.
func TestPreload(t *testing.T) {
	bare(t)
	site := filepath.Join(t.TempDir(), "site-packages")
	files(t, site, map[string]any{
		"torch/version.py":                     "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.13.0+cu130'\ndebug = False\ncuda: Optional[str] = '13.0'\n",
		"torch/lib/libtorch_cpu.so":            []string{"libc10.so", "libgomp.so.1", "libcupti.so.13", "libcudart.so.13", "libc.so.6"},
		"torch/lib/libc10.so":                  []string{"libc.so.6"},
		"torch/lib/libgomp.so.1":               []string{},
		"torch/lib/libc10_cuda.so":             []string{"libc10.so", "libcudart.so.13"},
		"torch/lib/libtorch_cuda.so":           []string{"libc10_cuda.so", "libtorch_cpu.so", "libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13"},
		"nvidia/cu13/lib/libcudart.so.13":      []string{},
		"nvidia/cu13/lib/libcupti.so.13":       []string{},
		"nvidia/cu13/lib/libcublas.so.13":      []string{"libcublasLt.so.13"},
		"nvidia/cu13/lib/libcublasLt.so.13":    []string{},
		"nvidia/cu13/lib/libnvperf_host.so.13": []string{},
	})
	t.Setenv("LIBTORCH", filepath.Join(site, "torch"))
	lib, err := FindCUDA()
	if err != nil {
		t.Fatal(err)
	}
	if lib.Version != "2.13.0+cu130" || !lib.CUDA() {
		t.Errorf("version %s, CUDA %v", lib.Version, lib.CUDA())
	}
	base := func(paths []string) (names []string) {
		for _, p := range paths {
			names = append(names, filepath.Base(p))
		}
		return names
	}
	if got, want := base(lib.Preload), []string{"libc10.so", "libgomp.so.1", "libcupti.so.13", "libcudart.so.13"}; !reflect.DeepEqual(got, want) {
		t.Errorf("for libtorch_cpu: %v, want %v", got, want)
	}
	if got, want := base(lib.PreloadCUDA), []string{"libcublasLt.so.13", "libcublas.so.13"}; !reflect.DeepEqual(got, want) {
		t.Errorf("for libtorch_cuda: %v, want %v", got, want)
	}
}

func TestFindCUDA(t *testing.T) {
	cwd := bare(t)
	files(t, cwd, under(".libtorch", cpuOnly))
	var missing *NotFoundError
	if _, err := FindCUDA(); !errors.As(err, &missing) || !strings.Contains(err.Error(), "CPU only") {
		t.Errorf("error %v does not say that the only libtorch is built for the CPU", err)
	}
	site := t.TempDir()
	files(t, site, under("torch/lib", cpuOnly))
	files(t, site, map[string]any{"torch/lib/libtorch_cuda.so": []string{"libtorch_cpu.so"}})
	python(t, "echo "+site+"/torch")
	lib, err := FindCUDA()
	if err != nil || lib.CUDALib != site+"/torch/lib/libtorch_cuda.so" {
		t.Errorf("found %+v, %v", lib, err)
	}
	t.Setenv("LIBTORCH", filepath.Join(cwd, ".libtorch"))
	if _, err := FindCUDA(); err == nil || errors.As(err, &missing) {
		t.Errorf("LIBTORCH without CUDA: error %v", err)
	}
}

// TestFolderCalledTorch runs in a folder that holds a torch, as this project's own does.
func TestFolderCalledTorch(t *testing.T) {
	if _, _, err := native.PythonPackage("torch"); err != nil && strings.Contains(err.Error(), "no python3") {
		t.Skip(err)
	}
	dir := t.TempDir()
	files(t, dir, map[string]any{"torch/__init__.py": "raise SystemExit('imported')"})
	t.Chdir(dir)
	if found, _, err := native.PythonPackage("torch"); err == nil && strings.HasPrefix(found, dir) {
		t.Errorf("took %s for the installed package", found)
	}
}

// pip is a stand-in for python3 -m pip that runs a line of shell for a download; $dest is its folder.
func pip(t *testing.T, download string) {
	python(t, `case "$*" in *--version*) exit 0;; esac
while [ $# -gt 0 ]; do [ "$1" = --dest ] && dest=$2; shift; done
`+download)
}

// testBundle is a made-up release and the file its wheel lies in.
func testBundle(t *testing.T) (native.Bundle, string) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, needed := range map[string][]string{"torch/lib/libtorch_cpu.so": {"libc10.so"}, "torch/lib/libc10.so": nil, "torch/lib/libtorch_python.so": nil} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(sharedObject(machine(), needed...))
	}
	z.Close()
	path := filepath.Join(t.TempDir(), "torch-9.9.0-cp311-cp311-any.whl")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return native.Bundle{Tags: []string{"any"}, Wheels: []native.Wheel{{
		Name: "torch", Version: "9.9.0", SHA256: hex.EncodeToString(sum[:]), Size: int64(b.Len()), Libs: []string{"torch/lib/libtorch_cpu.so", "torch/lib/libc10.so"},
	}}}, path
}

func TestFetch(t *testing.T) {
	cwd := bare(t)
	b, path := testBundle(t)
	dir := filepath.Join(cwd, ".libtorch")
	pip(t, "/bin/mkdir -p $dest && /bin/cp "+path+" $dest")
	files(t, cwd, map[string]any{".libtorch.partial-7/wheels/half.whl": "killed"})

	var out bytes.Buffer
	lib, err := fetch(context.Background(), b, dir, &out)
	if err != nil {
		t.Fatal(err)
	}
	if lib.Dir != dir || lib.Version != "9.9.0" {
		t.Errorf("fetched %s into %s", lib.Version, lib.Dir)
	}
	if !strings.Contains(out.String(), "9.9.0") || !strings.Contains(out.String(), "MB to download") {
		t.Errorf("announced only %q", &out)
	}
	onlyChild(t, cwd, ".libtorch")
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 {
		t.Errorf("%d files, want the two libraries and the version", len(entries))
	}

	pip(t, "exit 1")
	if _, err := fetch(context.Background(), b, dir, io.Discard); err != nil {
		t.Errorf("second run: %v", err)
	}
}

func TestFetchLeavesNothing(t *testing.T) {
	b, path := testBundle(t)
	copied := fmt.Sprintf("/bin/mkdir -p $dest && /bin/cp %s $dest", path)
	for name, c := range map[string]struct {
		pip, want string
		change    func(*native.Bundle)
	}{
		"no network":    {"echo no route >&2; exit 1", "network", nil},
		"no pip":        {"", "has no pip", nil},
		"other content": {copied + " && echo x >>$dest/torch-9.9.0-cp311-cp311-any.whl", "not the pinned file", nil},
		"no wheel":      {"exit 0", "0 wheels", nil},
		"lib missing":   {copied, "libgomp", func(b *native.Bundle) { b.Wheels[0].Libs = []string{"torch/lib/libgomp.so.1"} }},
		"broken lib":    {copied, "libtorch_cpu.so", func(b *native.Bundle) { b.Wheels[0].Libs = b.Wheels[0].Libs[1:] }},
		"disk too full": {copied, "are needed", func(b *native.Bundle) { b.Unpacked = 1 << 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			cwd := bare(t)
			if name == "no pip" {
				python(t, "exit 1")
			} else {
				pip(t, c.pip)
			}
			b := b
			b.Wheels = append([]native.Wheel(nil), b.Wheels...)
			if c.change != nil {
				c.change(&b)
			}
			_, err := fetch(context.Background(), b, filepath.Join(cwd, ".libtorch"), io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not mention %q", err, c.want)
			}
			onlyChild(t, cwd, "")
		})
	}
}

func TestFetchInterrupted(t *testing.T) {
	cwd := bare(t)
	b, _ := testBundle(t)
	started := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(started, 0o666); err != nil {
		t.Skip(err)
	}
	pip(t, "/bin/mkdir -p $dest; echo half >$dest/torch.whl; echo x >"+started+"; exec /bin/sleep 60")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		os.ReadFile(started)
		cancel()
	}()
	_, err := fetch(ctx, b, filepath.Join(cwd, ".libtorch"), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error %v", err)
	}
	onlyChild(t, cwd, "")
}

func onlyChild(t *testing.T, dir, want string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}
