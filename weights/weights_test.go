package weights

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const golden = "testdata/golden.safetensors" // made by testdata/make_golden.py

func readAll(t *testing.T, path string) (map[string]string, []Tensor) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var tensors []Tensor
	for _, name := range r.Names() {
		tensor, err := r.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, tensor)
	}
	return r.Metadata, tensors
}

func TestReadsTheReferenceProgram(t *testing.T) {
	metadata, tensors := readAll(t, golden)
	if want := map[string]string{"classes": `["cat","dög"]`}; !reflect.DeepEqual(metadata, want) {
		t.Errorf("metadata %v, want %v", metadata, want)
	}
	conv := make([]float32, 24)
	for i := range conv {
		conv[i] = float32(i)/8 - 1
	}
	inf := float32(math.Inf(1))
	brain := math.Float32frombits(0x714a0000) // 1e30 rounded to 8 bits
	for _, want := range []struct {
		name, dtype string
		shape       []int64
		values      []float32
		data        []byte
	}{
		{"conv.weight", "F32", []int64{2, 3, 2, 2}, conv, nil},
		{"bn.num_batches_tracked", "I64", []int64{}, nil, binary.LittleEndian.AppendUint64(nil, math.MaxUint64-6)},
		{"half", "F16", []int64{8}, []float32{0, 0, 1, -2.5, 65504, 0x1p-24, inf, -inf}, nil},
		{"brain", "BF16", []int64{3}, []float32{1, -3.5, brain}, nil},
		{"wide", "F64", []int64{2, 1}, []float32{0.1, inf}, nil},
		{"mask", "BOOL", []int64{3}, nil, []byte{1, 0, 1}},
		{"bytes", "U8", []int64{3}, nil, []byte{1, 2, 255}},
		{"empty", "F32", []int64{0, 4}, []float32{}, nil},
	} {
		i := slices.IndexFunc(tensors, func(t Tensor) bool { return t.Name == want.name })
		if i < 0 {
			t.Fatalf("no tensor %s", want.name)
		}
		got := tensors[i]
		if got.DType != want.dtype || !slices.Equal(got.Shape, want.shape) {
			t.Errorf("%s is %s %v, want %s %v", want.name, got.DType, got.Shape, want.dtype, want.shape)
		}
		values, err := Float32s(got)
		if (err == nil) != (want.values != nil) || !slices.Equal(values, want.values) {
			t.Errorf("%s holds %v (%v), want %v", want.name, values, err, want.values)
		}
		if want.data != nil && !bytes.Equal(got.Data, want.data) {
			t.Errorf("%s holds % x, want % x", want.name, got.Data, want.data)
		}
	}
}

// TestWritesAsTheReferenceProgram has the same bytes come out that went in.
func TestWritesAsTheReferenceProgram(t *testing.T) {
	metadata, tensors := readAll(t, golden)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] })
	path := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Write(path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("wrote %d bytes\n%.800q\nwant %d\n%.800q", len(got), got, len(want), want)
	}
}

func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.safetensors")
	if err := Write(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	if metadata, tensors := readAll(t, path); len(metadata) != 0 || len(tensors) != 0 {
		t.Errorf("read %v, %v", metadata, tensors)
	}
}

// A header of 640 bytes begins a file with 0x80 0x02, as a pickle begins.
func TestHeaderLikeAPickle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	for n := 600; n < 640; n++ {
		if err := Write(path, map[string]string{"x": strings.Repeat("a", n)}, nil); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		} else if binary.LittleEndian.Uint64(b) == 640 {
			if metadata, _ := readAll(t, path); len(metadata["x"]) != n {
				t.Errorf("%d bytes of metadata", len(metadata["x"]))
			}
			return
		}
	}
	t.Fatal("no header has 640 bytes")
}

func TestWriteRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	ok := FromFloat32s("a", []int64{2}, []float32{1, 2})
	for name, c := range map[string]struct {
		metadata map[string]string
		tensors  []Tensor
		want     string
	}{
		"two names":      {nil, []Tensor{ok, ok}, `"a"`},
		"reserved":       {nil, []Tensor{{Name: "__metadata__", DType: "U8", Shape: []int64{0}}}, "reserved"},
		"not UTF-8":      {nil, []Tensor{{Name: "\xff", DType: "U8", Shape: []int64{0}}}, "UTF-8"},
		"metadata UTF-8": {map[string]string{"k": "\xff"}, nil, `"k"`},
		"size":           {nil, []Tensor{{Name: "b", DType: "F32", Shape: []int64{3}, Data: make([]byte, 8)}}, "12 bytes, not 8"},
		"type":           {nil, []Tensor{{Name: "b", DType: "C64", Shape: []int64{0}}}, `"C64"`},
		"negative":       {nil, []Tensor{{Name: "b", DType: "U8", Shape: []int64{-1, -1}, Data: []byte{1}}}, "negative"},
		"overflow":       {nil, []Tensor{{Name: "b", DType: "F64", Shape: []int64{1 << 40, 1 << 40}}}, "too large"},
	} {
		err := Write(path, c.metadata, c.tensors)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not name the file and %q", name, err, c.want)
		}
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Error("a refused write changed the file")
	}
}

// file makes the bytes of a file from its header and the number of bytes after it.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestOpenRefuses(t *testing.T) {
	whole, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"no bytes":         {nil, "the file is empty"},
		"seven bytes":      {make([]byte, 7), "or damaged"},
		"a picture":        {[]byte("\x89PNG\r\n\x1a\n and more"), "a picture"},
		"header cut":       {whole[:100], "cut short"},
		"data cut":         {whole[:len(whole)-1], "cut short: tensor"},
		"more data":        {append(slices.Clone(whole), 0), "1 bytes after"},
		"no object":        {file(` {}`, 0), "neither safetensors"},
		"no JSON":          {file(`{"a":`, 0), "header"},
		"two objects":      {file(`{}{}`, 0), "follows"},
		"two tensors":      {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `two tensors "a"`},
		"two metadata":     {file(`{"__metadata__":{},"__metadata__":{}}`, 0), "two __metadata__"},
		"metadata numbers": {file(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
		"no dtype":         {file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), `"a" lacks`},
		"tensor null":      {file(`{"a":null}`, 0), `"a" lacks`},
		"unknown type":     {file(`{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,1]}}`, 1), `"Q4"`},
		"three offsets":    {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), "data_offsets"},
		"backwards":        {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "data_offsets"},
		"negative":         {file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}`, 0), "negative"},
		"fraction":         {file(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, 1), `"a"`},
		"overflow":         {file(`{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "too large"},
		"wrong size":       {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8 bytes"},
		"gap":              {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `gap before tensor "a"`},
		"overlap": {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3),
			`"b" overlaps`},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := os.WriteFile(path, c.content, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not name the file and %q", name, err, c.want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("opened a folder")
	}
}

// An index of several files opens them as one; what it says of them must be so.
func TestIndex(t *testing.T) {
	dir := t.TempDir()
	for file, names := range map[string][]string{"one.safetensors": {"a", "b"}, "two.safetensors": {"c"}} {
		var tensors []Tensor
		for _, name := range names {
			tensors = append(tensors, FromFloat32s(name, []int64{1}, []float32{float32(name[0])}))
		}
		if err := Write(filepath.Join(dir, file), nil, tensors); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "model.safetensors.index.json")
	index := func(weightMap string) {
		if err := os.WriteFile(path, []byte(` {"metadata": {"total_size": 12}, "weight_map": `+weightMap+`}`), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	index(`{"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}`)
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if names := r.Names(); !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Error(names)
	}
	for _, name := range r.Names() {
		x, err := r.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Float32s(x); err != nil || v[0] != float32(name[0]) {
			t.Error(name, v, err)
		}
	}
	before, err := Hash(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "two.safetensors"), nil, []Tensor{FromFloat32s("c", []int64{2}, []float32{1, 2})}); err != nil {
		t.Fatal(err)
	}
	if after, err := Hash(path); err != nil || after == before {
		t.Error("the hash does not tell that a file of the index changed", err)
	}
	for weightMap, want := range map[string]string{
		`{"a": "one.safetensors", "c": "two.safetensors"}`:                                                 `one.safetensors: it has a tensor "b" that`,
		`{"a": "one.safetensors", "b": "one.safetensors", "d": "two.safetensors"}`:                         `two.safetensors: it has a tensor "c"`,
		`{"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors", "d": "two.safetensors"}`: `two.safetensors: it has no tensor "d"`,
		`{"a": "../one.safetensors"}`:                                                                      "files beside it only",
		`{"a": "three.safetensors"}`:                                                                       "no such file",
		`{"a": "model.safetensors.index.json"}`:                                                            "which is an index itself",
		`{}`:                                                                                               `no "weight_map"`,
		`[`:                                                                                                "JSON, but no index",
	} {
		index(weightMap)
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", weightMap, err, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	r, err := Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read("head.weight"); err == nil || !strings.Contains(err.Error(), golden) || !strings.Contains(err.Error(), `"head.weight"`) {
		t.Errorf("missing tensor: %v", err)
	}
	if err := r.ReadInto("half", make([]byte, 15)); err == nil || !strings.Contains(err.Error(), `"half"`) {
		t.Errorf("wrong size: %v", err)
	}
	if _, ok := r.Lookup("head.weight"); ok {
		t.Error("found what is not there")
	}
	if got, ok := r.Lookup("wide"); !ok || got.DType != "F64" || !slices.Equal(got.Shape, []int64{2, 1}) || got.Data != nil {
		t.Errorf("looked up %+v", got)
	}
}

func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, fraction := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		want := sign * math.Ldexp(1024+fraction, exponent-25)
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(fraction, -24)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		v, err := Float32s(Tensor{DType: "F16", Shape: []int64{1}, Data: []byte{byte(h), byte(h >> 8)}})
		if err != nil {
			t.Fatal(err)
		}
		got := float64(v[0])
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%#04x is %g, want %g", h, got, want)
		}
	}
}

func FuzzHeader(f *testing.F) {
	whole, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(whole)
	f.Add(whole[8:8+n], int64(len(whole))-8-int64(n))
	f.Add([]byte(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`), int64(1))
	f.Add([]byte(`{"__metadata__":null}`), int64(0))
	f.Fuzz(func(t *testing.T, header []byte, size int64) {
		if size < 0 {
			return
		}
		_, entries, err := parseHeader(header, size)
		if err != nil {
			return
		}
		var sum int64
		for name, e := range entries {
			n, err := byteSize(e.dtype, e.shape)
			if err != nil || n != e.end-e.begin || e.begin < 0 || e.end > size {
				t.Errorf("accepted %q: %+v", name, e)
			}
			sum += n
		}
		if sum != size {
			t.Errorf("accepted tensors of %d bytes in %d", sum, size)
		}
	})
}
