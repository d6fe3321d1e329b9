package text

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
	utf "golang.org/x/text/encoding/unicode"
)

func TestDecode(t *testing.T) {
	encode := func(e encoding.Encoding, s string) string {
		out, err := e.NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	gb, latin := simplifiedchinese.GB18030, charmap.Windows1252
	for name, c := range map[string]struct{ file, encoding, want string }{
		"plain":               {"a\nb\n", "", "a\nb\n"},
		"empty":               {"", "", ""},
		"UTF-8":               {"猫\né", "", "猫\né"},
		"mark":                {"\xef\xbb\xbfcat\r\ndog\r\n", "", "cat\ndog\n"},
		"old Mac":             {"cat\rdog\r", "", "cat\ndog\n"},
		"UTF-16 with mark":    {encode(utf.UTF16(utf.LittleEndian, utf.UseBOM), "猫 a\r\n"), "", "猫 a\n"},
		"UTF-16 big":          {encode(utf.UTF16(utf.BigEndian, utf.UseBOM), "a\n猫"), "", "a\n猫"},
		"UTF-16 without mark": {encode(utf.UTF16(utf.LittleEndian, utf.IgnoreBOM), "0 0.5 0.5\n"), "", "0 0.5 0.5\n"},
		"GB told":             {encode(gb, "猫\n狗狗\nbus\n"), "", "猫\n狗狗\nbus\n"},
		"GB in XML":           {encode(gb, "<name>狗</name>"), "", "<name>狗</name>"},
		"Latin-1 told":        {encode(latin, "château\nnaïve\nÉcole\n"), "", "château\nnaïve\nÉcole\n"},
		"declared":            {encode(gb, "鼬"), "gb18030", "鼬"},
		"mark over name":      {"\xef\xbb\xbf猫", "gb18030", "猫"},
		"Cyrillic declared":   {encode(charmap.Windows1251, "кот"), "windows-1251", "кот"},
	} {
		if got, err := Decode([]byte(c.file), c.encoding); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	for name, c := range map[string]struct{ file, encoding, want string }{
		"Cyrillic":           {encode(charmap.Windows1251, "это кот\n"), "", "name its encoding"},
		"could be both":      {"cr\xe9\xe9e\n", "", "not UTF-8 from byte 2"},
		"binary":             {"\x89PNG\x00\x01\x02", "", "not a text"},
		"no such encoding":   {"a", "utf-9", `no encoding "utf-9"`},
		"cut in a character": {"ab\xe7\x8c", "", "not UTF-8 from byte 2"},
	} {
		if got, err := Decode([]byte(c.file), c.encoding); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestListAndPath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "classes.txt")
	if err := os.WriteFile(file, []byte("\xef\xbb\xbf cat \r\n\r\ndog\t\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := List(file); err != nil || !slices.Equal(got, []string{"cat", "dog"}) {
		t.Error(got, err)
	}
	if _, err := ReadFile(filepath.Dir(file)); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Error(err)
	}
	if err := os.Truncate(file, Max+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(file); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
	if got := Path(`.\images\train\a.png `); got != "./images/train/a.png" {
		t.Error(got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a\r\nb", "\xff\xfea\x00", "\xc3\xa8", "caf\xe9", "\x00\x00\xfe\xff\x00\x00\x00a"} {
		f.Add([]byte(s), "")
	}
	f.Add([]byte("\xc3\xa8"), "gb18030")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		s, err := Decode(b, name)
		if err == nil && (!utf8.ValidString(s) || strings.Contains(s, "\r")) {
			t.Errorf("%q as %q: %q", b, name, s)
		}
	})
}
