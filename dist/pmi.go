package dist

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"sync"
)

// A directory is where the processes of an MPI world that no MPI launcher started find each other: it
// answers the process management interface, version 1, that MPICH, Intel MPI and MVAPICH speak over TCP
// (PMI_PORT): a table of addresses that all fill in and read, with a barrier between. Open MPI has no such.
type directory struct {
	size int
	name string // by which the library calls what it shares in memory: no two worlds may have the same

	mu      sync.Mutex
	values  map[string]string
	waiting []chan struct{}
}

// serveDirectory answers so many processes until all have gone. It returns the port.
func serveDirectory(machines []string) (port int, err error) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		return 0, err
	}
	d := &directory{size: len(machines), name: "must-" + rand.Text(), values: map[string]string{"PMI_process_mapping": mapping(machines)}}
	go func() {
		defer listener.Close()
		for range d.size {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go d.serve(c)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// mapping says which ranks share a machine, as PMI writes it: blocks of (machine, machines, ranks on each).
func mapping(machines []string) string {
	number := map[string]int{}
	var b strings.Builder
	b.WriteString("(vector")
	for i := 0; i < len(machines); {
		m := machines[i]
		if _, known := number[m]; !known {
			number[m] = len(number)
		}
		first := i
		for i < len(machines) && machines[i] == m {
			i++
		}
		fmt.Fprintf(&b, ",(%d,1,%d)", number[m], i-first)
	}
	return b.String() + ")"
}

func (d *directory) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewScanner(c)
	for in.Scan() {
		fields := map[string]string{}
		for _, f := range strings.Fields(in.Text()) {
			if k, v, ok := strings.Cut(f, "="); ok {
				fields[k] = v
			}
		}
		var answer string
		switch command := fields["cmd"]; command {
		case "initack":
			answer = fmt.Sprintf("cmd=initack rc=0\ncmd=set size=%d\ncmd=set rank=%s\ncmd=set debug=0", d.size, fields["pmiid"])
		case "init":
			answer = "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0"
		case "get_maxes":
			answer = "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024 rc=0"
		case "get_appnum":
			answer = "cmd=appnum appnum=0 rc=0"
		case "get_universe_size":
			answer = fmt.Sprintf("cmd=universe_size size=%d rc=0", d.size)
		case "get_my_kvsname":
			answer = "cmd=my_kvsname kvsname=" + d.name + " rc=0"
		case "put":
			_, value, _ := strings.Cut(in.Text(), "value=")
			d.mu.Lock()
			d.values[fields["key"]] = value
			d.mu.Unlock()
			answer = "cmd=put_result rc=0 msg=success"
		case "get":
			d.mu.Lock()
			value, ok := d.values[fields["key"]]
			d.mu.Unlock()
			if answer = "cmd=get_result rc=0 msg=success value=" + value; !ok {
				answer = "cmd=get_result rc=-1 msg=key_not_found value=unknown"
			}
		case "barrier_in":
			<-d.arrive()
			answer = "cmd=barrier_out rc=0"
		case "finalize":
			answer = "cmd=finalize_ack rc=0"
		default:
			answer = "cmd=" + command + "_result rc=-1 msg=unknown"
		}
		if _, err := fmt.Fprintln(c, answer); err != nil {
			return
		}
	}
}

// arrive returns what opens when all processes have come.
func (d *directory) arrive() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	open := make(chan struct{})
	if d.waiting = append(d.waiting, open); len(d.waiting) == d.size {
		for _, w := range d.waiting {
			close(w)
		}
		d.waiting = nil
	}
	return open
}
