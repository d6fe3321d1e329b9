package data

// First returns the first n samples of d, or d itself where it has no more than that.
func First(d Dataset, n int) Dataset {
	if n >= d.Len() {
		return d
	}
	return first{d, max(n, 0)}
}

type first struct {
	Dataset
	n int
}

func (f first) Len() int { return f.n }
