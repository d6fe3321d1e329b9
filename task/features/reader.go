package features

import (
	"fmt"
	"math"
	"regexp"

	"must/data"
	"must/task"
)

// A reader reads the output of an encoder: [N, D], [N, D, h, w], or with tokens [N, T, D].
type reader struct {
	name     string // of the teacher
	grid     int
	prefix   int // tokens before those of the image, such as a class token and registers
	tokens   [2]int
	channels int // 0: not known yet
}

var plain = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,39}$`)

// Reader implements [task.External]. Keys: name, the teacher's (a plain word); grid, cells of a side that the
// features are pooled to (1); tokens, [rows, columns] of an output [N, T, D]; prefix, how many tokens come
// before those of the image (0).
func (kind) Reader(keys map[string]any) (task.Reader, error) {
	r := &reader{grid: 1}
	whole := func(key string, v any, most int) (int, error) {
		var n float64
		switch v := v.(type) {
		case int:
			n = float64(v)
		case int64:
			n = float64(v)
		case uint64:
			n = float64(v)
		case float64:
			n = v
		default:
			n = -1
		}
		if n != math.Trunc(n) || n < 0 || n > float64(most) {
			return 0, fmt.Errorf("with.%s is %v; it must be a whole number up to %d", key, v, most)
		}
		return int(n), nil
	}
	for key, v := range keys {
		var err error
		switch key {
		case "name":
			r.name, _ = v.(string)
		case "grid":
			r.grid, err = whole(key, v, MaxGrid)
		case "prefix":
			r.prefix, err = whole(key, v, 1024)
		case "tokens":
			list, _ := v.([]any)
			if len(list) != 2 {
				return nil, fmt.Errorf("with.tokens is %v; it must be [rows, columns]", v)
			}
			for i, v := range list {
				if r.tokens[i], err = whole(key, v, 1024); err != nil {
					return nil, err
				}
			}
		default:
			return nil, fmt.Errorf("with.%s is no key of features; there are name, grid, tokens and prefix", key)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case !plain.MatchString(r.name):
		return nil, fmt.Errorf("with.name is %q; it must be a plain word in small letters, by which the teacher's task is called features.NAME", r.name)
	case r.grid < 1:
		return nil, fmt.Errorf("with.grid is %d; it must be 1 to %d", r.grid, MaxGrid)
	case keys["tokens"] != nil && min(r.tokens[0], r.tokens[1]) < 1:
		return nil, fmt.Errorf("with.tokens is %v; both must be positive", r.tokens)
	case r.prefix > 0 && keys["tokens"] == nil:
		return nil, fmt.Errorf("with.prefix is for an output of tokens: give with.tokens too, [rows, columns]")
	}
	return r, nil
}

// Task implements [task.Reader].
func (r *reader) Task() string { return Name + "." + r.name }

// Meaning implements [task.Reader].
func (r *reader) Meaning() data.Meaning { return data.Meaning{Channels: r.channels, Grid: r.grid} }

// Read implements [task.Reader].
func (r *reader) Read(shape []int64, values []float32, n int) ([]data.Label, error) {
	at := func(i int) int { return int(shape[i]) }
	var rows, columns, channels int
	var index func(cell, channel int) int // within an image
	switch {
	case len(shape) == 2 || len(shape) == 4 && shape[2] == 1 && shape[3] == 1:
		rows, columns, channels = 1, 1, at(1)
		index = func(_, c int) int { return c }
	case len(shape) == 4:
		rows, columns, channels = at(2), at(3), at(1)
		index = func(k, c int) int { return c*rows*columns + k }
	case len(shape) == 3 && r.tokens[0] > 0:
		rows, columns, channels = r.tokens[0], r.tokens[1], at(2)
		if want := r.prefix + rows*columns; at(1) != want {
			return nil, fmt.Errorf("it has %d tokens, and with.prefix and with.tokens make %d + %d·%d = %d", at(1), r.prefix, rows, columns, want)
		}
		index = func(k, c int) int { return (r.prefix+k)*channels + c }
	case len(shape) == 3:
		return nil, fmt.Errorf("it is of tokens: say how they lie in the image by with.tokens, [rows, columns], and with.prefix, how many come before them")
	default:
		return nil, fmt.Errorf("want [N, D], [N, D, h, w] or [N, T, D]")
	}
	if channels < 1 || channels > MaxChannels {
		return nil, fmt.Errorf("it has %d channels; there must be 1 to %d", channels, MaxChannels)
	}
	if r.grid > max(rows, columns) {
		return nil, fmt.Errorf("with.grid is %d, and the model has only %d×%d cells: take a smaller grid", r.grid, rows, columns)
	}
	if r.channels != 0 && r.channels != channels {
		return nil, fmt.Errorf("it has %d channels now and had %d", channels, r.channels)
	}
	r.channels = channels
	if at(0) < n {
		return nil, fmt.Errorf("want features of %d images", n)
	}
	size := len(values) / at(0)
	labels := make([]data.Label, n)
	for i := range labels {
		image := values[i*size:][:size]
		l := New(r.Task(), r.grid, channels, make([]float32, r.grid*r.grid*channels))
		for y := range r.grid {
			for x := range r.grid {
				pool(l.Cell(x, y), image, index, span(y, r.grid, rows), span(x, r.grid, columns), columns)
			}
		}
		for k, v := range l.Values {
			if v != v || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("value %d of image %d is %v", k, i, v)
			}
		}
		labels[i] = l
	}
	return labels, nil
}

// span returns which of n pixels cell i of a grid covers, as adaptive average pooling does.
func span(i, grid, n int) [2]int { return [2]int{i * n / grid, ((i+1)*n + grid - 1) / grid} }

// pool writes the mean of an image's cells into a vector.
func pool(to, image []float32, index func(cell, channel int) int, ys, xs [2]int, columns int) {
	count := float64((ys[1] - ys[0]) * (xs[1] - xs[0]))
	for c := range to {
		sum := 0.
		for y := ys[0]; y < ys[1]; y++ {
			for x := xs[0]; x < xs[1]; x++ {
				sum += float64(image[index(y*columns+x, c)])
			}
		}
		to[c] = float32(sum / count)
	}
}
