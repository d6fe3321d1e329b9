package cocojson

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-faster/jx"
)

// maxItem bounds the memory for one item of a list.
const maxItem = 64 << 20

// A stream takes a JSON file of any size apart into the items of its top-level lists. It holds no more
// than a window around one item and knows where in the file it lies, which jx's own streaming does not
// tell. It only finds where a value ends; whoever parses the value finds out whether it is sound.
type stream struct {
	r    io.Reader
	buf  []byte
	head int   // what lies before it in buf is done with
	at   int64 // where in the file buf begins
}

func newStream(r io.Reader, window int) *stream { return &stream{r: r, buf: make([]byte, 0, window)} }

// Lists asks visit for each list of a file of labels what to do with its items; nil leaves them out. It holds
// a window of so many bytes, or one item where that is larger. An item is valid until the function returns;
// at says where in the file it is.
func Lists(r io.Reader, window int, visit func(list string) func(item []byte, at int64) error) error {
	return newStream(r, window).document(func(s *stream, c byte) error {
		if c == '[' {
			return errors.New(`a list, not an object with "images", "annotations" and "categories": is it a file of results?`)
		}
		return s.sequence('{', '}', func(int) error {
			key, _, err := s.value()
			if err != nil {
				return err
			}
			name, err := jx.DecodeBytes(key).Str()
			if err != nil {
				return s.errorf("want a name in quotes")
			}
			if err := s.expect(':'); err != nil {
				return err
			}
			if c, err := s.peek(); err != nil || c != '[' {
				_, _, err = s.value()
				return err
			}
			return s.list(name, visit(name))
		})
	})
}

// List is Lists for a file of results, which is one list.
func List(r io.Reader, window int, read func(item []byte, at int64) error) error {
	return newStream(r, window).document(func(s *stream, c byte) error {
		if c != '[' {
			return errors.New("results are a list of detections, and this is none")
		}
		return s.list("results", read)
	})
}

// document reads what the file holds, by its first character, and sees that nothing follows.
func (s *stream) document(read func(s *stream, first byte) error) error {
	c, err := s.peek()
	if bytes.HasPrefix(s.buf[s.head:], []byte("\xef\xbb\xbf")) {
		s.head += 3
		c, err = s.peek()
	}
	if head := s.buf[min(s.head, len(s.buf)):]; err == nil && len(head) > 1 && (string(head[:2]) == "\xff\xfe" || string(head[:2]) == "\xfe\xff" || head[1] == 0) {
		return errors.New("the file is UTF-16, and JSON is UTF-8: save it so")
	}
	if err == nil {
		err = read(s, c)
	}
	if err == nil {
		if _, err = s.peek(); err == nil {
			return s.errorf("more text after the end")
		} else if err == io.EOF {
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file is cut short")
	}
	return err
}

// list reads the items of a list; nil leaves them out.
func (s *stream) list(name string, read func(item []byte, at int64) error) error {
	return s.sequence('[', ']', func(i int) error {
		item, at, err := s.value()
		if err != nil || read == nil {
			return err
		}
		if err := read(item, at); err != nil {
			return fmt.Errorf("item %d of %q, at byte %d: %w", i, name, at, worded{err})
		}
		return nil
	})
}

// sequence calls item before each of the items between two brackets, for it to consume.
func (s *stream) sequence(left, right byte, item func(i int) error) error {
	if err := s.expect(left); err != nil {
		return err
	}
	for i := 0; ; i++ {
		c, err := s.peek()
		if err != nil {
			return err
		}
		if c == right {
			s.head++
			return nil
		}
		if i > 0 {
			if err := s.expect(','); err != nil {
				return err
			}
		}
		if err := item(i); err != nil {
			return err
		}
	}
}

func (s *stream) expect(want byte) error {
	c, err := s.peek()
	if err == nil && c != want {
		err = s.errorf("%q where %q should be", c, want)
	}
	s.head++
	return err
}

func (s *stream) errorf(format string, args ...any) error {
	return fmt.Errorf("not JSON at byte %d: %w", s.at+int64(s.head), fmt.Errorf(format, args...))
}

// peek returns the next byte that is not white space, without consuming it.
func (s *stream) peek() (byte, error) {
	for {
		for ; s.head < len(s.buf); s.head++ {
			switch c := s.buf[s.head]; c {
			case ' ', '\t', '\r', '\n':
			default:
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// value consumes a value and returns it, as long as nothing else is read, and where in the file it is.
func (s *stream) value() (value []byte, at int64, err error) {
	if _, err := s.peek(); err != nil {
		return nil, 0, err
	}
	depth, quoted, escaped := 0, false, false
	n := 0
scan:
	for {
		window := s.buf[s.head:]
		for ; n < len(window); n++ {
			switch c := window[n]; {
			case escaped:
				escaped = false
			case quoted:
				escaped = c == '\\'
				if quoted = c != '"'; !quoted && depth == 0 {
					n++
					break scan
				}
			case c == '"':
				quoted = true
			case c == '[' || c == '{':
				depth++
			case c == ']' || c == '}':
				if depth == 0 {
					break scan
				}
				if depth--; depth == 0 {
					n++
					break scan
				}
			case depth == 0 && (c == ',' || c == ':' || c <= ' '):
				break scan
			}
		}
		if n > maxItem {
			return nil, 0, s.errorf("a value of more than %d MB", maxItem>>20)
		}
		if err := s.fill(); err != nil {
			return nil, 0, err
		}
	}
	if n == 0 {
		return nil, 0, s.errorf("%q where a value should be", s.buf[s.head])
	}
	at = s.at + int64(s.head)
	value = s.buf[s.head : s.head+n]
	s.head += n
	return value, at, nil
}

// fill reads on. What has been consumed makes room; where that is not enough, the window grows.
func (s *stream) fill() error {
	s.at += int64(s.head)
	s.buf = s.buf[:copy(s.buf, s.buf[s.head:])]
	s.head = 0
	if 2*len(s.buf) > cap(s.buf) {
		s.buf = append(make([]byte, 0, 2*cap(s.buf)), s.buf...)
	}
	n, err := io.ReadAtLeast(s.r, s.buf[len(s.buf):cap(s.buf)], 1)
	s.buf = s.buf[:len(s.buf)+n]
	return err
}
