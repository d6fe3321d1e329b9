package progress

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func (c *clock) sleep(d time.Duration) { c.t = c.t.Add(d) }

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1, 0)}
	d := newDisplay(&out, c.now)
	teachers := d.Stage("teachers").Stage("depth")
	task := teachers.Task("train", 600, "steps")
	for n := range int64(600) {
		c.sleep(250 * time.Millisecond)
		task.Note(fmt.Sprintf("loss %.2f", 1-float64(n)/1000))
		task.Add(1)
		if n == 299 {
			teachers.Logf("checkpoint at step %d\n", n+1)
		}
	}
	task.Done()
	task.Done()
	task.Add(1)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range map[int]string{
		0:              "teachers › depth › train: 0/600 steps · 0%",
		1:              "teachers › depth › train: 40/600 steps · 6% · 4.0 steps/s · 2m20s left · loss 0.96",
		8:              "teachers › depth › checkpoint at step 300",
		len(lines) - 1: "teachers › depth › train: done 600/600 steps in 2m30s · loss 0.40",
	} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	if len(lines) != 1+15+1+1 {
		t.Errorf("%d lines for 150 s of work:\n%s", len(lines), out.String())
	}
}

func TestResumedWorkHasTheRateOfNow(t *testing.T) {
	c := &clock{time.Unix(1, 0)}
	task := newDisplay(&bytes.Buffer{}, c.now).Task("train", 1000, "steps")
	c.sleep(time.Second)
	task.Set(900)
	c.sleep(time.Second)
	task.Set(902)
	if got, want := task.status(), "902/1000 steps · 90% · 2.0 steps/s · 49s left"; got != want {
		t.Errorf("status %q, want %q", got, want)
	}
	// A stretch of slow work shows as soon as it fills the window.
	for n := range int64(10) {
		c.sleep(20 * time.Second)
		task.Set(903 + n)
	}
	if got := task.status(); !strings.Contains(got, "0.05 steps/s · 29m20s left") {
		t.Errorf("status %q does not show the slower rate", got)
	}
}

func TestUnknownTotal(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1, 0)}
	d := newDisplay(&out, c.now)
	task := d.Task("scan", 0, "files")
	task.Set(3)
	c.sleep(90 * time.Minute)
	task.Set(100)
	d.Close()
	d.Logf("bye")
	want := "scan: 0 files\nscan: 100 files · 0.018 files/s\nscan: stopped at 100 files\nbye\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestNilShowsNothing(t *testing.T) {
	var d *Display
	d.Logf("nothing")
	task := d.Stage("a").Task("b", 1, "steps")
	task.Set(1)
	task.Add(1)
	task.Note("c")
	task.Done()
	d.Close()
}

// On a terminal the bars go away and one line per task stays.
func TestBars(t *testing.T) {
	var out bytes.Buffer
	d := newDisplay(&out, time.Now)
	d.bars = mpb.New(mpb.WithOutput(&out), mpb.WithAutoRefresh(), mpb.ForceTTY(), mpb.WithRefreshRate(time.Millisecond))
	var wg sync.WaitGroup
	for i := range 3 {
		task := d.Task(fmt.Sprint("task ", i), 100, "steps")
		wg.Go(func() {
			for range 50 {
				task.Add(1)
				task.Note("busy")
				time.Sleep(50 * time.Microsecond)
			}
			d.Logf("half of %d", i)
			if i < 2 {
				task.Set(100)
				task.Done()
			}
		})
	}
	wg.Wait()
	d.Close()
	d.Close()
	for _, want := range []string{"task 0: done 100/100", "task 1: done 100/100", "task 2: stopped at 50/100", "half of 2\n"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once in %q", want, out.String())
		}
	}
}

func TestPlainIsSafeForConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	d := newDisplay(&out, time.Now)
	task := d.Task("load", 4000, "images")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				task.Add(1)
			}
		})
	}
	wg.Wait()
	task.Done()
	if !strings.Contains(out.String(), "done 4000/4000 images") {
		t.Errorf("got %q", out.String())
	}
}
