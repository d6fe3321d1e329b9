// Package browser drives a real browser over our pages, in tests.
package browser

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"must/atomicfile"
)

// Shots is the environment variable that names the folder where screenshots go; without it none are made.
const Shots = "MUST_SCREENSHOTS"

// A Page is a page in a browser.
type Page struct {
	t   *testing.T
	ctx context.Context
}

// Open starts a browser on an address. Where this machine has none the test is skipped and says so; make
// test-browser installs one where it may.
func Open(t *testing.T, url string, width, height int) *Page {
	t.Helper()
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" {
		t.Skip("no Chromium on this machine, so the page was not tested in a browser; make test-browser installs one and tests it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(found), chromedp.WindowSize(width, height),
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-dev-shm-usage", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	err := chromedp.Listen(ctx, func(e any) { // an error in a script is an error of the page
		if e, ok := e.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page threw: %+v", e.ExceptionDetails)
		}
	})
	if err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	p := &Page{t, ctx}
	p.Do(chromedp.EmulateViewport(int64(width), int64(height)), chromedp.Navigate(url))
	return p
}

// Do runs actions.
func (p *Page) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
}

// Size gives the page another size; a phone's has a finer screen and a touch.
func (p *Page) Size(width, height int, phone bool) {
	p.t.Helper()
	var options []chromedp.EmulateViewportOption
	if phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	p.Do(chromedp.EmulateViewport(int64(width), int64(height), options...))
}

// Dark asks for the dark colours, or the light ones.
func (p *Page) Dark(on bool) {
	value := "light"
	if on {
		value = "dark"
	}
	features := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, features); err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
}

// Keys presses keys.
func (p *Page) Keys(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.Do(chromedp.KeyEvent(k))
	}
}

// Eval returns the value of an expression.
func Eval[T any](p *Page, expression string) (v T) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("in the browser: %s: %v", expression, err)
	}
	return v
}

// Wait waits until an expression is true.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if Eval[bool](p, "!!("+expression+")") {
			return
		}
	}
	p.Shot("failed")
	p.t.Fatalf("the page never came to %s; it shows: %.1500s", expression, Eval[string](p, "document.body.innerText"))
}

// Fits checks that nothing makes the page wider than its window.
func (p *Page) Fits() {
	p.t.Helper()
	if over := Eval[float64](p, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
		p.t.Errorf("the page is %v pixels wider than its window", over)
	}
}

// Shot writes what is shown into the folder that Shots names.
func (p *Page) Shot(name string) {
	p.t.Helper()
	dir := os.Getenv(Shots)
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		p.t.Fatal(err)
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, name+".png"), b); err != nil {
		p.t.Fatal(err)
	}
}

// Focus gives the element of an id the keyboard.
func (p *Page) Focus(id string) {
	p.t.Helper()
	Eval[bool](p, "document.getElementById("+JSON(id)+").focus(), true")
}

// JSON writes a value into an expression.
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only values that a test wrote down
	}
	return string(b)
}
