// Command go_peer behaves on the wire as a Hyprspace v0.15 node does, on go-libp2p, for the tests of a node
// beside it. It has no interface: what it is to do comes as lines of JSON on standard input, each
// answered by a line on standard output. Its first line says who it is and where it listens.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multibase"
)

// within is how long anything may take that happens at once.
const within = 10 * time.Second

// request is a line of standard input. Which fields it has depends on what is to be done.
type request struct {
	Do       string   `json:"do"`
	Address  string   `json:"address"`
	Peer     string   `json:"peer"`
	Names    []string `json:"names"`
	Stream   int      `json:"stream"`
	Hex      string   `json:"hex"`
	Count    int      `json:"count"`
	Service  uint16   `json:"service"`
	Denied   []string `json:"denied"`
	Is       bool     `json:"is"`
	Duration float64  `json:"seconds"`
}

// reply is what the fields of an answer are; an error is one named error.
type reply map[string]any

// node is this peer with all that it speaks.
type node struct {
	host       host.Host
	peers      map[peer.ID]bool
	streams    *streams
	services   *services
	packets    *packets
	exchange   *exchange
	identified event.Subscription
}

type words []string

func (w *words) String() string     { return strings.Join(*w, " ") }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

func main() {
	log.SetFlags(log.Lmicroseconds)
	var listen, announce, peers words
	key := flag.String("key", "", "private key in multibase; without it a new one")
	security := flag.String("security", "tls,noise", "what TCP is secured by, the preferred first")
	oneWay := flag.Bool("one-way", false, "speak only the older protocol of packets")
	flag.Var(&listen, "listen", "multiaddr to listen on")
	flag.Var(&announce, "announce", "multiaddr that others are told of besides")
	flag.Var(&peers, "peer", "id, or multiaddr with an id, of a node that is served")
	flag.Parse()
	options, err := hostOptions(*key, *security, announce)
	if err != nil {
		log.Fatal(err)
	}
	host, err := libp2p.New(options...)
	if err != nil {
		log.Fatal(err)
	}
	n := &node{host: host, peers: map[peer.ID]bool{}}
	n.identified, err = host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		log.Fatal(err)
	}
	n.streams = newStreams(n)
	n.services = newServices(n)
	n.packets = newPackets(n, *oneWay)
	n.exchange = newExchange(n)
	for _, text := range peers {
		if err := n.addPeer(text); err != nil {
			log.Fatalf("%s: %v", text, err)
		}
	}
	// Only now, when everybody who may come is known.
	for _, text := range listen {
		if err := n.listen(text); err != nil {
			log.Fatalf("%s: %v", text, err)
		}
	}
	say(reply{"id": host.ID().String(), "addresses": host.Addrs()})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		err := json.Unmarshal(lines.Bytes(), &r)
		var answer reply
		if err == nil {
			answer, err = n.do(r)
		}
		if err != nil {
			answer = reply{"error": err.Error()}
		} else if answer == nil {
			answer = reply{}
		}
		say(answer)
	}
	_ = host.Close()
}

func say(r reply) {
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err)
	}
}

func hostOptions(key, security string, announce words) ([]libp2p.Option, error) {
	options := []libp2p.Option{
		libp2p.NoListenAddrs,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.UserAgent("hyprspace/v0.15.0"),
	}
	for _, name := range strings.Split(security, ",") {
		switch name {
		case "tls":
			options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New))
		case "noise":
			options = append(options, libp2p.Security(noise.ID, noise.New))
		default:
			return nil, fmt.Errorf("no security is named %s", name)
		}
	}
	var announced []multiaddr.Multiaddr
	for _, text := range announce {
		address, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return nil, err
		}
		announced = append(announced, address)
	}
	options = append(options, libp2p.AddrsFactory(func(own []multiaddr.Multiaddr) []multiaddr.Multiaddr {
		return append(append([]multiaddr.Multiaddr{}, own...), announced...)
	}))
	if key == "" {
		return options, nil
	}
	_, bytes, err := multibase.Decode(key)
	if err != nil {
		return nil, err
	}
	private, err := crypto.UnmarshalPrivateKey(bytes)
	if err != nil {
		return nil, err
	}
	return append(options, libp2p.Identity(private)), nil
}

func (n *node) do(r request) (reply, error) {
	switch r.Do {
	case "connect":
		return nil, n.connect(r.Address)
	case "connections":
		return n.connections(r.Peer)
	case "listed":
		return n.listed()
	case "wait":
		return nil, n.wait(r.Peer, r.Is)
	case "open":
		return n.streams.open(r.Peer, r.Names)
	case "write":
		return nil, n.streams.write(r.Stream, r.Hex)
	case "read":
		return n.streams.read(r.Stream, r.Count)
	case "end":
		return nil, n.streams.end(r.Stream)
	case "close":
		return nil, n.streams.close(r.Stream)
	case "serve":
		return nil, n.services.serve(r.Service, r.Address, r.Denied)
	case "forward":
		return n.services.forward(r.Peer, r.Service)
	case "send":
		return n.packets.send(r.Peer, r.Hex)
	case "receive":
		return n.packets.receive(time.Duration(r.Duration * float64(time.Second)))
	case "exchange":
		return n.exchange.ask(r.Peer)
	case "exchanged":
		return n.exchange.asked(r.Peer)
	}
	return nil, fmt.Errorf("nothing is named %q", r.Do)
}

func (n *node) listen(text string) error {
	address, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		return err
	}
	return n.host.Network().Listen(address)
}

// addPeer has a node served; what its multiaddr says is known of it.
func (n *node) addPeer(text string) error {
	if !strings.HasPrefix(text, "/") {
		id, err := peer.Decode(text)
		n.peers[id] = true
		return err
	}
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return err
	}
	n.peers[info.ID] = true
	n.host.Peerstore().AddAddrs(info.ID, info.Addrs, 24*time.Hour)
	return nil
}

func (n *node) connect(address string) error {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return n.host.Connect(ctx, *info)
}

func (n *node) connections(text string) (reply, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return nil, err
	}
	all := []reply{}
	for _, connection := range n.host.Network().ConnsToPeer(id) {
		state := connection.ConnState()
		all = append(all, reply{
			"transport": state.Transport,
			"security":  state.Security,
			"inbound":   connection.Stat().Direction == network.DirInbound,
		})
	}
	return reply{"connections": all}, nil
}

// listed returns the addresses that the next peer which says who it is has listed.
func (n *node) listed() (reply, error) {
	select {
	case identified := <-n.identified.Out():
		return reply{"addresses": identified.(event.EvtPeerIdentificationCompleted).ListenAddrs}, nil
	case <-time.After(within):
		return nil, errors.New("nobody has said who it is")
	}
}

// wait returns when a peer is connected, or is not.
func (n *node) wait(text string, connected bool) error {
	id, err := peer.Decode(text)
	if err != nil {
		return err
	}
	return eventually(func() bool {
		return (n.host.Network().Connectedness(id) == network.Connected) == connected
	})
}

func eventually(holds func() bool) error {
	for deadline := time.Now().Add(within); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("not in time")
		}
	}
	return nil
}
