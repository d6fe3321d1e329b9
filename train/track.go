package train

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"must/atomicfile"
	"must/data"
	"must/draw"
	"must/predict"
	"must/tracking"
)

// A tracked run tells TensorBoard, and MLflow where its server is named, what its log has too.
type tracked struct {
	events *tracking.Events
	mlflow *tracking.MLflow // nil: no server
}

// mlflowFile holds the id of the run on MLflow's server, so that a resumed run goes on there.
const mlflowFile = "mlflow.json"

// track opens them.
func (t *trainer) track(ctx context.Context) (*tracked, error) {
	events, err := tracking.OpenEvents(t.Dir, t.step)
	if err != nil {
		return nil, err
	}
	run := tracking.Run{Name: t.Name, Params: t.params(), Log: t.Display.Logf}
	path := filepath.Join(t.Dir, mlflowFile)
	var kept struct {
		Run string `json:"run"`
	}
	if b, err := os.ReadFile(path); err == nil && t.step > 0 && json.Unmarshal(b, &kept) == nil {
		run.ID = kept.Run
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		events.Close()
		return nil, err
	}
	m := tracking.OpenMLflow(ctx, run)
	if m != nil && m.ID != kept.Run {
		kept.Run = m.ID
		if err := atomicfile.WriteJSON(path, kept); err != nil {
			t.Display.Logf("%s: %v", t.Name, err)
		}
	}
	return &tracked{events, m}, nil
}

// params are the settings of a run by name.
func (t *trainer) params() map[string]string {
	out := map[string]string{}
	for prefix, v := range map[string]any{"": t.Config, "network.": t.Net.Spec} {
		var fields map[string]json.RawMessage
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, &fields)
		}
		if err != nil {
			panic(err) // both are checked to be JSON
		}
		for name, text := range fields {
			var plain string
			if json.Unmarshal(text, &plain) != nil {
				plain = string(text)
			}
			out[prefix+name] = plain
		}
	}
	return out
}

// record tells what a line of the log says.
func (k *tracked) record(r Record) error {
	values := map[string]float64{}
	for name, v := range r.Scores {
		values["score/"+name] = v
	}
	for name, v := range r.Loss {
		values["loss/"+name] = v
	}
	if r.Scores == nil && !r.Unlabelled {
		values["loss/total"], values["rate"], values["gradient"], values["seconds"] = r.Total, r.LR, r.GradNorm, r.Seconds
	}
	if len(values) == 0 {
		return nil
	}
	if k.mlflow != nil {
		k.mlflow.Scalars(r.Step, values)
	}
	return k.events.Scalars(r.Step, values)
}

// close ends a run that ended so.
func (k *tracked) close(err error) {
	k.events.Close()
	if k.mlflow == nil {
		return
	}
	switch {
	case err == nil:
		k.mlflow.Close(tracking.Finished)
	case errors.Is(err, ErrStopped):
		k.mlflow.Close(tracking.Stopped)
	default:
		k.mlflow.Close(tracking.Failed)
	}
}

// pictured is the number of images whose predictions are shown at every evaluation.
const pictured = 4

// picture shows TensorBoard what the network sees in the first images of the set that it is scored on. It is
// a help only: where it cannot be drawn the training goes on.
func (t *trainer) picture(ctx context.Context) {
	if t.log == nil { // not the first process
		return
	}
	var tiles []draw.Tile
	n := min(pictured, t.Val.Len())
	o := predict.Options{Batch: pictured, To: n, Workers: 1, Skipped: func(error) {}}
	err := predict.Run(ctx, []predict.Use{{Net: t.Net}}, t.Val, o, func(_ int, s, pred *data.Sample) error {
		pred.Image = s.Image
		tiles = append(tiles, draw.Tile{Caption: s.Key, Image: draw.Panel(pred, t.Net.Labels, draw.Options{Side: 192})})
		return nil
	})
	if err == nil && len(tiles) > 0 {
		err = t.log.tracked.events.Image(t.step, "predictions", draw.Grid("", 1, tiles...))
	}
	if err != nil && ctx.Err() == nil {
		t.Display.Logf("%s: no picture of predictions: %v", t.Name, err)
	}
}
