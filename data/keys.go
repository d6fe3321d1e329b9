package data

import (
	"fmt"
	"hash/maphash"
	"slices"
)

// CheckKeys reports keys that two samples share. It takes 8 bytes a sample: keys are compared by a hash,
// and themselves only where two hashes are equal.
func CheckKeys(d Dataset) error {
	seed := maphash.MakeSeed()
	sums := make([]uint64, d.Len())
	for i := range sums {
		sums[i] = maphash.String(seed, d.Key(i))
	}
	slices.Sort(sums)
	twice := map[uint64]bool{}
	for i := 1; i < len(sums); i++ {
		if sums[i] == sums[i-1] {
			twice[sums[i]] = true
		}
	}
	if len(twice) == 0 {
		return nil
	}
	first, n := "", 0
	seen := map[string]bool{}
	for i := range d.Len() {
		key := d.Key(i)
		if !twice[maphash.String(seed, key)] {
			continue
		}
		if seen[key] {
			if n++; first == "" {
				first = key
			}
		}
		seen[key] = true
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d samples have the key of another one, such as %q: labels could not be told apart by key; give the folders of the images different names", n, first)
}
