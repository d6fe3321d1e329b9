// Package datatest makes the files that tests of formats read.
package datatest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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

// Turned returns a PNG file with an EXIF orientation, 1 to 8.
func Turned(file string, turn int) string {
	const afterIHDR = 8 + 12 + 13
	exif := "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string(rune(turn)) + "\x00\x00\x00\x00\x00\x00"
	b := binary.BigEndian.AppendUint32([]byte(file[:afterIHDR]), uint32(len(exif)))
	b = append(b, "eXIf"+exif...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte("eXIf"+exif)))
	return string(b) + file[afterIHDR:]
}
