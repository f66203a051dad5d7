package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const exchangeProtocol = "/hyprspace/pex/0.0.1"

// exchange tells peers where others are, and asks them as soon as they are connected.
type exchange struct {
	node    *node
	lock    sync.Mutex
	answers map[string]reply
}

func newExchange(n *node) *exchange {
	e := &exchange{node: n, answers: map[string]reply{}}
	n.host.SetStreamHandler(exchangeProtocol, e.handle)
	n.host.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, connection network.Conn) {
			id := connection.RemotePeer()
			if n.peers[id] {
				go e.remember(id.String())
			}
		},
	})
	return e
}

func (e *exchange) handle(stream network.Stream) {
	asker := stream.Conn().RemotePeer()
	_ = stream.SetDeadline(time.Now().Add(within))
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil || line != "r\n" || !e.node.peers[asker] {
		_ = stream.Reset()
		return
	}
	for id := range e.node.peers {
		if id == asker || id == e.node.host.ID() {
			continue
		}
		for _, address := range e.node.host.Peerstore().Addrs(id) {
			_, _ = fmt.Fprintf(stream, "%s|%s\n", id, address)
		}
	}
	_ = stream.Close()
}

func (e *exchange) remember(id string) {
	answer, err := e.ask(id)
	if err != nil {
		answer = reply{"error": err.Error()}
	}
	e.lock.Lock()
	defer e.lock.Unlock()
	e.answers[id] = answer
}

// asked returns what a peer answered that was asked when it was connected last.
func (e *exchange) asked(id string) (answer reply, err error) {
	err = eventually(func() bool {
		e.lock.Lock()
		defer e.lock.Unlock()
		answer = e.answers[id]
		return answer != nil
	})
	return answer, err
}

// ask returns the lines that a peer answers.
func (e *exchange) ask(id string) (reply, error) {
	stream, err := e.node.open(id, exchangeProtocol)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	_ = stream.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(stream, "r\n"); err != nil {
		return nil, err
	}
	bytes, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	return reply{"lines": strings.SplitAfter(string(bytes), "\n")}, nil
}
