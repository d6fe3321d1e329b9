package libtorch

import (
	"debug/elf"
	"debug/macho"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
)

// neighbours lists the folders where the wheels put the libraries that libtorch needs: its own,
// those of the nvidia packages beside the torch package, and auditwheel's.
func neighbours(libs string) []string {
	site := filepath.Join(libs, "..", "..")
	nvidia, _ := filepath.Glob(filepath.Join(site, "nvidia", "*", "lib"))
	return slices.Concat([]string{libs}, nvidia, []string{filepath.Join(site, "torch.libs")})
}

// needs lists the libraries that the one at path needs, directly or not, and that lie in a folder
// of dirs; each comes after those it needs. What is in have is left out.
func needs(path string, dirs, have []string) ([]string, error) {
	var order []string
	seen := map[string]bool{path: true}
	for _, p := range have {
		seen[p] = true
	}
	var visit func(path string) error
	visit = func(path string) error {
		names, err := imports(path)
		if err != nil {
			return err
		}
		for _, name := range names {
			for _, dir := range dirs {
				lib := filepath.Join(dir, filepath.Base(name))
				if !exists(lib) {
					continue
				}
				if !seen[lib] {
					seen[lib] = true
					if err := visit(lib); err != nil {
						return err
					}
					order = append(order, lib)
				}
				break
			}
		}
		return nil
	}
	return order, visit(path)
}

// imports lists the names of the libraries that the one at path was linked with. A file that is cut
// short or was made for another kind of machine is an error.
func imports(path string) ([]string, error) {
	if runtime.GOOS == "darwin" {
		f, err := macho.Open(path)
		if err != nil {
			return nil, unreadable(path, err)
		}
		defer f.Close()
		if want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[runtime.GOARCH]; f.Cpu != want {
			return nil, fmt.Errorf("%s is made for %v, this program for %v", path, f.Cpu, want)
		}
		return f.ImportedLibraries()
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]; f.Machine != want {
		return nil, fmt.Errorf("%s is made for %v, this program for %v", path, f.Machine, want)
	}
	return f.ImportedLibraries()
}

func unreadable(path string, err error) error {
	return fmt.Errorf("%s is no shared library or is cut short (%w): remove its folder and install it again", path, err)
}
