package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"runtime"

	"must/recipe"
	"must/report"
	"must/run"
)

// runFlags are those of all verbs that run a recipe.
type runFlags struct {
	Out   string   `help:"Folder of the run; a run that is there goes on. Default: out/NAME." placeholder:"DIR"`
	Stage []string `help:"Run only this stage (repeatable)." placeholder:"NAME"`
	Set   []string `help:"Change a setting (repeatable): a path in the recipe, or in a stage by its name." sep:"none" placeholder:"KEY=VALUE"`
	Jobs  int      `help:"Processes that work side by side, each with its share of the threads: on CPUs two or more are faster where networks are small. 0: one; for the demo on a CPU one a core, at most 4." placeholder:"N"`
	worldFlags
	On     string `help:"With --dry-run: also reckon for a cluster, such as gpus=256,flops=4e13,mem=80e9,net=5e10,disk=2e5 (GPUs in all, operations a second of one, bytes, bytes a second, images a second)." placeholder:"WHAT"`
	DryRun bool   `help:"Check every set and print what would be done, how long it takes and how much memory; do nothing."`
}

type demoCmd struct{ runFlags }

func (demoCmd) Help() string {
	return `Four specialists learn, label what lacks labels, and one student learns from all of them; then six
tasks that it never saw, beside its baselines. It needs no data. Cut off at any moment, the same command goes on.

Examples:

    must demo
    must demo --dry-run
    must demo --out out/quick --set train.batch=8 --set student.with.epochs=2
    must recipe show demo`
}

func (c *demoCmd) Run(ctx context.Context, a *app) error {
	if c.Jobs == 0 && c.Processes <= 1 && a.place.Size <= 1 && a.options.Device == "cpu" {
		c.Jobs = min(runtime.NumCPU(), 4) // its networks are small: threads of one process would mostly wait for each other
	}
	return c.runFlags.run(ctx, a, "demo")
}

type runCmd struct {
	Recipe string `arg:"" help:"A recipe file, or the name of one inside the program."`
	Quick  bool   `help:"The recipe's shorter form, for a first look, in a folder of its own: quick in that of the run."`
	runFlags
}

func (runCmd) Help() string {
	return `A stage is skipped when nothing that it depends on has changed, and is resumed where it was cut off. With other
settings it gets a new folder beside the old one: nothing is deleted, and settings that are changed back find their
results again. must clean shows what is no longer used. report.html and results.json are written after each stage.

Examples:

    must run recipe.yaml
    must run recipe.yaml --dry-run
    must run recipe.yaml --set train.lr=0.02 --set teacher-depth.with.epochs=20
    must run recipe.yaml --stage labels --stage student
    must run recipe.yaml --quick
    must run recipe.yaml --jobs 4
    must run recipe.yaml --device cuda --out /data/run1`
}

func (c *runCmd) Run(ctx context.Context, a *app) error {
	if c.Quick {
		r, err := recipe.Load(c.Recipe, nil)
		if err != nil {
			return err
		}
		if len(r.Quick) == 0 {
			return fmt.Errorf("recipe %s has no quick form; --set shortens it", c.Recipe)
		}
		c.Set = append(r.Quick, c.Set...)
		c.Out = filepath.Join(cmp.Or(c.Out, filepath.Join("out", r.Name)), "quick")
	}
	return c.runFlags.run(ctx, a, c.Recipe)
}

func (c *runFlags) run(ctx context.Context, a *app, name string) error {
	r, err := run.Load(name, c.Set, c.Out)
	if err != nil {
		return err
	}
	defer r.Close()
	r.Only, r.Display, r.Jobs, r.Spawn = c.Stage, a.display, c.Jobs, a.spawn(r.Out)
	if c.Jobs > 1 { // what this process measures, it measures as they will work
		a.options.Threads = a.threadsOf(c.Jobs)
	}
	if c.On != "" {
		if !c.DryRun {
			return fmt.Errorf("--on is for --dry-run")
		}
		if r.On, err = run.ParseOn(c.On); err != nil {
			return err
		}
	}
	if c.DryRun {
		if a.place.Rank > 0 {
			return nil
		}
		return printPlan(ctx, a, r)
	}
	switch {
	case c.Jobs > 1 && (c.Processes > 1 || a.place.Size > 1):
		return fmt.Errorf("--jobs is for one process that starts others, each with work of its own; several processes that compute together share all work by themselves: leave --jobs out")
	case c.Processes > 1 && a.place.Size == 1:
		return a.launch(ctx, c.Processes)
	}
	if err := a.share(r.Out); err != nil {
		return err
	}
	if !a.world.Leads() {
		return run.Follow(ctx, r.Out, a.world)
	}
	r.World = a.world
	if err := r.Run(ctx); err != nil {
		return err
	}
	return printRun(a, r.Out)
}

// printPlan opens every set, measures the networks, and tells what a run would do.
func printPlan(ctx context.Context, a *app, r *run.Runner) error {
	p, err := r.Plan(ctx, a.engine())
	if err != nil {
		return err
	}
	a.printf("%s", p.Text())
	if p.Faults() > 0 {
		return status(1)
	}
	return nil
}

// printRun ends a run with what people want to know of it.
func printRun(a *app, out string) error {
	res, err := report.ReadResults(filepath.Join(out, run.ResultsFile))
	if err != nil {
		return err
	}
	for _, f := range res.Verdict() {
		mark := map[report.Outcome]string{report.Holds: "✓", report.Fails: "✗", report.Note: "·"}[f.Outcome]
		a.printf("%s %s\n", mark, f.Text)
	}
	for _, n := range res.Networks {
		if res.Teachers != nil || res.Transfer != nil {
			break // which tell more
		}
		a.printf("· %s: %s\n", n.Stage, n)
	}
	for _, u := range res.Unreadable {
		a.printf("! unreadable: %v\n", u)
	}
	a.printf("report:  %s\nresults: %s\n", filepath.Join(out, run.ReportFile), filepath.Join(out, run.ResultsFile))
	return nil
}

type reportCmd struct {
	Out      string `arg:"" help:"Folder of a run."`
	Markdown bool   `help:"Also print the tables, for a page or a paper."`
}

func (reportCmd) Help() string {
	return `Nothing is computed: report.html and results.json are made of what the stages have left in the folder.

Examples:

    must report out/demo
    must report out/evidence --markdown`
}

func (c *reportCmd) Run(a *app) error {
	r, err := run.Open(c.Out)
	if err != nil {
		return err
	}
	defer r.Close()
	res, err := r.Report()
	if err != nil {
		return err
	}
	if c.Markdown {
		a.printf("%s\n", res.Markdown())
		charts, err := r.Charts()
		if err != nil {
			return err
		}
		for _, c := range charts {
			a.printf("%s, in %s\n\n%s\n", c.Title, c.Y, c.Markdown())
		}
	}
	return printRun(a, c.Out)
}

type recipesCmd struct{}

func (recipesCmd) Help() string {
	return `Examples:

    must recipes
    must run demo`
}

func (recipesCmd) Run(a *app) error {
	for _, name := range recipe.Embedded() {
		r, err := recipe.Load(name, nil)
		if err != nil {
			return err
		}
		a.printf("%-12s %s\n", name, r.About)
	}
	a.printf("`must recipe show NAME` prints one, `must run NAME` runs it\n")
	return nil
}

type recipeCmd struct {
	Show recipeShowCmd `cmd:"" help:"Print a recipe, to start your own from."`
}

type recipeShowCmd struct {
	Name string `arg:"" help:"Its name, see must recipes."`
}

func (recipeShowCmd) Help() string {
	return `Examples:

    must recipe show demo > my.yaml`
}

func (c *recipeShowCmd) Run(a *app) error {
	text, err := recipe.Text(c.Name)
	if err != nil {
		return fmt.Errorf("no recipe %q inside the program; `must recipes` lists them", c.Name)
	}
	a.printf("%s", text)
	return nil
}
