// Package onnx makes teachers of ONNX models. A declaration, a few lines of YAML, says what a model
// takes and what its outputs mean; docs/onnx.md explains every key.
package onnx

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"must/data"
	"must/predict"
	"must/task"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/registry"
	"must/task/segmentation"
)

// A Declaration says what an ONNX model takes and what its outputs mean.
type Declaration struct {
	ONNX     string            `yaml:"onnx" json:"-"` // file
	Task     string            `yaml:"task,omitempty" json:"task,omitempty"`
	Exported bool              `yaml:"exported,omitempty" json:"exported,omitempty"` // written by must export: the model itself says the rest
	Classes  Names             `yaml:"classes,omitempty" json:"classes,omitempty"`   // a list, or a file with one a line; absent: those that the model carries
	Map      map[string]string `yaml:"map,omitempty" json:"map,omitempty"`           // the model's class to the recipe's; "": none of them
	Units    string            `yaml:"units,omitempty" json:"units,omitempty"`       // of depth: inverse or metric
	Scale    float64           `yaml:"scale,omitempty" json:"scale,omitempty"`       // of metric depth: metres per unit; 0: 1
	Size     Size              `yaml:"size,omitempty" json:"size,omitzero"`          // of the input, where the model leaves it open
	Fit      predict.Fit       `yaml:"fit,omitempty" json:"fit,omitempty"`           // letterbox (detection), stretch (other tasks) or keep
	Every    int               `yaml:"multiple,omitempty" json:"multiple,omitempty"` // fit keep: sides are multiples of it; 0: 32
	Range    float64           `yaml:"range,omitempty" json:"range,omitempty"`       // what white is before mean and std: 1 or 255; 0: 1, or 255 for a model that takes bytes
	Mean     []float64         `yaml:"mean,omitempty" json:"mean,omitempty"`         // per channel, subtracted, in that range
	Std      []float64         `yaml:"std,omitempty" json:"std,omitempty"`           // per channel, divided by, in that range
	Channel  string            `yaml:"channels,omitempty" json:"channels,omitempty"` // RGB or BGR; "": RGB
	Batch    int               `yaml:"batch,omitempty" json:"batch,omitempty"`       // images at once, where the model leaves it open but cannot do any number

	With map[string]any `yaml:"with,omitempty" json:"with,omitempty"` // keys that are the task's own, see its page

	Inputs  map[string]string `yaml:"inputs,omitempty" json:"inputs,omitempty"`   // by name: image, size (height and width of the input) or ones; needed where there are several
	Outputs map[string]string `yaml:"outputs,omitempty" json:"outputs,omitempty"` // by what they are, their names; see roles
	Values  string            `yaml:"values,omitempty" json:"values,omitempty"`   // of the output: logits, probabilities, classes, vectors or colours
	Offset  int               `yaml:"labels_offset,omitempty" json:"labels_offset,omitempty"`
	Signs   []float64         `yaml:"signs,omitempty" json:"signs,omitempty"` // of normals: what makes them x right, y down, z away from the camera

	Layout   string   `yaml:"layout,omitempty" json:"layout,omitempty"`           // of detection: torchvision, yolo, rows or detr
	Boxes    string   `yaml:"boxes,omitempty" json:"boxes,omitempty"`             // xyxy, yxyx, xywh or cxcywh; "": as usual in the layout
	Relative *bool    `yaml:"relative,omitempty" json:"relative,omitempty"`       // boxes are in 0 to 1; nil: as usual in the layout
	Score    *float64 `yaml:"score,omitempty" json:"score,omitempty"`             // least score of an object; nil: 0.05
	NMS      *float64 `yaml:"nms,omitempty" json:"nms,omitempty"`                 // IoU over which the lesser of two boxes of a class goes; 0: none go; nil: as usual in the layout
	Most     int      `yaml:"max_objects,omitempty" json:"max_objects,omitempty"` // per image; 0: 100
}

// Names are class names, by index: in the declaration, or in a file, one a line.
type Names struct {
	File string
	List []string
}

// UnmarshalYAML reads a list or the name of a file.
func (n *Names) UnmarshalYAML(node ast.Node) error {
	if _, ok := node.(*ast.SequenceNode); ok {
		return yaml.NodeToValue(node, &n.List)
	}
	return yaml.NodeToValue(node, &n.File)
}

// MarshalYAML writes what UnmarshalYAML reads.
func (n Names) MarshalYAML() (any, error) {
	if n.File != "" {
		return n.File, nil
	}
	return n.List, nil
}

// MarshalJSON writes the names, wherever they were.
func (n Names) MarshalJSON() ([]byte, error) { return json.Marshal(n.List) }

// maxNamesFile bounds a file of class names, bytes.
const maxNamesFile = 1 << 20

// Read reads the names of the file, where there is one, relative to dir.
func (n *Names) Read(dir string) error {
	if n.File == "" || n.List != nil {
		return nil
	}
	f, err := os.Open(within(dir, n.File))
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Size() > maxNamesFile {
		return fmt.Errorf("%s: %d bytes are too many for a list of names", f.Name(), info.Size())
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			n.List = append(n.List, name)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return nil
}

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// A Size is that of an input in pixels.
type Size struct {
	H int `json:"h"`
	W int `json:"w"`
}

// UnmarshalYAML reads a side, or [height, width].
func (s *Size) UnmarshalYAML(node ast.Node) error {
	if _, ok := node.(*ast.SequenceNode); !ok {
		err := yaml.NodeToValue(node, &s.W)
		s.H = s.W
		return err
	}
	var sides []int
	if err := yaml.NodeToValue(node, &sides); err != nil {
		return err
	}
	if len(sides) != 2 {
		return fmt.Errorf("size is %v; it must be a side, or [height, width]", sides)
	}
	s.H, s.W = sides[0], sides[1]
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Size) MarshalYAML() (any, error) {
	if s.H == s.W {
		return s.W, nil
	}
	return []int{s.H, s.W}, nil
}

// IsZero reports whether the model is to tell.
func (s Size) IsZero() bool { return s == Size{} }

// The values that an output can hold.
const (
	logits        = "logits"
	probabilities = "probabilities"
	classIndices  = "classes"
	vectors       = "vectors"
	colours       = "colours"
)

// The layouts of detections.
const (
	torchvision = "torchvision" // boxes [n, 4], labels [n], scores [n] and perhaps masks [n, 1, H, W], of one image or with a first dimension for several
	yolo        = "yolo"        // [N, 4+C, A] or [N, A, 4+C], or with an objectness after the box
	rows        = "rows"        // [N, n, 6]: box, score, label
	detr        = "detr"        // scores [N, n, C] and boxes [N, n, 4]
)

// A layout is what is usual in it.
type layout struct {
	roles    []string // of the outputs
	optional string   // a role that may be missing
	boxes    string
	relative bool
	nms      float64
}

var layouts = map[string]layout{
	torchvision: {[]string{"boxes", "labels", "scores"}, "masks", "xyxy", false, 0},
	yolo:        {[]string{detection.Name}, "", "cxcywh", false, 0.5},
	rows:        {[]string{detection.Name}, "", "xyxy", false, 0},
	detr:        {[]string{"scores", "boxes"}, "", "cxcywh", true, 0},
}

// roles lists what a declaration needs outputs for.
func (d *Declaration) roles() (needed []string, optional string) {
	if l, ok := layouts[d.Layout]; ok {
		return l.roles, l.optional
	}
	return []string{d.Task}, ""
}

// Path is the model's, whose name may be relative to dir.
func (d *Declaration) Path(dir string) string { return within(dir, d.ONNX) }

// complete checks a declaration as far as it can be without the model, and fills in what it leaves to
// custom. Files of names are relative to dir.
func (d *Declaration) complete(dir string) error {
	if err := d.Check(); err != nil {
		return err
	}
	if err := d.Classes.Read(dir); err != nil {
		return fmt.Errorf("classes: %w", err)
	}
	if d.Fit == "" {
		d.Fit = predict.Stretched
		if d.Task == detection.Name {
			d.Fit = predict.Letterbox
		}
	}
	if d.Every == 0 {
		d.Every = 32
	}
	if d.Scale == 0 {
		d.Scale = 1
	}
	if d.Most == 0 {
		d.Most = 100
	}
	if d.Signs == nil {
		d.Signs = []float64{1, 1, 1}
	}
	l := layouts[d.Layout]
	if d.Boxes == "" {
		d.Boxes = l.boxes
	}
	if d.Relative == nil {
		d.Relative = &l.relative
	}
	if d.NMS == nil {
		d.NMS = &l.nms
	}
	if d.Score == nil {
		least := 0.05
		d.Score = &least
	}
	return nil
}

func (d *Declaration) hasClasses() bool {
	return d.Task == classification.Name || d.Task == detection.Name || d.Task == segmentation.Name
}

// reader is the task's own of the model's output, nil for a task that this package reads.
func (d *Declaration) reader() (task.Reader, error) {
	external, ok := registry.Get(d.Task).(task.External)
	if !ok {
		if d.With != nil {
			return nil, fmt.Errorf("with is for tasks that have keys of their own, and %s has none", d.Task)
		}
		return nil, nil
	}
	return external.Reader(d.With)
}

// Check tells what is wrong with a declaration, by the key, without opening a file.
func (d *Declaration) Check() error {
	one := func(key, value string, of ...string) error {
		if slices.Contains(of, value) {
			return nil
		}
		return fmt.Errorf("%s is %q; it must be one of %s", key, value, strings.Join(of, ", "))
	}
	only := func(key string, given bool, tasks ...string) error {
		if !given || slices.Contains(tasks, d.Task) {
			return nil
		}
		return fmt.Errorf("%s is for %s only, and the task is %s", key, strings.Join(tasks, ", "), d.Task)
	}
	classes := []string{classification.Name, detection.Name, segmentation.Name}
	box := []string{detection.Name}
	var faults []error
	add := func(err ...error) { faults = append(faults, err...) }
	if d.ONNX == "" {
		add(errors.New("onnx is missing: it is the file of the model"))
	}
	if d.Exported {
		if !reflect.DeepEqual(*d, Declaration{ONNX: d.ONNX, Exported: true}) {
			add(errors.New("exported is set: the model itself says the rest; leave the other keys out"))
		}
		return errors.Join(faults...)
	}
	if err := one("task", d.Task, data.Tasks()...); err != nil {
		return err
	}
	add(only("classes", d.Classes.File != "" || d.Classes.List != nil, classes...), only("map", d.Map != nil, classes...),
		only("units", d.Units != "", depth.Name), only("scale", d.Scale != 0, depth.Name), only("signs", d.Signs != nil, normals.Name),
		only("layout", d.Layout != "", box...), only("boxes", d.Boxes != "", box...), only("relative", d.Relative != nil, box...),
		only("score", d.Score != nil, box...), only("nms", d.NMS != nil, box...), only("max_objects", d.Most != 0, box...),
		only("labels_offset", d.Offset != 0, classes...))
	if _, err := d.reader(); err != nil {
		add(err)
	}
	values := map[string][]string{
		classification.Name: {"", logits, probabilities}, segmentation.Name: {"", logits, probabilities, classIndices},
		normals.Name: {"", vectors, colours}, depth.Name: {""}, detection.Name: {""},
	}[d.Task]
	switch d.Task {
	case depth.Name:
		add(one("units", d.Units, data.Inverse, data.Metric))
	case detection.Name:
		add(one("layout", d.Layout, torchvision, yolo, rows, detr), one("boxes", d.Boxes, "", "xyxy", "yxyx", "xywh", "cxcywh"))
		if d.Layout == detr {
			values = []string{"", logits, probabilities}
		}
	}
	if d.Values != "" && !slices.Contains(values, d.Values) {
		if len(values) == 1 {
			add(fmt.Errorf("values is %q; a %s model with layout %q has no choice of them", d.Values, d.Task, d.Layout))
		} else {
			add(one("values", d.Values, values[1:]...))
		}
	}
	add(one("fit", string(d.Fit), "", string(predict.Letterbox), string(predict.Stretched), string(predict.Keep)), one("channels", d.Channel, "", "RGB", "BGR"))
	if !d.Size.IsZero() && (min(d.Size.H, d.Size.W) < 8 || max(d.Size.H, d.Size.W) > 8192) {
		add(fmt.Errorf("size is %d×%d; sides must be between 8 and 8192", d.Size.H, d.Size.W))
	}
	if d.Range != 0 && d.Range != 1 && d.Range != 255 {
		add(fmt.Errorf("range is %v; it must be 1 or 255", d.Range))
	}
	for _, v := range []struct {
		key    string
		values []float64
		ok     func(float64) bool
	}{
		{"mean", d.Mean, func(v float64) bool { return math.Abs(v) <= 1e4 }},
		{"std", d.Std, func(v float64) bool { return v > 1e-6 && v <= 1e4 }},
		{"signs", d.Signs, func(v float64) bool { return v == 1 || v == -1 }},
	} {
		if v.values != nil && (len(v.values) != 3 || !v.ok(v.values[0]) || !v.ok(v.values[1]) || !v.ok(v.values[2])) {
			add(fmt.Errorf("%s is %v; it must be three numbers, %s", v.key, v.values,
				map[string]string{"mean": "one a channel", "std": "one a channel, above 0", "signs": "1 or -1"}[v.key]))
		}
	}
	share := func(key string, v *float64) {
		if v != nil && !(*v >= 0 && *v <= 1) {
			add(fmt.Errorf("%s is %v; it must be in [0, 1]", key, *v))
		}
	}
	share("score", d.Score)
	share("nms", d.NMS)
	for _, v := range []struct {
		key  string
		n    int
		most int
	}{{"batch", d.Batch, 1024}, {"multiple", d.Every, 1024}, {"max_objects", d.Most, 100000}, {"labels_offset", d.Offset, 1000}} {
		if v.n < 0 || v.n > v.most {
			add(fmt.Errorf("%s is %d; it must be between 0 and %d", v.key, v.n, v.most))
		}
	}
	if d.Scale < 0 || math.IsNaN(d.Scale) || math.IsInf(d.Scale, 0) {
		add(fmt.Errorf("scale is %v; it is metres per unit of the output", d.Scale))
	}
	needed, optional := d.roles()
	if optional != "" {
		needed = append(slices.Clone(needed), optional)
	}
	for role := range d.Outputs {
		add(one("outputs: the key", role, needed...))
	}
	for _, what := range d.Inputs {
		add(one("inputs: the value", what, image, canvas, ones))
	}
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// name takes the class names that the model carries, a mapping of indices as ultralytics writes it,
// where the declaration gives none, and checks them.
func (d *Declaration) name(carried string) error {
	if !d.hasClasses() {
		return nil
	}
	if d.Classes.File == "" && d.Classes.List == nil {
		names, err := carriedNames(carried)
		if err != nil || len(names) == 0 {
			return errors.New("classes is missing, and the model carries no names: give a list of them in its order, or a file with one a line")
		}
		for i := range len(names) {
			if _, ok := names[i]; !ok {
				return fmt.Errorf("classes is missing, and the %d names that the model carries lack class %d", len(names), i)
			}
			d.Classes.List = append(d.Classes.List, names[i])
		}
	}
	if err := checkNames(d.Classes.List, d.Task); err != nil {
		return fmt.Errorf("classes: %w", err)
	}
	return nil
}

// carriedNames reads the names in a model's metadata, a list or a map by number as Python or JSON write them.
func carriedNames(text string) (names map[int]string, err error) {
	if len(text) > maxNamesFile {
		return nil, errors.New("too long")
	}
	var list []string
	if yaml.Unmarshal([]byte(text), &list) == nil {
		names = map[int]string{}
		for i, name := range list {
			names[i] = name
		}
		return names, nil
	}
	return names, yaml.Unmarshal([]byte(text), &names)
}

func checkNames(names []string, of string) error {
	if len(names) == 0 {
		return errors.New("there are none")
	}
	if of == segmentation.Name && len(names) > data.Ignore {
		return fmt.Errorf("there are %d; a map holds at most %d", len(names), data.Ignore)
	}
	seen := map[string]int{}
	for i, n := range names {
		if strings.TrimSpace(n) == "" {
			return fmt.Errorf("class %d has no name", i)
		}
		if first, twice := seen[n]; twice {
			return fmt.Errorf("classes %d and %d are both called %q; name what is never meant otherwise, such as \"unused %d\"", first, i, n, i)
		}
		seen[n] = i
	}
	return nil
}
