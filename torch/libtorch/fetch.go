package libtorch

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"

	"must/native"
)

// bundles holds the CPU parts of one PyTorch release by GOOS/GOARCH. On Linux libtorch_cpu is linked
// with CUDA's runtime and its profiler even where no GPU is used.
var bundles = map[string]native.Bundle{
	"linux/amd64": {
		Tags: []string{"manylinux_2_28_x86_64", "manylinux_2_25_x86_64", "manylinux2014_x86_64"},
		Wheels: []native.Wheel{
			{Name: "torch", Version: "2.15.0", SHA256: "48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e", Size: 539136850,
				Libs: []string{"torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1"}},
			{Name: "nvidia-cuda-runtime", Version: "13.2.86", SHA256: "3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0", Size: 2323576,
				Libs: []string{"nvidia/cu13/lib/libcudart.so.13"}},
			{Name: "nvidia-cuda-cupti", Version: "13.2.86", SHA256: "8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586", Size: 11988600,
				Libs: []string{"nvidia/cu13/lib/libcupti.so.13"}},
		},
		Unpacked: 458846715,
	},
	"linux/arm64": {
		Tags: []string{"manylinux_2_28_aarch64", "manylinux_2_25_aarch64", "manylinux2014_aarch64"},
		Wheels: []native.Wheel{
			{Name: "torch", Version: "2.15.0", SHA256: "58ce2ebfb3430941353109a85be63ee8e941da22f13daa2c43344eeb51c81e06", Size: 483605887,
				Libs: []string{"torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1",
					"torch/lib/libarm_compute.so", "torch/lib/libarm_compute_graph.so",
					"torch/lib/libnvpl_blas_core.so.0", "torch/lib/libnvpl_blas_lp64_gomp.so.0",
					"torch/lib/libnvpl_lapack_core.so.0", "torch/lib/libnvpl_lapack_lp64_gomp.so.0"}},
			{Name: "nvidia-cuda-runtime", Version: "13.2.86", SHA256: "37844957894bfdecf90243568d21a2cb251b66106915b71459a23c8e6ef2da69", Size: 2341433,
				Libs: []string{"nvidia/cu13/lib/libcudart.so.13"}},
			{Name: "nvidia-cuda-cupti", Version: "13.2.86", SHA256: "d9a5c133f73fcb9013f3ada0da6fb54d4117618d81f3f5a0419417ea6ee829d4", Size: 11760263,
				Libs: []string{"nvidia/cu13/lib/libcupti.so.13"}},
		},
		Unpacked: 375326817,
	},
	"darwin/arm64": {
		Tags: []string{"macosx_14_0_arm64"},
		Wheels: []native.Wheel{
			{Name: "torch", Version: "2.15.0", SHA256: "e808b63d616a43b326e1a5677d45a2e5babe7a8ce27edb03ddb48e7dd9b6d663", Size: 138527954,
				Libs: []string{"torch/lib/libtorch_cpu.dylib", "torch/lib/libc10.dylib", "torch/lib/libomp.dylib"}},
		},
		Unpacked: 423819504,
	},
}

// earlier holds the PyTorch releases before the pinned one that are still offered and supported, for
// linux/amd64: the tests run with them too. What else their libraries need is as in the pinned one.
var earlier = map[string]struct {
	wheel    native.Wheel
	unpacked int64
}{
	"2.14.1": {native.Wheel{SHA256: "305a61f61f35f128579f299c5bd33d475f6a01c6307336139632e30856c4854d", Size: 554581699}, 456766491},
	"2.13.0": {native.Wheel{SHA256: "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7", Size: 526574961}, 446981979},
	"2.12.1": {native.Wheel{SHA256: "6e29e7e74d05bda7d955c75e99459f878ebd970ef851b4057edbd3b34a5eb4a3", Size: 532169264}, 455275683},
	"2.11.0": {native.Wheel{SHA256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a", Size: 530604548}, 459648475},
}

// Earlier lists the releases that FetchEarlier fetches.
func Earlier() []string { return slices.Sorted(maps.Keys(earlier)) }

// FetchEarlier is Fetch for a release before the pinned one, such as 2.11.0.
func FetchEarlier(ctx context.Context, release, dir string, out io.Writer) (Library, error) {
	e, ok := earlier[release]
	if platform := runtime.GOOS + "/" + runtime.GOARCH; !ok || platform != "linux/amd64" {
		return Library{}, fmt.Errorf("fetch libtorch %s: there are %s, for linux/amd64", release, strings.Join(Earlier(), ", "))
	}
	b := bundles["linux/amd64"]
	pinned := b.Wheels[0]
	e.wheel.Name, e.wheel.Version, e.wheel.Libs = pinned.Name, release, pinned.Libs
	b.Wheels, b.Unpacked = append([]native.Wheel{e.wheel}, b.Wheels[1:]...), e.unpacked
	lib, err := fetch(ctx, b, dir, out)
	if err != nil {
		return Library{}, fmt.Errorf("fetch libtorch %s: %w", release, err)
	}
	return lib, nil
}

// Fetch downloads the CPU part of a pinned PyTorch release with `python3 -m pip download`, checks
// its SHA-256 and puts the libraries into dir, see [native.Bundle.Fetch]. A dir that is there already
// is only described.
func Fetch(ctx context.Context, dir string, out io.Writer) (Library, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	b, ok := bundles[platform]
	if !ok {
		return Library{}, fmt.Errorf("fetch libtorch: PyTorch publishes no wheel for %s; build or find a libtorch and set LIBTORCH to its folder", platform)
	}
	err := native.CheckLibC()
	var lib Library
	if err == nil {
		lib, err = fetch(ctx, b, dir, out)
	}
	if err != nil {
		return Library{}, fmt.Errorf("fetch libtorch: %w", err)
	}
	return lib, nil
}

func fetch(ctx context.Context, b native.Bundle, dir string, out io.Writer) (Library, error) {
	b.Title, b.Product, b.Variable = "the CPU part of PyTorch", "PyTorch", "LIBTORCH"
	fresh, err := b.Fetch(ctx, dir, out, func(dir string) error {
		_, err := open(dir, "")
		return err
	})
	if err != nil {
		return Library{}, err
	}
	if fresh {
		return open(dir, "fetched just now")
	}
	return open(dir, "fetched before")
}
