// Package progress shows how far long work has come: bars on a terminal, otherwise a plain line
// now and then that suits a log file.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

const (
	quiet  = 10 * time.Second // the least time between two plain lines of one task
	window = 30 * time.Second // rates are taken over the last one to two windows
)

// A Display shows any number of tasks at once. It and its tasks are safe for concurrent use. A nil
// *Display, and a task of it, shows nothing.
type Display struct {
	*screen
	title string // "stage › stage › ", prefixed to every line
}

// A screen is what a Display shares with the stages below it.
type screen struct {
	now func() time.Time

	mu   sync.Mutex
	w    io.Writer
	bars *mpb.Progress      // nil: plain lines
	open map[*Task]struct{} // not yet done
}

// New returns a display that draws bars if w is a terminal and writes plain lines otherwise: the
// first line of a task at once, then one every ten seconds, and a last one when it is done.
// Close it before the program writes to w by other means.
func New(w io.Writer) *Display {
	d := newDisplay(w, time.Now)
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		d.bars = mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh())
	}
	return d
}

func newDisplay(w io.Writer, now func() time.Time) *Display {
	return &Display{screen: &screen{now: now, w: w, open: map[*Task]struct{}{}}}
}

// Stage returns a view of the same display whose lines and tasks carry the title, after the titles
// of the stages around it.
func (d *Display) Stage(title string) *Display {
	if d == nil {
		return nil
	}
	return &Display{d.screen, d.title + title + " › "}
}

// Logf writes one line above the bars.
func (d *Display) Logf(format string, args ...any) {
	if d != nil {
		d.line(d.title + fmt.Sprintf(format, args...))
	}
}

// Close takes down the bars, and says of every task that is not done where it stopped. Later lines
// are plain ones.
func (d *Display) Close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	var open []*Task
	for t := range d.open {
		open = append(open, t)
	}
	d.mu.Unlock()
	for _, t := range open {
		t.end("stopped")
	}
	d.mu.Lock()
	bars := d.bars
	d.bars = nil
	d.mu.Unlock()
	if bars != nil {
		bars.Wait()
	}
}

func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = strings.TrimRight(text, "\n") + "\n"
	if s.bars != nil {
		io.WriteString(s.bars, text)
	} else {
		io.WriteString(s.w, text)
	}
}

// A Task is one piece of work that is counted in units.
type Task struct {
	*screen
	name  string
	unit  string
	total int64
	bar   *mpb.Bar // nil: plain lines

	// mu guards what follows. No method of bar is called under it: the bar's own goroutine takes it
	// to draw.
	mu     sync.Mutex
	n      int64
	note   string
	start  time.Time
	marks  [2]mark // where the rate is measured from, and where from next
	spoken time.Time
	done   bool
}

type mark struct {
	n int64
	t time.Time
}

// Task begins to show a piece of work. Total is 0 where it is unknown; unit is a plural: "steps".
func (d *Display) Task(name string, total int64, unit string) *Task {
	if d == nil {
		return nil
	}
	now := d.now()
	t := &Task{screen: d.screen, name: d.title + name, unit: unit, total: total, start: now, spoken: now}
	d.mu.Lock()
	d.open[t] = struct{}{}
	if d.bars != nil {
		t.bar = d.bars.AddBar(0, // a total given here would end the bar before Done does
			mpb.PrependDecorators(decor.Name(t.name+" ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + t.status() })))
		t.bar.SetTotal(total, false)
	}
	d.mu.Unlock()
	if t.bar == nil {
		t.line(t.name + ": " + t.status())
	}
	return t
}

// Set says that n units are done. What the first call says is taken as given, so that work resumed
// in the middle shows the rate of what is done now.
func (t *Task) Set(n int64) {
	if t != nil {
		t.move(func() int64 { return n })
	}
}

// Add says that n more units are done.
func (t *Task) Add(n int64) {
	if t != nil {
		t.move(func() int64 { return t.n + n })
	}
}

// Note shows a short text, such as the loss, behind the numbers.
func (t *Task) Note(text string) {
	if t != nil {
		t.mu.Lock()
		t.note = text
		t.mu.Unlock()
	}
}

// Done ends the task; one line with its count and its time remains.
func (t *Task) Done() {
	if t != nil {
		t.end("done")
	}
}

func (t *Task) move(to func() int64) {
	now := t.now()
	t.mu.Lock()
	t.n = to()
	if t.marks[0].t.IsZero() {
		t.marks = [2]mark{{t.n, now}, {t.n, now}}
	} else if now.Sub(t.marks[1].t) >= window {
		t.marks = [2]mark{t.marks[1], {t.n, now}}
	}
	n, speak := t.n, t.bar == nil && !t.done && now.Sub(t.spoken) >= quiet
	if speak {
		t.spoken = now
	}
	t.mu.Unlock()

	if t.bar != nil {
		t.bar.SetCurrent(n)
	}
	if speak {
		t.line(t.name + ": " + t.status())
	}
}

func (t *Task) end(how string) {
	t.mu.Lock()
	again := t.done
	t.done = true
	parts := []string{fmt.Sprintf("%s %s in %s", how, t.count(), short(t.now().Sub(t.start)))}
	if how == "stopped" {
		parts[0] = fmt.Sprintf("stopped at %s", t.count())
	}
	if t.note != "" {
		parts = append(parts, t.note)
	}
	t.mu.Unlock()
	if again {
		return
	}
	t.screen.mu.Lock()
	delete(t.open, t)
	t.screen.mu.Unlock()
	if t.bar != nil {
		t.bar.Abort(true)
	}
	t.line(t.name + ": " + strings.Join(parts, " · "))
}

// status says where the task is: "120/600 steps · 20% · 3.1 steps/s · 2m35s left · loss 0.42".
func (t *Task) status() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := []string{t.count()}
	if t.total > 0 {
		parts = append(parts, fmt.Sprintf("%d%%", 100*t.n/t.total))
	}
	if from := t.marks[0]; t.n > from.n {
		if s := t.now().Sub(from.t).Seconds(); s > 0 {
			rate := float64(t.n-from.n) / s
			parts = append(parts, fmt.Sprintf("%s %s/s", significant(rate), t.unit))
			if t.total > t.n {
				left := min(float64(t.total-t.n)/rate, 1e9) // of a Duration's 9.2e9 s
				parts = append(parts, short(time.Duration(left*1e9))+" left")
			}
		}
	}
	if t.note != "" {
		parts = append(parts, t.note)
	}
	return strings.Join(parts, " · ")
}

func (t *Task) count() string {
	if t.total > 0 {
		return fmt.Sprintf("%d/%d %s", t.n, t.total, t.unit)
	}
	return fmt.Sprintf("%d %s", t.n, t.unit)
}

func significant(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 1:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

// short rounds to what a reader wants to know: 420ms, 42s, 2m35s, 1h2m.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
