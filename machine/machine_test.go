package machine

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
)

func TestProbe(t *testing.T) {
	got := Probe()
	if got.Cores < 1 || got.Vector == "" {
		t.Errorf("probed %+v", got)
	}
	if runtime.GOOS == "linux" && got.Memory < 1<<20 {
		t.Errorf("%d bytes of memory", got.Memory)
	}
}

func TestGPUs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got := gpus(); got != nil {
		t.Errorf("without nvidia-smi: %v", got)
	}
	script := "#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559, 570.86.15'\necho 'NVIDIA GB10, [N/A], 580.95.05'\n"
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	want := []GPU{{"NVIDIA H100 80GB HBM3", 81559 << 20, "570.86.15"}, {"NVIDIA GB10", 0, "580.95.05"}}
	if got := gpus(); !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got := parseGPUs("No devices were found\n"); got != nil {
		t.Errorf("no devices: %v", got)
	}
}
