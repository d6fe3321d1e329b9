package pth

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// read returns a file of testdata, which make_files.py makes.
func read(t testing.TB, name string) []byte {
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(b []byte) (map[string]*Tensor, string, error) {
	tensors, container, _, err := Open(bytes.NewReader(b), int64(len(b)))
	return tensors, container, err
}

// values decodes the tensors' items as far as the tests compare them.
func values(t *testing.T, x *Tensor) []float64 {
	t.Helper()
	data := make([]byte, x.Bytes())
	if err := x.ReadInto(data); err != nil {
		t.Fatal(err)
	}
	v := []float64{}
	size := int(itemSize[x.DType])
	for ; len(data) > 0; data = data[size:] {
		var word [8]byte
		copy(word[:], data[:size])
		bits := binary.LittleEndian.Uint64(word[:])
		switch x.DType {
		case "F32":
			v = append(v, float64(math.Float32frombits(uint32(bits))))
		case "BF16":
			v = append(v, float64(math.Float32frombits(uint32(bits)<<16)))
		case "F64":
			v = append(v, math.Float64frombits(bits))
		default:
			v = append(v, float64(int64(bits)))
		}
	}
	return v
}

func TestReadsWhatTorchWrites(t *testing.T) {
	conv := make([]float64, 24)
	transposed := []float64{}
	for i := range conv {
		conv[i] = float64(i)/8 - 1
	}
	for k := range 4 {
		for i := range 2 {
			for j := range 3 {
				transposed = append(transposed, float64(12*i+4*j+k))
			}
		}
	}
	rising := func(from, n, step int) (v []float64) {
		for i := range n {
			v = append(v, float64(from+i*step))
		}
		return v
	}
	type want struct {
		dtype  string
		shape  []int64
		values []float64
	}
	legacy := map[string]want{
		"conv.weight":   {"F32", []int64{2, 3, 2, 2}, conv},
		"half":          {"F16", []int64{4}, []float64{0, 0x3c00, 0xc100, 0x7bff}},
		"brain":         {"BF16", []int64{3}, []float64{1, -3.5, float64(math.Float32frombits(0x714a0000))}},
		"wide":          {"F64", []int64{2, 1}, []float64{0.1, -7}},
		"count":         {"I64", []int64{}, []float64{-7}},
		"mask":          {"BOOL", []int64{3}, []float64{1, 0, 1}},
		"bytes":         {"U8", []int64{3}, []float64{1, 2, 255}},
		"empty":         {"F32", []int64{0, 4}, []float64{}},
		"shared.first":  {"F32", []int64{12}, rising(0, 12, 1)},
		"shared.last":   {"F32", []int64{4}, rising(20, 4, 1)},
		"transposed":    {"F32", []int64{4, 2, 3}, transposed},
		"stepped":       {"F32", []int64{5}, rising(1, 5, 5)},
		"channels_last": {"F32", []int64{1, 2, 3, 4}, rising(0, 24, 1)},
		"parameter":     {"F32", []int64{1}, []float64{1.5}},
		"tagged":        {"F32", []int64{1}, []float64{2.5}},
	}
	plain := maps.Clone(legacy)
	plain["eight"] = want{"F8_E4M3", []int64{2}, []float64{0x38, 0xb0}}
	model := map[string]want{
		"fc.weight": {"F32", []int64{2, 2}, []float64{1, 1, 1, 1}},
		"fc.bias":   {"F32", []int64{2}, []float64{0, 0}},
	}
	for _, c := range []struct {
		file, container string
		want            map[string]want
	}{
		{"plain.pth", "", plain}, {"legacy.pth", "", legacy},
		{"nested.pth", "state_dict", model}, {"nested_legacy.pth", "state_dict", model}, {"deflated.pth", "state_dict", model},
		{"protocol5.pth", "", model}, {"legacy4.pth", "", model}, {"beside.pth", "state_dict", model},
		{"teacher.pth", "teacher", map[string]want{"a": {"F32", []int64{1}, []float64{1}}}},
	} {
		got, container, err := open(read(t, c.file))
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if names, want := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(c.want)); container != c.container || !slices.Equal(names, want) {
			t.Errorf("%s: %v in %q, want %v in %q", c.file, names, container, want, c.container)
			continue
		}
		for name, w := range c.want {
			if x := got[name]; x.DType != w.dtype || !slices.Equal(x.Shape, w.shape) || !slices.Equal(values(t, x), w.values) {
				t.Errorf("%s: %s is %s %v %v, want %v", c.file, name, x.DType, x.Shape, values(t, x), w)
			}
		}
	}
}

// What lies beside a state dict and holds no tensor is left out unmade, by name.
func TestSkips(t *testing.T) {
	b := read(t, "beside.pth")
	_, _, skipped, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"__main__.Phase", "builtins.getattr", "functools.partial", "datetime.timezone"} {
		if !slices.ContainsFunc(skipped, func(name string) bool { return strings.Replace(name, "__builtin__", "builtins", 1) == want }) {
			t.Errorf("%s is not among what was skipped: %v", want, skipped)
		}
	}
}

func TestRefuses(t *testing.T) {
	for file, want := range map[string]string{
		"evil.pth":        "calls posix.system",
		"evil_legacy.pth": "calls posix.system",
		"module.pth":      "holds an object torch.nn.modules.linear.Linear",
		"sparse.pth":      `tensor "fc.weight" is made by torch._utils._rebuild_sparse_tensor`,
		"tensor.pth":      "holds one tensor",
		"numbers.pth":     "no state dict",
		"plain.pickle":    "not one that torch.save wrote",
	} {
		if _, _, err := open(read(t, file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", file, err, want)
		}
	}
	for _, place := range []string{"", "testdata/"} {
		if _, err := os.Stat(place + "must-was-here"); err == nil {
			t.Error("what the file asks for was run")
		}
	}
}

// archive packs a pickle and its storages as torch.save does, for pickles that it would not write.
func archive(t testing.TB, method uint16, pickle string, storages ...[]byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name string, data []byte) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: "x/" + name, Method: method})
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("data.pkl", []byte(pickle))
	for i, s := range storages {
		add(fmt.Sprint("data/", i), s)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensor is the pickle of {"a": tensor}, its numbers in pickle's terms.
func tensor(items, offset, shape, strides string) string {
	return "}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n" +
		"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + items + "tQ" + offset + shape + strides + "\x89}tRs."
}

func TestRefusesWhatDoesNotFit(t *testing.T) {
	huge := "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" // the largest int64
	ok := archive(t, zip.Store, tensor("K\x04", "K\x00", "K\x02K\x02\x86", "K\x02K\x01\x86"), make([]byte, 16))
	if got, _, err := open(ok); err != nil || got["a"].Bytes() != 16 {
		t.Fatal(got, err)
	}
	bomb := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"shape larger":          {archive(t, 0, tensor("K\x04", "K\x00", "K\x03K\x02\x86", "K\x02K\x01\x86"), make([]byte, 16)), "of shape [3 2]"},
		"shape repeats":         {archive(t, 0, tensor("K\x04", "K\x00", "K\x03K\x02\x86", "K\x00K\x00\x86"), make([]byte, 16)), "of shape [3 2]"},
		"strides":               {archive(t, 0, tensor("K\x04", "K\x00", "K\x02\x85", "K\x04\x85"), make([]byte, 16)), "beyond its storage"},
		"offset":                {archive(t, 0, tensor("K\x04", "K\x03", "K\x02\x85", "K\x01\x85"), make([]byte, 16)), "from 3 on"},
		"scalar behind the end": {archive(t, 0, tensor("K\x04", "K\x04", ")", ")"), make([]byte, 16)), "from 4 on"},
		"negative":              {archive(t, 0, tensor("K\x04", "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"), make([]byte, 16)), "size or strides"},
		"huge":                  {archive(t, 0, tensor(huge, "K\x00", "K\x02\x85", "K\x01\x85"), make([]byte, 16)), "too few"},
		"huge shape":            {archive(t, 0, tensor("K\x04", "K\x00", huge+huge+"\x86", "K\x00K\x00\x86"), make([]byte, 16)), "of shape"},
		"huge strides":          {archive(t, 0, tensor("K\x04", "K\x00", "K\x02\x85", huge+"\x85"), make([]byte, 16)), "strides"},
		"storage cut":           {archive(t, 0, tensor("K\x04", "K\x00", "K\x02\x85", "K\x01\x85"), make([]byte, 15)), "15 bytes, too few"},
		"no storage":            {archive(t, 0, tensor("K\x04", "K\x00", "K\x02\x85", "K\x01\x85")), "no entry x/data/0"},
		"archive cut":           {ok[:len(ok)-30], "zip"},
		"not torch's":           {archive(t, 0, "."), "empty stack"},
		"endless strings":       {archive(t, 0, "X\xff\xff\xff\xff"), "announced"},
		"bomb of marks":         {archive(t, zip.Deflate, string(bytes.Repeat([]byte("("), maxOps+1))), "more than"},
		"bomb of a string":      {archive(t, zip.Deflate, "X\x00\x00\xff\x7f"+string(bomb)), "announced"},
		"memo":                  {archive(t, 0, "h\x07."), "never stored"},
		"instance of a global":  {archive(t, 0, "(S'id'\nios\nsystem\n."), "opcode"},
		"object made":           {archive(t, 0, "ca\nThing\n)\x81."), "holds an object a.Thing"},
		"program made":          {archive(t, 0, "cos\nsystem\n)\x81."), "calls os.system, which runs a program"},
		"builtin":               {archive(t, 0, "cbuiltins\neval\n(X\x01\x00\x00\x001tR."), "calls builtins.eval, which runs a program"},
		"no tuple":              {archive(t, 0, "ccollections\nOrderedDict\nNR."), "without arguments"},
		"tensor of a call":      {archive(t, 0, "ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN)tR."), "os.system, which is not run"},
		"an extension":          {archive(t, 0, "\x82\x01."), "opcode 0x82"},
	} {
		if _, _, err := open(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
	}
}

// A dict that holds itself, and one that is reached by 2³⁰ ways, are looked into once.
func TestNestingEnds(t *testing.T) {
	self := "}q\x00X\x01\x00\x00\x00ah\x00s."
	ways := "}q\x00"
	for range 30 {
		ways += "(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00d" // {"a": last, "b": last}
		ways += "q\x00"
	}
	for _, p := range []string{self, ways + "."} {
		if _, _, err := open(archive(t, 0, p)); err == nil || !strings.Contains(err.Error(), "no state dict") {
			t.Error(err)
		}
	}
}

func TestLegacyRefuses(t *testing.T) {
	b := read(t, "legacy.pth")
	for n := range len(b) { // every cut
		if _, _, err := open(b[:n]); err == nil {
			t.Fatalf("accepted the first %d of %d bytes", n, len(b))
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"plain.pth", "legacy.pth", "nested.pth", "nested_legacy.pth", "deflated.pth", "module.pth", "evil.pth"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

// FuzzPickle leaves the archive whole and changes the program in it.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"plain.pth", "nested.pth", "protocol5.pth", "module.pth", "evil.pth"} {
		b := read(f, name)
		r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range r.File {
			if strings.HasSuffix(e.Name, "/data.pkl") {
				at, _ := e.DataOffset()
				f.Add(b[at:][:e.UncompressedSize64])
			}
		}
	}
	f.Add([]byte(tensor("K\x04", "K\x00", "K\x02K\x02\x86", "K\x01K\x02\x86")))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		check(t, archive(t, zip.Store, string(pickle), make([]byte, 96), make([]byte, 8), make([]byte, 6), make([]byte, 16)))
	})
}

// check fails where a file is accepted whose tensors cannot be read.
func check(t *testing.T, b []byte) {
	tensors, _, err := open(b)
	if err != nil {
		return
	}
	for name, x := range tensors {
		if n := x.Bytes(); n < 0 || n > 1100*int64(len(b)) {
			t.Fatalf("%q has %d bytes in a file of %d", name, n, len(b))
		}
		// A storage that is compressed wrongly shows when it is read.
		if err := x.ReadInto(make([]byte, x.Bytes())); err != nil && !bytes.HasPrefix(b, zipMagic) {
			t.Fatalf("%q: %v", name, err)
		}
	}
}
