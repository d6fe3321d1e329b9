package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"must/recipe"
	"must/serve"
	"must/web"
)

type serveCmd struct {
	engine
	Model     []string      `arg:"" help:"Checkpoints, or .teacher.yaml files: FILE, or NAME=FILE."`
	Listen    string        `help:"Port, or ADDRESS:PORT; without an address only this machine can call. 0.0.0.0:8000 lets everybody." default:"127.0.0.1:8000" placeholder:"PORT"`
	Name      []string      `help:"Host name by which others call it (repeatable); numeric addresses and this machine's own name always do, * is any." placeholder:"HOST"`
	MaxBatch  int           `help:"Images that a model sees at once; default 8." default:"8" placeholder:"N"`
	MaxWait   time.Duration `help:"How long an image waits for others to be seen with; default 5ms." default:"5ms" placeholder:"TIME"`
	Queue     int           `help:"Requests under way; more are told to come back (503). Default 64." default:"64" placeholder:"N"`
	MaxBody   int64         `help:"Megabytes of a request; default 64." default:"64" placeholder:"MB"`
	MaxPixels int           `help:"Megapixels of an image; default 40." default:"40" placeholder:"MP"`
	Timeout   time.Duration `help:"For a request; default 1m." default:"1m" placeholder:"TIME"`
	Threshold float64       `help:"Least score of an object where a request names none; default 0.5." default:"0.5" placeholder:"X"`
	Files     string        `help:"Folder of Label Studio's local files." type:"existingdir" placeholder:"DIR"`
	Studio    string        `help:"Address of the Label Studio that images may be fetched from; its token is in LABEL_STUDIO_API_KEY." name:"label-studio" placeholder:"URL"`
}

func (serveCmd) Help() string {
	return `Answers over HTTP: a page at /, pictures at /models/NAME/predict, the Open Inference Protocol at /v2, Label Studio's
ML backend at /predict, Prometheus at /metrics; /docs lists all. A model file that is replaced is taken over while
serving. Ctrl-C or SIGTERM finishes what is under way. docs/serve.md is the manual.

Examples:

    must serve out/demo/student/model.safetensors
    must serve student=a.safetensors boxes=b.safetensors --listen 0.0.0.0:8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/models/student/predict`
}

func (c *serveCmd) Run(ctx context.Context, a *app) error {
	if c.MaxBatch < 1 || c.Queue < 1 || c.MaxBody < 1 || c.MaxPixels < 1 || c.MaxWait < 0 || c.Timeout <= 0 {
		return errors.New("--max-batch, --queue, --max-body, --max-pixels and --timeout must be positive, --max-wait not negative")
	}
	if !(c.Threshold >= 0 && c.Threshold <= 1) {
		return fmt.Errorf("--threshold is %v; it is a score, in [0, 1]", c.Threshold)
	}
	var models []serve.Model
	for _, arg := range c.Model {
		m, err := serve.ParseModel(arg)
		if err != nil {
			return err
		}
		models = append(models, m)
	}
	l, err := web.Listen(c.Listen) // before the models are opened: a port in use is told at once
	if err != nil {
		return err
	}
	defer l.Close()
	if err := a.engine(); err != nil {
		return err
	}
	o := serve.Defaults()
	o.Version, o.Engine, o.Log = recipe.Version, c.Engine, a.display.Logf
	o.MaxBatch, o.MaxWait, o.Queue, o.Timeout = c.MaxBatch, c.MaxWait, c.Queue, c.Timeout
	o.MaxBody, o.MaxPixels, o.Threshold = c.MaxBody<<20, c.MaxPixels*1_000_000, c.Threshold
	o.Files, o.Studio, o.Token = c.Files, c.Studio, os.Getenv("LABEL_STUDIO_API_KEY")
	s, err := serve.New(ctx, models, o)
	if err != nil {
		return err
	}
	defer s.Close()
	go s.Run()
	a.printf("%s: a page to try it; %s/docs lists what else there is. Ctrl-C ends it.\n", web.URL(l), web.URL(l))
	return web.Serve(ctx, l, s, web.Options{Names: c.Name, Timeout: c.Timeout, Grace: c.Timeout, Log: a.display.Logf})
}
