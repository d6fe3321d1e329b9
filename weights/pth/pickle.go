package pth

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxOps limits the steps of a pickle, and by that the memory that its objects take; a network has
// some 40 per tensor.
const maxOps = 4 << 20

// What a pickle builds, besides nil, bool, int64, float64, string and *[Tensor].
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ items map[string]any } // of the names among its keys
	global string                         // a class or function, "module.name"
	object string                         // something of a class that no state dict needs
	unread string                         // the same where tensors went into it
)

// A machine follows one pickle.
type machine struct {
	in      *bufio.Reader
	read    int64 // bytes so far
	limit   int64
	storage func(key string, s *storage) (*storage, error) // completes what a tensor is a view of

	skipped map[string]bool // what was left out unmade, by name
	looks   int             // see hasTensor

	stack []any
	marks []int // depths of the stack
	memo  map[int64]any
}

func newMachine(in *bufio.Reader, limit int64) *machine {
	return &machine{in: in, limit: limit, skipped: map[string]bool{}, memo: map[int64]any{}}
}

// A failure is panicked with by the machine's parts and returned by run.
type failure struct{ error }

func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// run follows the pickle to its end and returns what it built.
func (m *machine) run() (v any, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("pickle, byte %d: %w", m.read, p.error)
		default:
			panic(p)
		}
	}()
	for range maxOps {
		if m.step() {
			return m.pop(), nil
		}
	}
	fail("more than %d steps; in Python, save the state dict alone", maxOps)
	return
}

// bytes reads the next n bytes. Memory grows as they come, not as they are announced.
func (m *machine) bytes(n uint64) []byte {
	if n > uint64(m.limit-m.read) {
		fail("%d bytes announced where %d are left", n, m.limit-m.read)
	}
	if n <= 512 {
		b := make([]byte, n)
		if _, err := io.ReadFull(m.in, b); err != nil {
			fail("cut short")
		}
		m.read += int64(n)
		return b
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, m.in, int64(n)); err != nil {
		fail("cut short")
	}
	m.read += int64(n)
	return b.Bytes()
}

// byte reads the next one, as bytes does, but quickly: most steps are of one byte.
func (m *machine) byte() byte {
	b, err := m.in.ReadByte()
	if err != nil || m.read >= m.limit {
		fail("cut short")
	}
	m.read++
	return b
}

// uint reads a little-endian number of n bytes.
func (m *machine) uint(n uint64) uint64 {
	var b [8]byte
	copy(b[:], m.bytes(n))
	return binary.LittleEndian.Uint64(b[:])
}

// line reads up to the next newline.
func (m *machine) line() string {
	var b []byte
	for {
		c := m.byte()
		if c == '\n' {
			return string(b)
		}
		if b = append(b, c); len(b) > 1000 {
			fail("a name of more than 1000 bytes")
		}
	}
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// floor is the depth above which the stack's values belong to the step at hand.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() any {
	v := m.top()
	m.stack = m.stack[:len(m.stack)-1]
	return v
}

func (m *machine) top() any {
	if len(m.stack) <= m.floor() {
		fail("it takes from an empty stack")
	}
	return m.stack[len(m.stack)-1]
}

// popMark takes all values above the last mark.
func (m *machine) popMark() []any {
	if len(m.marks) == 0 {
		fail("it takes up to a mark that is not there")
	}
	at := m.floor()
	values := append([]any(nil), m.stack[at:]...)
	m.stack, m.marks = m.stack[:at], m.marks[:len(m.marks)-1]
	return values
}

func (m *machine) popN(n int) tuple {
	t := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		t[i] = m.pop()
	}
	return t
}

func (m *machine) get(i uint64) {
	v, ok := m.memo[int64(i)]
	if !ok {
		fail("it recalls value %d, which it never stored", i)
	}
	m.push(v)
}

// step follows one opcode; at the last it returns true.
func (m *machine) step() (end bool) {
	switch op := m.byte(); op {
	case 0x80: // PROTO
		if v := m.byte(); v > 5 {
			fail("pickle protocol %d; 5 is the newest known", v)
		}
	case 0x95: // FRAME
		m.bytes(8)
	case '.': // STOP
		return true

	case '(': // MARK
		m.marks = append(m.marks, len(m.stack))
	case '0': // POP
		m.pop()
	case '1': // POP_MARK
		m.popMark()
	case '2': // DUP
		m.push(m.top())

	case 'N': // NONE
		m.push(nil)
	case 0x88: // NEWTRUE
		m.push(true)
	case 0x89: // NEWFALSE
		m.push(false)
	case 'J': // BININT
		m.push(int64(int32(m.uint(4))))
	case 'K': // BININT1
		m.push(int64(m.uint(1)))
	case 'M': // BININT2
		m.push(int64(m.uint(2)))
	case 0x8a: // LONG1
		m.long(m.uint(1))
	case 0x8b: // LONG4
		m.long(m.uint(4))
	case 'G': // BINFLOAT
		m.push(math.Float64frombits(binary.BigEndian.Uint64(m.bytes(8))))
	case 'X', 'T', 'B': // BINUNICODE, BINSTRING, BINBYTES
		m.push(string(m.bytes(m.uint(4))))
	case 0x8c, 'U', 'C': // SHORT_BINUNICODE, SHORT_BINSTRING, SHORT_BINBYTES
		m.push(string(m.bytes(m.uint(1))))
	case 0x8d, 0x8e, 0x96: // BINUNICODE8, BINBYTES8, BYTEARRAY8
		m.push(string(m.bytes(m.uint(8))))

	case ')': // EMPTY_TUPLE
		m.push(tuple{})
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		m.push(m.popN(int(op - 0x84)))
	case 't': // TUPLE
		m.push(tuple(m.popMark()))
	case ']': // EMPTY_LIST
		m.push(&list{})
	case 'l': // LIST
		m.push(&list{m.popMark()})
	case 'a': // APPEND
		v := m.pop()
		m.extend([]any{v})
	case 'e': // APPENDS
		m.extend(m.popMark())
	case '}': // EMPTY_DICT
		m.push(newDict())
	case 'd': // DICT
		values := m.popMark()
		m.push(newDict())
		m.set(values)
	case 's': // SETITEM
		m.set(m.popN(2))
	case 'u': // SETITEMS
		m.set(m.popMark())
	case 0x8f: // EMPTY_SET
		m.push(object("set"))
	case 0x90: // ADDITEMS
		m.popMark()
		m.top()
	case 0x91: // FROZENSET
		m.popMark()
		m.push(object("frozenset"))

	case 'h': // BINGET
		m.get(m.uint(1))
	case 'j': // LONG_BINGET
		m.get(m.uint(4))
	case 'q': // BINPUT
		m.memo[int64(m.uint(1))] = m.top()
	case 'r': // LONG_BINPUT
		m.memo[int64(m.uint(4))] = m.top()
	case 0x94: // MEMOIZE
		m.memo[int64(len(m.memo))] = m.top()

	case 'c': // GLOBAL
		module := m.line()
		m.push(global(module + "." + m.line()))
	case 0x93: // STACK_GLOBAL
		names := m.popN(2)
		module, ok := names[0].(string)
		name, ok2 := names[1].(string)
		if !ok || !ok2 {
			fail("a class without a name")
		}
		m.push(global(module + "." + name))
	case 'R': // REDUCE
		args := m.pop()
		m.push(m.call(m.pop(), args))
	case 0x81: // NEWOBJ
		m.pop()
		m.push(m.instance(m.pop()))
	case 0x92: // NEWOBJ_EX
		m.popN(2)
		m.push(m.instance(m.pop()))
	case 'b': // BUILD: attributes, which say nothing of tensors
		m.pop()
		m.top()
	case 'Q': // BINPERSID
		m.push(m.persistent(m.pop()))
	default:
		fail("opcode %#02x, which torch.save does not write; in Python, load the file and save its state dict anew", op)
	}
	return false
}

// long pushes an integer of n bytes, two's complement.
func (m *machine) long(n uint64) {
	b := m.bytes(n)
	if len(b) > 8 {
		m.push(object("int"))
		return
	}
	var full [8]byte
	copy(full[:], b)
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		for i := len(b); i < 8; i++ {
			full[i] = 0xff
		}
	}
	m.push(int64(binary.LittleEndian.Uint64(full[:])))
}

// extend appends to the list on top of the stack.
func (m *machine) extend(values []any) {
	switch l := m.top().(type) {
	case *list:
		l.items = append(l.items, values...)
	case object:
	default:
		fail("it appends to what is no list")
	}
}

func newDict() *dict { return &dict{map[string]any{}} }

// set sets keys and values that follow each other in the dict on top of the stack.
func (m *machine) set(values []any) {
	d, ok := m.top().(*dict)
	if _, other := m.top().(object); other {
		return
	}
	if !ok || len(values)%2 != 0 {
		fail("it sets items of what is no dict, or a key without a value")
	}
	for i := 0; i < len(values); i += 2 {
		if key, ok := values[i].(string); ok {
			d.items[key] = values[i+1]
		}
	}
}

// instance makes an object of a class without telling the class so.
func (m *machine) instance(class any) any {
	g, ok := class.(global)
	switch {
	case !ok:
		panic(failure{errors.New("it makes an object of what is no class")})
	case dicts[g]:
		return newDict()
	}
	return m.skip(g, nil)
}
