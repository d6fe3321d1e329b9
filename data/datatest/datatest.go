// Package datatest makes the files that tests of formats read.
package datatest

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// Folder makes a folder of the given files, by slash-separated path, and returns its name. The content
// "png W×H" becomes a grey image of that size.
func Folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		var w, h int
		if _, err := fmt.Sscanf(content, "png %d×%d", &w, &h); err == nil {
			content = PNG(image.NewGray(image.Rect(0, 0, w, h)))
		}
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// PNG returns the file of an image.
func PNG(img image.Image) string {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.String()
}
