package inspect

import (
	"fmt"
	"io"
	"strings"

	"must/data"
	"must/data/account"
)

// write writes the account.
func (s *Summary) write(w io.Writer, l data.Labels) error {
	t := account.New(w)

	looked := ""
	if s.Looked < s.Samples {
		looked = fmt.Sprintf(", %s of them looked at, spread over the set", account.Thousands(s.Looked))
	}
	t.Row("images", "%s%s", account.Thousands(s.Samples), looked)
	t.Row("broken", "%s", account.Thousands(s.Broken))
	for _, err := range s.FirstWrong {
		t.Row("", "%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if s.Broken > len(s.FirstWrong) {
		t.Row("", "and %s more", account.Thousands(s.Broken-len(s.FirstWrong)))
	}
	if s.Duplicates > 0 {
		t.Row("keys twice", "%s: %s", account.Thousands(s.Duplicates), strings.Join(s.FirstTwice, ", "))
	}
	for i, note := range s.Notes {
		t.Row([]string{"files", ""}[min(i, 1)], "%s", note)
	}
	if s.Looked > s.Broken {
		t.Row("width", "%s px", s.Width)
		t.Row("height", "%s px", s.Height)
	}
	tasks := l.Tasks()
	if len(tasks) == 0 {
		tasks = []string{"none"}
	}
	t.Row("labels", "%s", strings.Join(tasks, ", "))
	good := s.Looked - s.Broken

	for _, name := range l.Tasks() {
		t.Section(name)
		s.Tasks[name].Write(t, good)
	}
	return t.Flush()
}
