package run

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"must/stage"
	"must/strict"
)

// An On is a cluster that a dry run reckons for, by what it measures here.
type On struct {
	GPUs  float64 // in all, a process each
	FLOPS float64 // of one a second, as its convolutions reach them
	Mem   float64 // bytes of one
	Net   float64 // bytes a second in and out of one
	Disk  float64 // images a second that the storage gives; 0: any
}

// ParseOn reads "gpus=256,flops=4e13,mem=80e9,net=5e10,disk=2e5". What is left out is one GPU, and no limit.
func ParseOn(text string) (*On, error) {
	o := &On{GPUs: 1, Mem: math.Inf(1), Net: math.Inf(1), Disk: math.Inf(1)}
	keys := map[string]*float64{"gpus": &o.GPUs, "flops": &o.FLOPS, "mem": &o.Mem, "net": &o.Net, "disk": &o.Disk}
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		to, ok := keys[key]
		if !ok {
			return nil, fmt.Errorf("--on %s: no %q%s", text, key, strict.Suggest(key, []string{"gpus", "flops", "mem", "net", "disk"}))
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v > 0) {
			return nil, fmt.Errorf("--on %s: %s is %q; it must be a positive number", text, key, value)
		}
		*to = v
	}
	if o.FLOPS == 0 {
		return nil, fmt.Errorf("--on %s: flops are missing: what a convolution reaches there, as `must doctor` measures it", text)
	}
	return o, nil
}

// reckon says what a stage takes there. rate is the operations a second that a convolution reaches here.
func (m *planner) reckon(o *On, c stage.Cost, rate float64) (seconds float64, text string, err error) {
	var most, sum, share, images float64
	for _, run := range c.Runs {
		cost, err := m.cost(run)
		if err != nil {
			return 0, "", err
		}
		speed := rate / o.FLOPS // of here, over there
		n := float64(run.Times) * float64(run.Predict)
		seconds += n * cost.Predict * speed / o.GPUs
		images += n
		if run.Steps == 0 {
			continue
		}
		batch := float64(run.Config.Batch)
		each := math.Ceil(batch / o.GPUs)
		parameters := float64(cost.Fixed) / 12 // weight, gradient and momentum
		talk := 2 * 4 * parameters * (o.GPUs - 1) / o.GPUs / o.Net
		step := each*cost.Step*speed + talk
		seconds += float64(run.Times*run.Steps) * step
		images += float64(run.Times*run.Steps) * batch
		pieces := math.Max(1, float64(run.Config.Accumulate))
		most = math.Max(most, float64(cost.Fixed)+math.Ceil(each/pieces)*float64(cost.Image))
		sum, share = 8*parameters*(o.GPUs-1)/o.GPUs, talk/step
	}
	if seconds == 0 {
		return 0, "", nil
	}
	if least := images / o.Disk; least > seconds {
		seconds = least
	}
	text = fmt.Sprintf("there: %s, reads %s images a second", duration(seconds), humanize.Comma(int64(images/seconds)))
	if most > 0 {
		text += fmt.Sprintf(", %.1f GB a process", most/1e9)
	}
	if most > o.Mem {
		text += fmt.Sprintf(", of which there are %.1f: train.accumulate or more GPUs", o.Mem/1e9)
	}
	if sum > 0 && o.GPUs > 1 {
		text += fmt.Sprintf(", sums %.0f MB a step (%.0f %% of its time)", sum/1e6, 100*share)
	}
	return seconds, text, nil
}
