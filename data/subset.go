package data

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
