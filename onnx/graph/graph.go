// Package graph writes ONNX models: operators are added one after the other, each taking values that
// earlier ones gave, and the whole is written to a file.
//
// Graphs are of opset 17 and IR version 8 (onnx 1.12), which every runtime of today reads.
package graph

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/x448/float16"
	"google.golang.org/protobuf/proto"

	"must/atomicfile"
	"must/onnx/graph/onnxpb"
)

const (
	opset     = 17
	irVersion = 8
)

// A Type is that of a tensor's elements.
type Type int32

// The types in use.
const (
	Float   = Type(onnxpb.TensorProto_FLOAT)
	Float16 = Type(onnxpb.TensorProto_FLOAT16)
	Uint8   = Type(onnxpb.TensorProto_UINT8)
	Int64   = Type(onnxpb.TensorProto_INT64)
	Bool    = Type(onnxpb.TensorProto_BOOL)
)

// A Value is a tensor of a graph, by its name. "" stands for an optional input that is left out.
type Value string

// Attrs are the attributes of an operator: int, float64, string or []int64.
type Attrs map[string]any

// Batch is the size of a dimension that is the number of images.
const Batch = -1

// A Graph is a model under construction.
type Graph struct {
	// Half computes in float16 what [Graph.Working] brought to it and [Graph.Float] does not bring back.
	Half bool

	// Inline is how many bytes of weights the file holds at most; more lie beside it. 0: as many as it can.
	Inline int

	nodes           []*onnxpb.NodeProto
	weights         []*onnxpb.TensorProto
	inputs, outputs []*onnxpb.ValueInfoProto
	count           map[string]int   // of names, by their beginning
	named           map[string]bool  // the parameters
	constants       map[string]Value // by what they hold
}

// New returns an empty graph.
func New() *Graph {
	return &Graph{count: map[string]int{}, named: map[string]bool{}, constants: map[string]Value{}}
}

// Input declares an input of the graph.
func (g *Graph) Input(name string, t Type, shape ...int64) Value {
	g.inputs = append(g.inputs, port(name, t, shape))
	return Value(name)
}

// Output makes a value an output under a name.
func (g *Graph) Output(v Value, name string, t Type, shape ...int64) {
	g.add("Identity", nil, []string{name}, v)
	g.outputs = append(g.outputs, port(name, t, shape))
}

func port(name string, t Type, shape []int64) *onnxpb.ValueInfoProto {
	dims := &onnxpb.TensorShapeProto{}
	for _, n := range shape {
		d := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}}
		if n == Batch {
			d.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "N"}
		}
		dims.Dim = append(dims.Dim, d)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(t)), Shape: dims},
	}}}
}

// Op adds an operator with one output.
func (g *Graph) Op(op string, a Attrs, in ...Value) Value { return g.Ops(1, op, a, in...)[0] }

// Ops adds an operator with n outputs.
func (g *Graph) Ops(n int, op string, a Attrs, in ...Value) []Value {
	out, names := make([]Value, n), make([]string, n)
	for i := range out {
		names[i] = g.name(op)
		out[i] = Value(names[i])
	}
	g.add(op, a, names, in...)
	return out
}

// name returns a fresh name.
func (g *Graph) name(like string) string {
	g.count[like]++
	return fmt.Sprintf("%s_%d", like, g.count[like])
}

func (g *Graph) add(op string, attrs Attrs, out []string, in ...Value) {
	n := &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String(out[0]), Output: out}
	for _, v := range in {
		n.Input = append(n.Input, string(v))
	}
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		a := &onnxpb.AttributeProto{Name: proto.String(key)}
		switch v := attrs[key].(type) {
		case int:
			a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(int64(v))
		case float64:
			a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(v))
		case string:
			a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
		case []int64:
			a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), v
		default:
			panic(fmt.Sprintf("graph: attribute %s of %s is a %T", key, op, v))
		}
		n.Attribute = append(n.Attribute, a)
	}
	g.nodes = append(g.nodes, n)
}

// Weight adds a parameter of the network, in float16 where the graph computes so. One that is there
// under the name already is used again.
func (g *Graph) Weight(name string, v []float32, shape ...int64) Value {
	if g.named[name] {
		return Value(name)
	}
	g.named[name] = true
	if !g.Half {
		return g.weight(name, Float, floatBytes(v), shape)
	}
	b := make([]byte, 2*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint16(b[2*i:], float16.Fromfloat32(x).Bits())
	}
	return g.weight(name, Float16, b, shape)
}

// Floats adds a constant in float32; equal ones are one.
func (g *Graph) Floats(v []float32, shape ...int64) Value {
	return g.constant(Float, floatBytes(v), shape)
}

// Scalar adds a float32 without dimensions.
func (g *Graph) Scalar(v float32) Value { return g.Floats([]float32{v}) }

// Ints adds a constant list of integers.
func (g *Graph) Ints(v ...int64) Value { return g.constant(Int64, intBytes(v), []int64{int64(len(v))}) }

// Int adds an integer without dimensions.
func (g *Graph) Int(v int64) Value { return g.constant(Int64, intBytes([]int64{v}), nil) }

func (g *Graph) constant(t Type, b []byte, shape []int64) Value {
	key := fmt.Sprint(t, shape, string(b))
	v, ok := g.constants[key]
	if !ok {
		v = g.weight(g.name("constant"), t, b, shape)
		g.constants[key] = v
	}
	return v
}

func (g *Graph) weight(name string, t Type, b []byte, shape []int64) Value {
	g.weights = append(g.weights, &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(t)), Dims: shape, RawData: b})
	return Value(name)
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	return b
}

func intBytes(v []int64) []byte {
	b := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(x))
	}
	return b
}

// Cast converts a value.
func (g *Graph) Cast(v Value, t Type) Value { return g.Op("Cast", Attrs{"to": int(t)}, v) }

// Working brings float32 to the type that the network computes in.
func (g *Graph) Working(v Value) Value {
	if g.Half {
		return g.Cast(v, Float16)
	}
	return v
}

// Float brings a value that the network computed to float32.
func (g *Graph) Float(v Value) Value {
	if g.Half {
		return g.Cast(v, Float)
	}
	return v
}

// Reshape reshapes a value; 0 keeps a dimension, -1 is what remains.
func (g *Graph) Reshape(v Value, shape ...int64) Value {
	return g.Op("Reshape", nil, v, g.Ints(shape...))
}

// Permute reorders dimensions.
func (g *Graph) Permute(v Value, dims ...int64) Value {
	return g.Op("Transpose", Attrs{"perm": dims}, v)
}

// Unsqueeze adds a dimension of 1.
func (g *Graph) Unsqueeze(v Value, dim int64) Value {
	return g.Op("Unsqueeze", nil, v, g.Ints(dim))
}

// Slice takes the entries from (inclusive) to (exclusive) of a dimension.
func (g *Graph) Slice(v Value, dim, from, to int64) Value {
	return g.Op("Slice", nil, v, g.Ints(from), g.Ints(to), g.Ints(dim))
}

// Concat joins values along a dimension.
func (g *Graph) Concat(dim int, v ...Value) Value { return g.Op("Concat", Attrs{"axis": dim}, v...) }

// Sizes returns the sizes from (inclusive) to (exclusive) of a value's dimensions.
func (g *Graph) Sizes(v Value, from, to int) Value {
	return g.Op("Shape", Attrs{"start": from, "end": to}, v)
}

// most is what weights can take in one file: a protobuf message holds 2 GB.
const most = 1_800_000_000

// Write writes the model with texts by their keys. Weights that one file does not hold lie beside it
// in PATH.data.
func (g *Graph) Write(path, producer, version string, texts map[string]string) error {
	m := &onnxpb.ModelProto{
		IrVersion: proto.Int64(irVersion), OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}},
		ProducerName: proto.String(producer), ProducerVersion: proto.String(version),
		Graph: &onnxpb.GraphProto{Name: proto.String(producer), Node: g.nodes, Initializer: g.weights, Input: g.inputs, Output: g.outputs},
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		m.MetadataProps = append(m.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String(key), Value: proto.String(texts[key])})
	}
	g.prune(m.Graph)
	size := 0
	for _, w := range m.Graph.Initializer {
		size += len(w.RawData)
	}
	if size > cmp.Or(g.Inline, most) {
		restore, err := writeBeside(path+".data", m.Graph.Initializer)
		defer restore()
		if err != nil {
			return err
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, b)
}

// prune leaves only what outputs depend on.
func (g *Graph) prune(p *onnxpb.GraphProto) {
	needed := map[string]bool{}
	for _, o := range g.outputs {
		needed[o.GetName()] = true
	}
	p.Node = nil
	for _, n := range slices.Backward(g.nodes) {
		if slices.ContainsFunc(n.Output, func(name string) bool { return needed[name] }) {
			for _, name := range n.Input {
				needed[name] = true
			}
			p.Node = append(p.Node, n)
		}
	}
	slices.Reverse(p.Node)
	p.Initializer = nil
	for _, w := range g.weights {
		if needed[w.GetName()] {
			p.Initializer = append(p.Initializer, w)
		}
	}
}

// smallest is what goes to the file beside, in bytes: shapes and scalars stay where the graph is.
const smallest = 1024

// writeBeside writes the larger weights one after the other and makes the graph refer to them, until
// restored.
func writeBeside(path string, weights []*onnxpb.TensorProto) (restore func(), err error) {
	held := map[*onnxpb.TensorProto][]byte{}
	restore = func() {
		for w, b := range held {
			w.RawData, w.ExternalData, w.DataLocation = b, nil, nil
		}
	}
	err = atomicfile.Write(path, func(to io.Writer) error {
		at := 0
		for _, w := range weights {
			n := len(w.RawData)
			if n < smallest {
				continue
			}
			if _, err := to.Write(w.RawData); err != nil {
				return err
			}
			held[w] = w.RawData
			w.RawData, w.DataLocation = nil, onnxpb.TensorProto_EXTERNAL.Enum()
			for _, e := range [][2]string{{"location", filepath.Base(path)}, {"offset", fmt.Sprint(at)}, {"length", fmt.Sprint(n)}} {
				w.ExternalData = append(w.ExternalData, &onnxpb.StringStringEntryProto{Key: proto.String(e[0]), Value: proto.String(e[1])})
			}
			at += n
		}
		return nil
	})
	return restore, err
}

// String lists the operators, for tests.
func (g *Graph) String() string {
	var b strings.Builder
	for _, n := range g.nodes {
		fmt.Fprintf(&b, "%s = %s(%s)\n", strings.Join(n.Output, ", "), n.GetOpType(), strings.Join(n.Input, ", "))
	}
	return b.String()
}
