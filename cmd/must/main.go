// Command must is the whole of MuST on the command line; each verb reads its flags, calls one
// function and prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/alecthomas/kong"

	"must/data/imagefile"
	"must/dist"
	"must/progress"
	"must/recipe"
	"must/torch"
	"must/train"
	"must/turbojpeg"
)

var version string // set by the linker

func main() { dist.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// A cli is what can be typed.
type cli struct {
	Device  string           `help:"Where to compute: cpu, cuda or cuda:N." default:"cpu" placeholder:"DEVICE"`
	Threads int              `help:"CPU threads; 0: one per core." placeholder:"N"`
	Quiet   bool             `help:"Show no progress." short:"q"`
	Print   kong.VersionFlag `help:"Print the version." name:"version"`

	Demo    demoCmd     `cmd:"" help:"Run the whole method in small, on rendered images."`
	Run     runCmd      `cmd:"" help:"Run a recipe: its stages that are not done yet."`
	Train   trainCmd    `cmd:"" help:"Train a network on one data set, without a recipe."`
	Label   labelVerbs  `cmd:"" help:"Label images with trained networks."`
	Eval    evalCmd     `cmd:"" help:"Score a network on a data set, or a COCO results file."`
	Predict predictCmd  `cmd:"" help:"Show what a network sees in images."`
	Serve   serveCmd    `cmd:"" help:"Answer over HTTP what networks see in images."`
	Review  reviewVerbs `cmd:"" help:"Look at pseudo labels and decide about them."`
	Probe   probeCmd    `cmd:"" help:"Tell what the features of a network are worth on a data set."`
	Import  importCmd   `cmd:"" help:"Make a checkpoint of a network of torchvision's or timm's."`
	Export  exportCmd   `cmd:"" help:"Write a network for other programs: as an ONNX model, proven equal."`
	Clean   cleanCmd    `cmd:"" help:"Show, or remove, what a run no longer uses."`
	Report  reportCmd   `cmd:"" help:"Write the report of a run again."`
	Data    dataCmd     `cmd:"" help:"Look at data sets."`
	Recipes recipesCmd  `cmd:"" help:"List the recipes inside the program."`
	Recipe  recipeCmd   `cmd:"" help:"Show a recipe inside the program."`
	Doctor  doctorCmd   `cmd:"" help:"Tell whether this machine can train, and what mends it."`
	Version versionCmd  `cmd:"" help:"Print the version."`
	Job     jobCmd      `cmd:"" hidden:"" help:"Do a share of a run for another process."`
}

const about = `Multi-task self-training: specialists label images, one student learns everything from them.

    must demo                         the whole method in small
    must run recipe.yaml              your own recipe
    must predict model.safetensors photo.jpg`

// An app is what a verb has besides its flags.
type app struct {
	stdout, stderr io.Writer
	display        *progress.Display // nil: quiet
	options        torch.Options
	args           []string // of the command line
	opened         bool     // whether the engine is

	place    dist.Place
	world    *dist.World // nil: this process is alone
	launched atomic.Bool // others do the work, and talk
}

// engine opens libtorch; verbs that compute call it first.
func (a *app) engine() error {
	if err := torch.Open(a.options); err != nil || a.opened {
		return err
	}
	a.opened = true
	return a.crowded()
}

// frugal keeps garbage small beside images: with few cores a gigabyte is then enough for any folder.
// GOMEMLIMIT says otherwise.
func (a *app) frugal() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512<<20 + int64(runtime.GOMAXPROCS(0))*32<<20)
	}
}

// printf writes to standard output, under what the display has written.
func (a *app) printf(format string, args ...any) {
	a.display.Close()
	fmt.Fprintf(a.stdout, format, args...)
}

// A status ends the program without a message.
type status int

func (s status) Error() string { return fmt.Sprint("exit status ", int(s)) }

const interrupted = 130 // the shell's status for a program that Ctrl-C ended

// execute runs one command line and returns its exit status.
func execute(args []string, stdout, stderr io.Writer) (code int) {
	if version != "" {
		recipe.Version = version
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	defer func() { // kong's --help exits in the middle of parsing
		switch p := recover().(type) {
		case nil:
		case status:
			code = int(p)
		default:
			panic(p)
		}
	}()
	var c cli
	parser := kong.Must(&c, kong.Name("must"), kong.Description(about), kong.Writers(stdout, stderr),
		kong.Vars{"version": "must " + recipe.Version}, kong.Exit(func(code int) { panic(status(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "must: %v%s\n`must --help` lists the verbs, `must VERB --help` shows one with examples\n", err, renamed(err))
		return 1
	}

	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it ignored
		signals = append(signals, syscall.SIGHUP) // the terminal is closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	a := &app{stdout: stdout, stderr: stderr, options: torch.Options{Threads: c.Threads, Device: c.Device}, args: args}
	if !c.Quiet {
		a.display = progress.New(stderr)
	}
	if _, err := turbojpeg.Find(); err != nil && !errors.Is(err, turbojpeg.ErrNone) {
		fmt.Fprintf(stderr, "must: %v\n", err)
		return 1
	}
	if err := a.takePlace(); err != nil {
		fmt.Fprintf(stderr, "must: %v\n", err)
		return 1
	}
	still := context.AfterFunc(ctx, func() {
		stop() // the next one kills
		if a.place.Rank > 0 || a.launched.Load() {
			return
		}
		fmt.Fprintln(stderr, "must: stopping: what is under way is finished and saved; Ctrl-C again quits at once")
	})
	defer still()

	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(a)
	a.display.Close()
	if said := imagefile.CutShort(); said != "" {
		fmt.Fprintf(stderr, "must: %s\n", said)
	}
	err = a.leave(err)
	s, quiet := errors.AsType[status](err)
	switch {
	case err == nil:
		return 0
	case quiet && a.launched.Load():
		return int(s)
	case a.place.Rank > 0 && errors.Is(err, train.ErrAllStopped):
		return interrupted
	case ctx.Err() != nil || errors.Is(err, train.ErrAllStopped):
		fmt.Fprintf(stderr, "must: stopped; this goes on from here:\n  must %s\n", commandLine(args))
		return interrupted
	case quiet:
		return int(s)
	}
	fmt.Fprintf(stderr, "must: %v\n", err)
	return 1
}

// renamed says what a flag that is not known is called now, where an earlier version had it.
func renamed(err error) string {
	for _, f := range []struct{ old, now string }{
		{"--data", "it is called --path now"},
		{"--images", "of data convert it is called --with-images now, of export --prove-on"},
		{"--depth", "it is called --backbone now: --backbone resnet18"},
	} {
		if strings.HasPrefix(err.Error(), "unknown flag "+f.old) {
			return "; " + f.now
		}
	}
	return ""
}

// commandLine writes arguments as one types them.
func commandLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"$&|;<>()*?[]{}`\\") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
