// Package machine tells what the computer at hand has to train with.
package machine

import (
	"bufio"
	"context"
	"encoding/csv"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/cpu"
)

// An Info is what a computer has. What could not be found out is empty or zero.
type Info struct {
	CPU    string // the processor's name
	Cores  int    // those this process may use, a container's limit taken into account
	Vector string // the widest vector unit that libtorch makes use of: "AVX-512", "AVX2", "NEON" or "none"
	Memory int64  // bytes that this process may use, likewise
	GPUs   []GPU
}

// A GPU is one NVIDIA card.
type GPU struct {
	Name   string
	Memory int64 // bytes
	Driver string
}

// Probe looks around. A machine without NVIDIA's driver has no GPUs.
func Probe() Info {
	return Info{
		CPU:    cpuName(),
		Cores:  runtime.GOMAXPROCS(0),
		Vector: vector(),
		Memory: memory(),
		GPUs:   gpus(),
	}
}

// vector follows the choice that libtorch's kernels make (ATen's CpuCapability).
func vector() string {
	switch x := cpu.X86; {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasFMA:
		return "AVX-512"
	case x.HasAVX2 && x.HasFMA:
		return "AVX2"
	case runtime.GOARCH == "arm64":
		return "NEON"
	}
	return "none"
}

// BFloat16 tells whether the processor multiplies bfloat16 itself; where it does not, libtorch's
// bfloat16 is slower than its float32.
func BFloat16() bool { return cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 }

func cpuName() string {
	if name := procField("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	if runtime.GOOS != "darwin" {
		return ""
	}
	name, _ := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output()
	return strings.TrimSpace(string(name))
}

// memory is the least of what is built in and what the control group allows.
func memory() int64 {
	least := int64(math.MaxInt64)
	take := func(n int64, err error) {
		if err == nil && n > 0 {
			least = min(least, n)
		}
	}
	kilobytes, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
	n, err := strconv.ParseInt(kilobytes, 10, 64)
	take(n*1024, err)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(path); err == nil {
			take(strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)) // "max" is no number and no limit
		}
	}
	if runtime.GOOS == "darwin" {
		if text, err := exec.Command("sysctl", "-n", "hw.memsize").Output(); err == nil {
			take(strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64))
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// procField reads the first "key : value" line of a file under /proc.
func procField(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// gpus asks nvidia-smi, which comes with the driver.
func gpus() []GPU {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil
	}
	return parseGPUs(string(out))
}

// parseGPUs reads lines of name, MiB and driver version.
func parseGPUs(text string) []GPU {
	r := csv.NewReader(strings.NewReader(text))
	r.TrimLeadingSpace = true
	r.FieldsPerRecord = 3
	rows, err := r.ReadAll()
	if err != nil { // a message in place of the table
		return nil
	}
	var found []GPU
	for _, row := range rows {
		mib, _ := strconv.ParseInt(row[1], 10, 64) // "[N/A]" where memory is shared with the processor
		found = append(found, GPU{Name: row[0], Memory: mib << 20, Driver: row[2]})
	}
	return found
}
