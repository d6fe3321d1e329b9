package recipe

import (
	"fmt"

	"must/data"
	"must/data/imagefolder"
	"must/data/images"
	"must/data/scenes"
	"must/data/voc"
	"must/label/shards"
)

// formats maps the name of a format to what opens it.
var formats = map[string]func(data.Source) (data.Dataset, error){
	"scenes":      scenes.Open,
	"imagefolder": imagefolder.Open,
	"images":      images.Open,
	"voc":         voc.Open,
}

// Formats lists the formats that sets can have.
func Formats() []string { return keys(formats) }

// cacheLimit bounds the memory for rendered images, which are slower to make than to keep.
const cacheLimit = 300 << 20

// Open opens a source, with its pseudo labels if it names some.
func Open(s data.Source) (data.Dataset, error) {
	open := formats[s.Format]
	if open == nil {
		return nil, fmt.Errorf("format is %q%s", s.Format, suggest(s.Format, Formats()))
	}
	ds, err := open(s)
	if err != nil {
		return nil, err
	}
	if s.Count > 0 && ds.Len() > s.Count {
		ds = data.First(ds, s.Count)
	}
	if s.Format == "scenes" {
		ds = scenes.Cached(ds, cacheLimit)
	}
	if s.Labels != "" {
		return shards.Merge(ds, s.Labels)
	}
	return ds, nil
}

// source returns one part of a set: train, val or test.
func (s *Set) source(part string) data.Source {
	src := s.Source
	src.Split = part
	if name, ok := s.Splits[part]; ok {
		src.Split = name
	}
	if n := s.Parts[part]; n > 0 {
		src.Count = n
	}
	return src
}
