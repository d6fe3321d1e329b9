package data

import (
	"strings"
	"testing"
)

type keyed []string

func (k keyed) Len() int                    { return len(k) }
func (k keyed) Labels() Labels              { return Labels{} }
func (k keyed) Key(i int) string            { return k[i] }
func (k keyed) Sample(int) (*Sample, error) { return nil, nil }

func TestCheckKeys(t *testing.T) {
	if err := CheckKeys(keyed{"a", "b", "b/a"}); err != nil {
		t.Error(err)
	}
	err := CheckKeys(keyed{"x", "a/1", "b", "a/1", "a/1"})
	if err == nil || !strings.Contains(err.Error(), `2 samples have the key of another one, such as "a/1"`) {
		t.Error(err)
	}
}
