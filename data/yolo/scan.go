package yolo

import (
	"runtime"
	"sync"
	"sync/atomic"

	"must/data"
	"must/data/frame"
	"must/data/text"
)

// A summary is what a file of labels says of itself.
type summary struct {
	err         error
	lost, twice int
}

// keep bounds the labels that are held between two looks at them, in bytes.
const keep = 64 << 20

// scan reads files of labels, "" for none, on all cores: it tells by all of them what their lines hold, and returns
// what is lost of each.
func (s *spec) scan(files []string, classes int, encoding string) ([]summary, error) {
	sums := make([]summary, len(files))
	read := func(each func(i int, content string)) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < len(files); i = int(next.Add(1)) - 1 {
					if files[i] == "" {
						continue
					}
					content, err := text.ReadFileAs(files[i], encoding)
					if err != nil {
						sums[i].err = err
						continue
					}
					each(i, content)
				}
			})
		}
		wg.Wait()
	}
	var mu sync.Mutex
	all := evidence{}
	contents := map[int]string{}
	kept := 0
	read(func(i int, content string) {
		e := evidence{}
		e.read(content, files[i])
		mu.Lock()
		all.add(e)
		if kept += len(content); kept < keep {
			contents[i] = content
		}
		mu.Unlock()
	})
	if err := s.tell(all); err != nil {
		return nil, err
	}
	sum := func(i int, content string) {
		sums[i].lost, sums[i].twice, sums[i].err = s.losses(content, classes)
	}
	if kept < keep {
		for i, content := range contents {
			sum(i, content)
		}
		return sums, nil
	}
	read(sum)
	return sums, nil
}

// Files are files of labels that lie elsewhere than in a set of YOLO.
type Files struct {
	spec     spec
	classes  int
	encoding string

	// Lost counts objects without area.
	Lost int
}

// ReadFiles reads files of labels of so many classes; lines and encoding are as in data.Source.
func ReadFiles(files []string, classes int, lines, encoding string) (*Files, error) {
	s, err := declared(lines)
	if err != nil {
		return nil, err
	}
	f := &Files{spec: s, classes: classes, encoding: encoding}
	sums, err := f.spec.scan(files, classes, encoding)
	for _, sum := range sums {
		f.Lost += sum.lost
	}
	return f, err
}

// Masks reports whether objects have masks.
func (f *Files) Masks() bool { return f.spec.polygons }

// Objects reads the objects in a file, and the classes that it leaves unknown.
func (f *Files) Objects(file string, fr frame.Frame) ([]data.Object, []int, error) {
	content, err := text.ReadFileAs(file, f.encoding)
	if err != nil {
		return nil, nil, err
	}
	return f.spec.parse(content, f.classes, fr)
}
