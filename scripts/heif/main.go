// Command heif takes the decoders of data/imagefile/heif out of the Go modules that build them:
//
//	go generate ./data/imagefile/heif
//
// Their versions are named here; `go mod download` checks them by the checksum database.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// modules hold the decoders: which file of theirs is kept under which name.
var modules = []struct {
	module string
	files  map[string]string
}{
	{"github.com/gen2brain/avif@v0.4.4", map[string]string{"lib/decode.wasm.gz": "avif.wasm.gz", "LICENSE": "LICENSE.wrapper", "lib/LICENSE.aom": "LICENSE.aom", "lib/LICENSE.libavif": "LICENSE.libavif"}},
	{"github.com/gen2brain/heic@v0.4.5", map[string]string{"lib/heif.wasm.gz": "heic.wasm.gz", "lib/LICENSE.libde265": "LICENSE.libde265", "lib/LICENSE.libheif": "LICENSE.libheif"}},
}

func main() {
	for _, m := range modules {
		if err := take(m.module, m.files); err != nil {
			fmt.Fprintf(os.Stderr, "heif: %s: %v\n", m.module, err)
			os.Exit(1)
		}
	}
}

func take(module string, files map[string]string) error {
	text, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return err
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(text, &found); err != nil {
		return err
	}
	for from, to := range files {
		content, err := os.ReadFile(filepath.Join(found.Dir, from))
		if err == nil {
			err = os.WriteFile(to, content, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
