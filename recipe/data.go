package recipe

import "must/data"

// source returns one part of a set: train, val or test.
func (s *Set) source(part string) data.Source {
	src := s.Source
	src.Split = part
	if part == "val" && s.Holdout > 0 {
		src.Split = "train"
	}
	if name, ok := s.Splits[src.Split]; ok {
		src.Split = name
	}
	if n := s.Parts[part]; n > 0 {
		src.Count = n
	}
	return src
}
