package weights

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// kinds tells by their first bytes files that people take for weights.
var kinds = []struct{ magic, what string }{
	{"version https://git-lfs", "a pointer of Git LFS, not the file itself; `git lfs pull` gets that"},
	{"<!DOCTYPE", "a page of the web, such as a download's error or login page"},
	{"<!doctype", "a page of the web, such as a download's error or login page"},
	{"<html", "a page of the web, such as a download's error or login page"},
	{"\x89HDF\r\n", "HDF5, as Keras writes it; convert it to a state dict in Python"},
	{"GGUF", "GGUF, of language models"},
	{"\x93NUMPY", "a NumPy array"},
	{"\x89PNG", "a picture"},
	{"\xff\xd8\xff", "a picture"},
	{"\x1f\x8b", "compressed by gzip; unpack it"},
	{"7z\xbc\xaf", "a 7z archive; unpack it"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it"},
	{"\x08", "perhaps an ONNX model; declare it as a teacher (docs/onnx.md)"},
}

// kindOf says what a file seems to be that is neither safetensors nor torch's.
func kindOf(head []byte) string {
	for _, k := range kinds {
		if bytes.HasPrefix(head, []byte(k.magic)) && (k.magic != "\x08" || len(head) > 8 && head[8] != '{') {
			return k.what
		}
	}
	if len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 {
		return "a Python pickle that torch.save did not write, as Detectron2's .pkl; load it in Python and save its state dict by torch.save"
	}
	text := bytes.TrimSpace(head)
	if i := len(text); i > 0 && utf8.Valid(text[:max(1, i-3)]) && !bytes.ContainsFunc(text[:i], func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
		return fmt.Sprintf("text that begins with %q", text[:min(20, i)])
	}
	return ""
}
