package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	packetsProtocol = "/hyprspace/1"
	oneWayProtocol  = "/hyprspace/0.0.1"
	longestPacket   = 1420
)

// packets are those from peers, and the streams to send some.
type packets struct {
	node     *node
	offered  []protocol.ID
	received chan reply
	lock     sync.Mutex
	streams  map[string]network.Stream
}

func newPackets(n *node, oneWay bool) *packets {
	p := &packets{node: n, received: make(chan reply, 1000), streams: map[string]network.Stream{}}
	p.offered = []protocol.ID{packetsProtocol, oneWayProtocol}
	if oneWay {
		p.offered = p.offered[1:]
	}
	for _, name := range p.offered {
		n.host.SetStreamHandler(name, p.handle)
	}
	return p
}

// handle takes a stream that a peer opened; it is sent on as well, if it goes both ways and there is no other.
func (p *packets) handle(stream network.Stream) {
	id := stream.Conn().RemotePeer()
	if !p.node.peers[id] {
		_ = stream.Reset()
		return
	}
	p.lock.Lock()
	if stream.Protocol() == packetsProtocol && p.streams[id.String()] == nil {
		p.streams[id.String()] = stream
	}
	p.lock.Unlock()
	p.readAll(stream, "theirs")
}

func (p *packets) readAll(stream network.Stream, whose string) {
	defer p.forget(stream)
	for {
		var header [2]byte
		if _, err := io.ReadFull(stream, header[:]); err != nil {
			return
		}
		length := binary.LittleEndian.Uint16(header[:])
		if length == 0 || length > longestPacket {
			return
		}
		packet := make([]byte, length)
		if _, err := io.ReadFull(stream, packet); err != nil {
			return
		}
		p.received <- reply{
			"hex":      hex.EncodeToString(packet),
			"protocol": stream.Protocol(),
			"stream":   whose,
			"peer":     stream.Conn().RemotePeer().String(),
		}
	}
}

func (p *packets) forget(stream network.Stream) {
	_ = stream.Close()
	p.lock.Lock()
	defer p.lock.Unlock()
	id := stream.Conn().RemotePeer().String()
	if p.streams[id] == stream {
		delete(p.streams, id)
	}
}

// send sends a packet on the stream that is there, or on one of its own.
func (p *packets) send(id, text string) (reply, error) {
	packet, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	p.lock.Lock()
	stream := p.streams[id]
	p.lock.Unlock()
	if stream == nil {
		if stream, err = p.node.open(id, p.offered...); err != nil {
			return nil, err
		}
		p.lock.Lock()
		p.streams[id] = stream
		p.lock.Unlock()
		if stream.Protocol() == packetsProtocol {
			go p.readAll(stream, "ours")
		}
	}
	framed := append(binary.LittleEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	_ = stream.SetWriteDeadline(time.Now().Add(within))
	if _, err := stream.Write(framed); err != nil {
		p.forget(stream)
		return nil, err
	}
	return reply{"protocol": stream.Protocol()}, nil
}

// receive waits for the next packet.
func (p *packets) receive(limit time.Duration) (reply, error) {
	select {
	case packet := <-p.received:
		return packet, nil
	case <-time.After(limit):
		return nil, errors.New("no packet has come")
	}
}
