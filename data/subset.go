package data

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// Spread returns n samples of d at even distances, or d itself where it has no more than that: of a
// set sorted by class it takes every class alike.
func Spread(d Dataset, n int) Dataset {
	if n >= d.Len() {
		return d
	}
	return spread{d, max(n, 0)}
}

type spread struct {
	Dataset
	n int
}

func (s spread) Unwrap() Dataset               { return s.Dataset }
func (s spread) Len() int                      { return s.n }
func (s spread) at(i int) int                  { return int(int64(i) * int64(s.Dataset.Len()) / int64(s.n)) }
func (s spread) Key(i int) string              { return s.Dataset.Key(s.at(i)) }
func (s spread) Sample(i int) (*Sample, error) { return s.Dataset.Sample(s.at(i)) }

// HoldOut splits a set in two: about so great a share of the samples is held out, the rest is left. A
// sample's key alone decides, so that it stays on its side whatever else the set holds.
func HoldOut(d Dataset, share float64) (left, out Dataset) {
	var parts [2][]int32
	for i := range d.Len() {
		hash := sha256.Sum256([]byte(d.Key(i)))
		side := 0
		if float64(binary.BigEndian.Uint64(hash[:]))/math.MaxUint64 < share {
			side = 1
		}
		parts[side] = append(parts[side], int32(i))
	}
	return chosen{d, parts[0]}, chosen{d, parts[1]}
}

type chosen struct {
	Dataset
	index []int32
}

func (c chosen) Unwrap() Dataset               { return c.Dataset }
func (c chosen) Len() int                      { return len(c.index) }
func (c chosen) Key(i int) string              { return c.Dataset.Key(int(c.index[i])) }
func (c chosen) Sample(i int) (*Sample, error) { return c.Dataset.Sample(int(c.index[i])) }
