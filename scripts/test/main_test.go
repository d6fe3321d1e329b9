package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// events is what go test -json says about a package that passes, one with a skipped and a failed test, one
// that does not build, and one that panics.
const events = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"said\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
{"Action":"pass","Package":"a"}
{"Action":"output","Package":"b","Test":"TestRun","Output":"=== RUN   TestRun\n"}
{"Action":"output","Package":"b","Test":"TestRun","Output":"    b_test.go:7: no ONNX Runtime here: ` + "`make onnxruntime`" + ` fetches one\n"}
{"Action":"output","Package":"b","Test":"TestRun","Output":"--- SKIP: TestRun (0.00s)\n"}
{"Action":"skip","Package":"b","Test":"TestRun"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    b_test.go:9: wrong\n"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"output","Package":"b","Output":"FAIL\n"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t0.1s\n"}
{"Action":"fail","Package":"b"}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1: undefined\n"}
{"ImportPath":"c","Action":"build-fail"}
{"Action":"output","Package":"c","Output":"FAIL\tc [build failed]\n"}
{"Action":"fail","Package":"c"}
{"Action":"output","Package":"d","Test":"TestPanic","Output":"panic: no\n"}
{"Action":"output","Package":"d","Output":"FAIL\td\t0.1s\n"}
{"Action":"fail","Package":"d"}
go: no such tool
`

func TestRelay(t *testing.T) {
	var out bytes.Buffer
	skips := relay(strings.NewReader(events), &out)
	want := `ok  	a	0.1s
    b_test.go:9: wrong
--- FAIL: TestBad (0.00s)
FAIL
FAIL	b	0.1s
c.go:1: undefined
FAIL	c [build failed]
panic: no
FAIL	d	0.1s
go: no such tool
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if want := []skip{{"b", "TestRun", "no ONNX Runtime here: `make onnxruntime` fetches one"}}; !slices.Equal(skips, want) {
		t.Errorf("skipped %v, want %v", skips, want)
	}
	t.Setenv("CI", "")
	if !report(skips) {
		t.Error("a skip fails outside of CI")
	}
	t.Setenv("CI", "true")
	if report(skips) {
		t.Error("CI lets a skip pass that make would have prevented")
	}
	if !report([]skip{{"b", "TestOther", "the system does not tell"}}) {
		t.Error("CI fails on a skip that nothing prevents")
	}
}
