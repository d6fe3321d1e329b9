package scenes

import (
	"testing"

	"must/data"
)

func BenchmarkSample(b *testing.B) {
	for _, s := range Sets() {
		b.Run(s.Name, func(b *testing.B) {
			d, err := Open(data.Source{Set: s.Name, Split: "train"})
			if err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				if _, err := d.Sample(i % 200); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
