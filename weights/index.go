package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// maxIndex limits an index of shards in bytes; that of a large network takes some 100 KB.
const maxIndex = 64 << 20

// readIndex reads the index that Hugging Face's programs write where weights are split over several
// files (model.safetensors.index.json, pytorch_model.bin.index.json): the file of each tensor, in the
// index's own folder. It returns nil for a file that is no JSON object.
func readIndex(f *os.File, size int64) (shards map[string]string, err error) {
	var head [64]byte
	n, _ := f.ReadAt(head[:], 0)
	if !bytes.HasPrefix(bytes.TrimLeft(head[:n], " \t\r\n"), []byte("{")) || size > maxIndex {
		return nil, nil
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("JSON, but no index of weights: %w", err)
	}
	if len(index.Map) == 0 {
		return nil, errors.New("JSON, but no index of weights: it has no \"weight_map\" of tensors and their files")
	}
	for name, shard := range index.Map {
		if shard != filepath.Base(shard) || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("the index puts tensor %q into %q; it may name files beside it only", name, shard)
		}
	}
	return index.Map, nil
}

// openIndex opens the files that an index names as one.
func openIndex(path string, shards map[string]string) (*Reader, error) {
	r := &Reader{Metadata: map[string]string{}, path: path, entries: map[string]entry{}, shards: map[string]*Reader{}}
	files := map[string]*Reader{}
	for _, file := range slices.Sorted(maps.Values(shards)) {
		if files[file] != nil {
			continue
		}
		shard, index, err := openFile(filepath.Join(filepath.Dir(path), file))
		if index != nil {
			err = fmt.Errorf("weights %s: it names %s, which is an index itself and no file of tensors", path, file)
		}
		if err != nil {
			r.Close()
			return nil, err
		}
		files[file] = shard
		r.files = append(r.files, shard)
		for _, name := range shard.Names() {
			if shards[name] != file {
				r.Close()
				return nil, fmt.Errorf("weights %s: it has a tensor %q that %s does not place there", shard.path, name, path)
			}
		}
		r.Skipped = append(r.Skipped, shard.Skipped...)
	}
	for name, file := range shards {
		e, ok := files[file].entries[name]
		if !ok {
			r.Close()
			return nil, fmt.Errorf("weights %s: it has no tensor %q, which %s places there", files[file].path, name, path)
		}
		r.entries[name], r.shards[name] = e, files[file]
	}
	return r, nil
}
