package dist

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A line is what joins every process to rank 0 beside the group: TCP, with a JSON value per message. Work is
// handed out over it and failures are told; and since the system closes it when a process dies, however
// it dies, the others learn of that.
type line struct {
	rank, size int
	welcome    welcome
	fatal      func(text string) // ends this process; with a text, says it first

	mu      sync.Mutex
	peers   []*peer // by rank; of rank 0 all others, of the others rank 0 only
	ended   bool    // orderly, or by a failure that was told
	waiting int     // ranks that are at a barrier
	opened  *sync.Cond
	passed  int // barriers that were passed
	orders  chan json.RawMessage
	told    chan struct{} // closed when rank 0 has nothing more to say
}

type peer struct {
	net.Conn
	enc   *json.Encoder
	dec   *json.Decoder
	hello hello
	mu    sync.Mutex
}

// A hello is the first message of a process, a welcome rank 0's answer once all are there.
type hello struct {
	Rank, Size, PID int
	Host, Machine   string // name, and what tells machines of one name apart
	Version         string // of the program: another one would compute something else
}

type welcome struct {
	PMI  int     `json:",omitempty"` // port of rank 0 at which an MPI library finds the others
	NCCL []byte  `json:",omitempty"` // the id of the communicator
	All  []hello // by rank
}

// A message is any other.
type message struct {
	Kind  string          // order, barrier, failed or bye
	Order json.RawMessage `json:",omitempty"`
	Text  string          `json:",omitempty"` // of a failure
}

const (
	kindOrder   = "order"
	kindBarrier = "barrier"
	kindFailed  = "failed"
	kindBye     = "bye"
)

// joinTime is how long ranks wait for each other; clusters start machines minutes apart.
const joinTime = 15 * time.Minute

func greet(p Place, version string) hello {
	host, _ := os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return hello{Rank: p.Rank, Size: p.Size, PID: os.Getpid(), Host: host, Machine: host + " " + strings.TrimSpace(string(boot)), Version: version}
}

// newPeer notices within half a minute that a machine at the other end is gone; of a process that is gone
// the system tells at once.
func newPeer(c net.Conn) *peer {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 4})
	}
	return &peer{Conn: c, enc: json.NewEncoder(c), dec: json.NewDecoder(c)}
}

func (p *peer) send(v any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.SetWriteDeadline(time.Now().Add(20 * time.Second))
	return p.enc.Encode(v)
}

func newLine(p Place) *line {
	l := &line{rank: p.Rank, size: p.Size, peers: make([]*peer, p.Size), orders: make(chan json.RawMessage, 16), told: make(chan struct{})}
	l.opened = sync.NewCond(&l.mu)
	return l
}

// lead waits at a listener for all other ranks and welcomes them; prepare fills in what the welcome says
// beyond who is there.
func lead(listener net.Listener, p Place, version string, log func(string), prepare func(w *welcome) error) (*line, error) {
	defer listener.Close()
	l := newLine(p)
	l.welcome.All = make([]hello, p.Size)
	l.welcome.All[0] = greet(p, version)
	deadline := time.Now().Add(joinTime)
	said := time.AfterFunc(10*time.Second, func() { log(fmt.Sprintf("process 0 of %d waits for the others at %s", p.Size, listener.Addr())) })
	defer said.Stop()
	for there := 1; there < p.Size; {
		listener.(*net.TCPListener).SetDeadline(deadline)
		c, err := listener.Accept()
		if err != nil {
			var missing []string
			for rank := 1; rank < p.Size; rank++ {
				if l.peers[rank] == nil {
					missing = append(missing, fmt.Sprint(rank))
				}
			}
			return nil, fmt.Errorf("waiting at %s for %d processes: number %s did not come: %w", listener.Addr(), p.Size, strings.Join(missing, ", "), err)
		}
		q := newPeer(c)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := q.dec.Decode(&q.hello); err != nil { // somebody else who knocks at ports
			c.Close()
			continue
		}
		c.SetReadDeadline(time.Time{})
		h := q.hello
		var wrong string
		switch {
		case h.Size != p.Size || h.Rank < 1 || h.Rank >= p.Size:
			wrong = fmt.Sprintf("process %d of %d on %s came to a run of %d processes: is MASTER_PORT that of another run?", h.Rank, h.Size, h.Host, p.Size)
		case h.Version != version:
			wrong = fmt.Sprintf("process %d on %s is must %s, process 0 is must %s: use one version everywhere", h.Rank, h.Host, h.Version, version)
		case l.peers[h.Rank] != nil:
			wrong = fmt.Sprintf("two processes (on %s and %s) are number %d of %d: give each a rank of its own", l.peers[h.Rank].hello.Host, h.Host, h.Rank, h.Size)
		}
		if wrong != "" {
			q.send(welcome{})
			return nil, errors.New(wrong)
		}
		l.peers[h.Rank], l.welcome.All[h.Rank] = q, h
		there++
	}
	if err := prepare(&l.welcome); err != nil {
		return nil, err
	}
	for _, q := range l.peers[1:] {
		if err := q.send(l.welcome); err != nil {
			return nil, fmt.Errorf("process %d on %s: %w", q.hello.Rank, q.hello.Host, err)
		}
	}
	return l, nil
}

// follow goes to rank 0, which may not be there yet, at one of several addresses.
func follow(addresses []string, p Place, version string, log func(string)) (*line, error) {
	l := newLine(p)
	deadline := time.Now().Add(joinTime)
	said := time.AfterFunc(30*time.Second, func() {
		log(fmt.Sprintf("process %d of %d waits for process 0 at %s", p.Rank, p.Size, strings.Join(addresses, ", ")))
	})
	defer said.Stop()
	var conn net.Conn
	for conn == nil {
		var err error
		for _, a := range addresses {
			if conn, err = net.DialTimeout("tcp", a, 5*time.Second); err == nil {
				break
			}
		}
		if err != nil && time.Now().After(deadline) {
			return nil, fmt.Errorf("process %d of %d cannot reach process 0: %w", p.Rank, p.Size, err)
		}
		if conn == nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
	q := newPeer(conn)
	if err := q.send(greet(p, version)); err != nil {
		return nil, err
	}
	conn.SetReadDeadline(deadline)
	if err := q.dec.Decode(&l.welcome); err != nil || len(l.welcome.All) != p.Size {
		return nil, fmt.Errorf("process %d of %d was turned away by process 0 at %s; its message tells why", p.Rank, p.Size, conn.RemoteAddr())
	}
	conn.SetReadDeadline(time.Time{})
	q.hello = l.welcome.All[0]
	l.peers[0] = q
	return l, nil
}

// listen hears what the others say from now on.
func (l *line) listen(fatal func(text string)) {
	l.fatal = fatal
	for rank, q := range l.peers {
		if q != nil {
			go l.hear(rank, q)
		}
	}
}

func (l *line) hear(rank int, q *peer) {
	if rank == 0 {
		defer close(l.told)
	}
	for {
		var m message
		if q.dec.Decode(&m) != nil {
			if l.end() {
				l.lost(rank, q)
			}
			return
		}
		switch m.Kind {
		case kindOrder:
			l.orders <- m.Order
		case kindBarrier:
			l.arrive()
		case kindBye:
			if l.rank == 0 {
				return
			}
			l.end()
			close(l.orders)
			return
		case kindFailed:
			if !l.end() {
				return
			}
			if l.rank > 0 { // rank 0 has said it
				l.fatal("")
				return
			}
			l.tell(message{Kind: kindFailed})
			l.fatal(fmt.Sprintf("%s: %s", name(l.size, q.hello), m.Text))
			return
		}
	}
}

// name tells people which process.
func name(size int, h hello) string {
	return fmt.Sprintf("process %d of %d (pid %d on %s)", h.Rank, size, h.PID, h.Host)
}

// lost ends all for a process whose line broke. Where that was rank 0, the first of those left on each
// machine says so; of its own processes our launcher knows more, and says it.
func (l *line) lost(rank int, q *peer) {
	if l.rank == 0 {
		l.tell(message{Kind: kindFailed})
	}
	if os.Getenv(lifeline) != "" {
		l.fatal("")
		return
	}
	if first := slices.IndexFunc(l.welcome.All, func(h hello) bool { return h.Rank > 0 && h.Machine == l.welcome.All[l.rank].Machine }); l.rank > 0 && first != l.rank {
		l.fatal("")
		return
	}
	l.fatal(name(l.size, q.hello) + " died without a word (killed, out of memory, or its machine is gone): all processes end here; the same command goes on from what was saved last")
}

// end marks the end, and reports whether this is the first to do so.
func (l *line) end() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.ended
	l.ended = true
	l.opened.Broadcast()
	return first
}

// tell sends to all at the other end of this process's lines.
func (l *line) tell(m message) (err error) {
	for _, q := range l.peers {
		if q != nil {
			err = errors.Join(err, q.send(m))
		}
	}
	return err
}

// arrive counts a rank that has come to a barrier; of others than rank 0, that all have.
func (l *line) arrive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting++; l.rank == 0 && l.waiting < l.size {
		return
	}
	l.waiting = 0
	l.passed++
	if l.rank == 0 {
		l.tell(message{Kind: kindBarrier})
	}
	l.opened.Broadcast()
}

// barrier waits until all ranks have come to it, without using the processor meanwhile.
func (l *line) barrier() error {
	l.mu.Lock()
	next := l.passed + 1
	l.mu.Unlock()
	if l.rank == 0 {
		l.arrive()
	} else if err := l.tell(message{Kind: kindBarrier}); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.passed < next && !l.ended {
		l.opened.Wait()
	}
	if l.passed < next {
		return errEnded
	}
	return nil
}

var errEnded = errors.New("the other processes have ended")

// fail tells the others that this process ends by an error. It reports whether it is this process's to
// say so: rank 0 says it for the others, where it can be reached.
func (l *line) fail(text string) (mine bool) {
	if !l.end() {
		return false
	}
	if err := l.tell(message{Kind: kindFailed, Text: text}); err != nil || l.rank == 0 {
		return true
	}
	select {
	case <-l.told:
		return false
	case <-time.After(5 * time.Second):
		return true
	}
}

// bye says that nothing more will come from here, so that the end of the line is no failure.
func (l *line) bye() {
	if l.end() {
		l.tell(message{Kind: kindBye})
	}
}

func (l *line) close() {
	for _, q := range l.peers {
		if q != nil {
			q.Close()
		}
	}
}
