package review

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"must/label/shards"
	"must/web/browser"
)

// The page in a real browser, by the keyboard alone: load, sort, look, decide, undo; then on a phone.
func TestPage(t *testing.T) {
	dir, images := pseudoLabels(t, 48, 192, 1)
	other, _ := pseudoLabels(t, 48, 192, 2)
	s, url := openServer(t, dir, images, other)
	<-s.scan.ready
	p := browser.Open(t, url, 1280, 800)
	shown := `[...document.querySelectorAll('.tile img')].filter(i => i.complete && i.naturalWidth).length`
	whole := `[...document.querySelectorAll('.tile img')].every(i => i.complete && i.naturalWidth)`
	p.Wait(`document.body.dataset.scanned`)
	p.Wait(shown + ` > 8`)
	p.Fits()
	if n := browser.Eval[int](p, `ids.length`); n != 48 {
		t.Fatalf("%d images are shown", n)
	}

	// Sorting: what the server says is the least sure comes first.
	want := get[ordered](t, url+"/api/order?sort=differ").IDs
	p.Focus("sort")
	p.Keys("m", kb.Escape) // "most disagreement first", by its first letter
	if by := browser.Eval[string](p, `document.getElementById('sort').value`); by != "differ" {
		t.Errorf("the keyboard sorts by %q", by)
	}
	p.Wait(`JSON.stringify(ids) === ` + browser.JSON(browser.JSON(want)))
	p.Wait(whole)
	p.Wait(`document.activeElement.id === 'grid'`)
	p.Shot("review-grid")

	// Decisions in the grid, and a mark when they are on the disk.
	p.Keys(kb.ArrowRight, "k")
	p.Wait(`document.querySelectorAll('.mark.keep').length === 1`)
	p.Keys("d")
	p.Wait(`document.querySelectorAll('.mark.drop').length === 1`)
	if at := browser.Eval[int](p, `at`); at != 3 {
		t.Errorf("after keep and drop from the second the current image is number %d", at)
	}

	// The large view: choose an object, delete it, rename another, drop a task, undo.
	ids := browser.Eval[[]int](p, `ids`)
	object := 4
	for len(get[struct{ Sample sampleInfo }](t, fmt.Sprintf("%s/api/sample/%d", url, ids[object])).Sample.Objects) < 3 {
		object++
	}
	for range object - 3 {
		p.Keys(kb.ArrowRight)
	}
	p.Keys(kb.Enter)
	p.Wait(`document.getElementById('large').open && document.getElementById('picture').complete && document.getElementById('picture').naturalWidth`)
	p.Wait(`document.getElementById('masks').complete`)
	p.Keys("1", "x")
	p.Wait(`document.querySelectorAll('.row.gone').length === 1`)
	p.Keys("2")
	p.Shot("review-large")
	p.Keys("r")
	p.Wait(`document.activeElement.id === 'name'`)
	browser.Eval[string](p, `document.getElementById('name').value = ''`) // the protocol types the r where the focus went; a keyboard does not
	p.Keys("r", "i", "n", "g", kb.Enter)
	p.Wait(`open.list[1].renamed && open.list[1].class === 'ring'`)
	p.Keys("+", "+")
	if k := browser.Eval[float64](p, `view.k / view.fit`); k < 1.9 {
		t.Errorf("two steps of zoom make it %v times as large", k)
	}
	p.Keys("0", "s", "t")
	p.Wait(`open.dropped.includes('segmentation')`)
	p.Keys("u")
	p.Wait(`!open.dropped.includes('segmentation')`)
	p.Keys("k") // and on to the next
	p.Wait(`at === ` + browser.JSON(object+1) + ` && open && open.id === ids[at]`)
	p.Keys(kb.Escape)
	p.Wait(`!document.getElementById('large').open && document.activeElement.id === 'grid'`)
	p.Keys("?")
	p.Wait(`document.getElementById('keys').open`)
	p.Keys(kb.Escape)
	p.Wait(`!document.getElementById('keys').open`)
	if text := browser.Eval[string](p, `document.getElementById('counts').innerText`); !strings.Contains(text, "2 kept") || !strings.Contains(text, "1 dropped") || !strings.Contains(text, "1 renamed") {
		t.Errorf("the counts are %q", text)
	}
	b, err := os.ReadFile(shards.DecisionsPath(dir))
	if err != nil || strings.Count(string(b), "\n") != 7 {
		t.Errorf("the file has %d lines: %v", strings.Count(string(b), "\n"), err)
	}

	// A filter leaves what it says.
	p.Focus("state")
	p.Keys("d", kb.Escape)
	p.Wait(`document.getElementById('state').value === 'dropped' && ids.length === 1`)
	p.Focus("state")
	p.Keys("a", kb.Escape)
	p.Wait(`ids.length === 48`)

	// A phone: two columns, nothing beside the window; dark.
	p.Size(390, 844, true)
	p.Dark(true)
	p.Wait(`layout().columns === 2`)
	p.Fits()
	p.Wait(whole)
	p.Shot("review-phone-grid")
	p.Keys(kb.Enter)
	p.Wait(`document.getElementById('large').open && document.getElementById('picture').complete && document.getElementById('picture').naturalWidth`)
	p.Fits()
	if over := browser.Eval[float64](p, `document.querySelector('.buttons').getBoundingClientRect().bottom - innerHeight`); over > 1 {
		t.Errorf("the buttons end %v pixels below the phone's screen", over)
	}
	p.Shot("review-phone-large")
}
