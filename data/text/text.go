// Package text reads the text files of others: lists, labels, tables and names, written on any system in any
// of the encodings that people still have.
package text

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode/utf32"

	utf "golang.org/x/text/encoding/unicode"
)

// Max is the largest file that [ReadFile] takes, in bytes.
const Max = 64 << 20

// ReadFile returns the text in a file, see [Decode]. Its errors name the file.
func ReadFile(file string) (string, error) { return ReadFileAs(file, "") }

// ReadFileAs is [ReadFile] for a file whose encoding is known by name, such as gb18030; "": it is told by
// its content.
func ReadFileAs(file, encoding string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a file", file)
	}
	if info.Size() > Max {
		return "", fmt.Errorf("%s: %d MB are too many for a text, want at most %d", file, info.Size()>>20, Max>>20)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	s, err := Decode(b, encoding)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// Exists reports whether an error of [ReadFile] is another one than that there is no such file.
func Exists(err error) bool { return !errors.Is(err, fs.ErrNotExist) }

// Decode returns a file's text as UTF-8, without a byte order mark and with \n at the end of lines.
//
// A byte order mark counts before all else. Then the named encoding is taken, where there is one. Then come
// UTF-8, UTF-16 without a mark, GB18030 (whose bytes come in pairs of Chinese characters) and Windows-1252,
// the wider Latin-1 (whose bytes are single letters in words of ASCII). What is none of these, or could be two,
// is an error that asks for the name.
func Decode(b []byte, name string) (string, error) {
	s, err := decode(b, name)
	if err != nil {
		return "", err
	}
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s, nil
}

func decode(b []byte, name string) (string, error) {
	for _, mark := range []struct {
		bytes    string
		encoding encoding.Encoding
	}{
		{"\xef\xbb\xbf", utf.UTF8},
		{"\xff\xfe\x00\x00", utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)},
		{"\x00\x00\xfe\xff", utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)},
		{"\xff\xfe", utf.UTF16(utf.LittleEndian, utf.IgnoreBOM)},
		{"\xfe\xff", utf.UTF16(utf.BigEndian, utf.IgnoreBOM)},
	} {
		if rest, ok := bytes.CutPrefix(b, []byte(mark.bytes)); ok {
			return with(mark.encoding, rest)
		}
	}
	if name != "" {
		e, err := htmlindex.Get(name)
		if err != nil {
			return "", fmt.Errorf("there is no encoding %q: want utf-8, utf-16le, gb18030, windows-1252, …", name)
		}
		return with(e, b)
	}
	if order, ok := wide(b); ok {
		return with(utf.UTF16(order, utf.IgnoreBOM), b)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return "", fmt.Errorf("not a text: byte %d is zero", i)
	}
	if utf8.Valid(b) {
		return string(b), nil
	}
	chinese, western := pairs(b), letters(b)
	switch {
	case chinese && !western:
		return with(simplifiedchinese.GB18030, b)
	case western && !chinese:
		return with(charmap.Windows1252, b)
	}
	at := 0
	for rest := b; ; at++ {
		if r, n := utf8.DecodeRune(rest); r == utf8.RuneError && n == 1 {
			break
		}
		_, n := utf8.DecodeRune(rest)
		rest, at = rest[n:], at+n-1
	}
	return "", fmt.Errorf("not UTF-8 from byte %d on, and what it is instead cannot be told: save it as UTF-8, or name its encoding (gb18030, windows-1252, …) as encoding", at)
}

func with(e encoding.Encoding, b []byte) (string, error) {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return "", err
	}
	return strings.ToValidUTF8(string(out), "\ufffd"), nil
}

// wide tells UTF-16 without a mark: every other byte of its ASCII is zero.
func wide(b []byte) (utf.Endianness, bool) {
	if len(b) < 2 || len(b)%2 != 0 {
		return utf.LittleEndian, false
	}
	var zero [2]int
	for i, c := range b {
		if c == 0 {
			zero[i%2]++
		}
	}
	half := len(b) / 2
	switch {
	case zero[0] == 0 && 2*zero[1] > half:
		return utf.LittleEndian, true
	case zero[1] == 0 && 2*zero[0] > half:
		return utf.BigEndian, true
	}
	return utf.LittleEndian, false
}

// pairs reports whether all bytes beyond ASCII come in pairs that are characters of GB2312, the common part
// of GB18030.
func pairs(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] < 0x80 {
			continue
		}
		if i+1 >= len(b) || b[i] < 0xa1 || b[i] > 0xf7 || b[i] > 0xa9 && b[i] < 0xb0 || b[i+1] < 0xa1 || b[i+1] == 0xff {
			return false
		}
		i++
	}
	return true
}

// letters reports whether all bytes beyond ASCII are letters or signs of Windows-1252, at most two in a row and
// letters beside those of ASCII.
func letters(b []byte) bool {
	ascii := func(i int) bool {
		return i >= 0 && i < len(b) && (b[i]|0x20 >= 'a' && b[i]|0x20 <= 'z' || b[i] == ' ' || b[i] == '\'')
	}
	for i := 0; i < len(b); {
		if b[i] < 0x80 {
			i++
			continue
		}
		n := 0
		for ; i+n < len(b) && b[i+n] >= 0x80; n++ {
			r := charmap.Windows1252.DecodeByte(b[i+n])
			if !unicode.IsLetter(r) && !unicode.IsPunct(r) && !unicode.IsSymbol(r) || r == utf8.RuneError {
				return false
			}
		}
		if n > 2 || n == 2 && (b[i] < 0xc0 || b[i+1] < 0xc0) || !ascii(i-1) && !ascii(i+n) {
			return false
		}
		i += n
	}
	return true
}

// Lines yields the lines of a decoded text that hold something, by their number from 1, without the space
// around them.
func Lines(s string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(s) {
			n++
			if line = strings.TrimSpace(line); line != "" && !yield(n, line) {
				return
			}
		}
	}
}

// List returns the lines of a file that hold something, such as the names of classes.
func List(file string) ([]string, error) {
	s, err := ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, line := range Lines(s) {
		list = append(list, line)
	}
	return list, nil
}

// Path returns a path of any system with slashes.
func Path(p string) string { return strings.ReplaceAll(strings.TrimSpace(p), `\`, "/") }
