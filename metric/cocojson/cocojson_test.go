package cocojson

import (
	"strings"
	"testing"

	"github.com/go-faster/jx"
)

func TestFields(t *testing.T) {
	type object struct {
		id    int64
		crowd bool
		box   [4]float64
		boxed bool
	}
	read := func(text string) (o object, err error) {
		d := Decoder{Decoder: jx.Decode(strings.NewReader(text), 8)} // a small window: keys do not outlive their field
		err = d.Fields(func(key []byte) (_ bool, err error) {
			switch string(key) {
			case "id":
				o.id, err = d.Int()
			case "iscrowd":
				o.crowd, err = d.Flag()
			case "bbox":
				o.box, o.boxed, err = d.Box()
			default:
				return false, nil
			}
			return true, err
		}, "id")
		return o, err
	}
	for text, want := range map[string]object{
		`{"more": {"id": 3}, "id": 7}`:                          {id: 7},
		`{"iscrowd": true, "id": 8.0, "bbox": null}`:            {id: 8, crowd: true},
		`{"bbox": [1, 2.5, 3, 4e1], "iscrowd": 1, "id": 9}`:     {9, true, [4]float64{1, 2.5, 3, 40}, true},
		`{"id": 1, "bbox": [], "a long unknown name": [[[1]]]}`: {id: 1},
	} {
		if got, err := read(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`{"iscrowd": 1}`:                   `has no "id"`,
		`{"id": null}`:                     `has no "id"`,
		`{"id": "7"}`:                      `field "id": is a string`,
		`{"id": 1.5}`:                      `field "id"`,
		`{"id": 1, "bbox": [1, 2, 3]}`:     "a box of 3 numbers",
		`{"id": 1, "iscrowd": "no"}`:       `field "iscrowd"`,
		`{"id": 1, "bbox": [1, 2, 3, 4, 5`: `field "bbox"`,
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// What is wrong is said in a user's words.
func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		`[{"score": NaN}]`:      `item 0 of "results", at byte 1: field "score": NaN, which is no number`,
		`[{"score": Infinity}]`: "Infinity, which is no number",
		`[{"score": "1"}]`:      "a text, not a number",
		"\xff\xfe[\x00]\x00":    "UTF-16",
	} {
		d := NewDecoder()
		err := List(strings.NewReader(text), 1<<10, func(item []byte, _ int64) error {
			d.ResetBytes(item)
			return d.Fields(func([]byte) (bool, error) {
				_, err := d.Float64()
				return true, err
			})
		})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "callback") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
