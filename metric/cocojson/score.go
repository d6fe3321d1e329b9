package cocojson

import (
	"bytes"
	"fmt"
	"math"
	"regexp"

	"github.com/go-faster/jx"
)

// bareScore finds a score that Python's json writes and JSON does not have. In a text its quotes would be escaped.
var bareScore = regexp.MustCompile(`("score"\s*:\s*)(NaN|-?Infinity)`)

// Scored returns a result whose score, where it is a bare NaN or Infinity as Python writes them, is in quotes,
// for [Decoder.Annotation] to read. No other number may be one of them.
func Scored(item []byte) []byte {
	if !bytes.Contains(item, []byte("NaN")) && !bytes.Contains(item, []byte("Infinity")) {
		return item
	}
	return bareScore.ReplaceAll(item, []byte(`$1"$2"`))
}

// score reads a number, or the text NaN, Infinity or -Infinity.
func (d *Decoder) score() (float64, error) {
	if d.Next() != jx.String {
		return d.Float64()
	}
	text, err := d.Str()
	switch {
	case err != nil:
		return 0, err
	case text == "NaN":
		return math.NaN(), nil
	case text == "Infinity":
		return math.Inf(1), nil
	case text == "-Infinity":
		return math.Inf(-1), nil
	}
	return 0, fmt.Errorf("%q is a text, not a number: write it without quotes", text)
}
