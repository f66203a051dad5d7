package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// streams are those that the test itself writes to and reads from.
type streams struct {
	node *node
	all  []network.Stream
}

func newStreams(n *node) *streams { return &streams{node: n} }

// open offers protocols in one negotiation. A name that the peer is known to speak is taken to be agreed upon
// before it has said so, as go-libp2p does.
func (n *node) open(text string, names ...protocol.ID) (network.Stream, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return n.host.NewStream(network.WithNoDial(ctx, "the test says who dials"), id, names...)
}

func (s *streams) open(id string, names []string) (reply, error) {
	stream, err := s.node.open(id, protocol.ConvertFromStrings(names)...)
	if err != nil {
		return nil, err
	}
	s.all = append(s.all, stream)
	return reply{"stream": len(s.all) - 1, "protocol": stream.Protocol()}, nil
}

func (s *streams) at(number int) (network.Stream, error) {
	if number < 0 || number >= len(s.all) {
		return nil, fmt.Errorf("no stream has number %d", number)
	}
	return s.all[number], s.all[number].SetDeadline(time.Now().Add(within))
}

func (s *streams) write(number int, text string) error {
	stream, err := s.at(number)
	if err != nil {
		return err
	}
	bytes, err := hex.DecodeString(text)
	if err != nil {
		return err
	}
	_, err = stream.Write(bytes)
	return err
}

// read reads so many bytes, or fewer if the stream ends before; says whether the end came with the last of them.
func (s *streams) read(number, count int) (reply, error) {
	stream, err := s.at(number)
	if err != nil {
		return nil, err
	}
	bytes, length := make([]byte, count), 0
	for length < count && err == nil {
		var more int
		more, err = stream.Read(bytes[length:])
		length += more
	}
	end := ""
	switch {
	case errors.Is(err, io.EOF):
		end = "closed"
	case errors.Is(err, network.ErrReset):
		end = "reset"
	case err != nil:
		return nil, err
	}
	return reply{"hex": hex.EncodeToString(bytes[:length]), "end": end}, nil
}

// end closes our direction.
func (s *streams) end(number int) error {
	stream, err := s.at(number)
	if err != nil {
		return err
	}
	return stream.CloseWrite()
}

// close closes both directions at once.
func (s *streams) close(number int) error {
	stream, err := s.at(number)
	if err != nil {
		return err
	}
	return stream.Close()
}
