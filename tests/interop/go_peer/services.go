package main

import (
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

const serviceProtocol = "/hyprspace/service/0.0.1"

const (
	goAhead       = 0xf1
	noSuchService = 0xf2
	notAuthorised = 0xf3
)

type service struct {
	target string
	denied []string
}

// services are what this node serves, and the way to those of others.
type services struct {
	node *node
	lock sync.Mutex
	all  map[uint16]service
}

func newServices(n *node) *services {
	s := &services{node: n, all: map[uint16]service{}}
	n.host.SetStreamHandler(serviceProtocol, s.handle)
	return s
}

func (s *services) serve(id uint16, target string, denied []string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.all[id] = service{target, denied}
	return nil
}

// handle serves a stream. The target is connected to after the peer has been told to go ahead.
func (s *services) handle(stream network.Stream) {
	client := stream.Conn().RemotePeer()
	var id [2]byte
	if _, err := io.ReadFull(stream, id[:]); err != nil || !s.node.peers[client] {
		_ = stream.Reset()
		return
	}
	s.lock.Lock()
	service, there := s.all[binary.BigEndian.Uint16(id[:])]
	s.lock.Unlock()
	answer := byte(goAhead)
	if !there {
		answer = noSuchService
	} else if slices.Contains(service.denied, client.String()) {
		answer = notAuthorised
	}
	_, err := stream.Write([]byte{answer})
	if err != nil || answer != goAhead {
		_ = stream.Close()
		return
	}
	target, err := net.Dial("tcp", service.target)
	if err != nil {
		log.Printf("a target: %v", err)
		_ = stream.Close()
		return
	}
	splice(stream, target)
}

// forward listens for programs that are brought to a peer's service. A program is accepted before the peer is
// asked.
func (s *services) forward(id string, service uint16) (reply, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			program, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				stream, err := s.ask(id, service)
				if err != nil {
					log.Printf("a service: %v", err)
					_ = program.Close()
					return
				}
				splice(stream, program)
			}()
		}
	}()
	return reply{"address": listener.Addr().String()}, nil
}

// ask opens a stream to a service. An answer that comes together with the stream's end counts as none.
func (s *services) ask(id string, service uint16) (network.Stream, error) {
	stream, err := s.node.open(id, serviceProtocol)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(binary.BigEndian.AppendUint16(nil, service)); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := stream.Read(answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != goAhead {
		_ = stream.Close()
		return nil, errors.New("refused")
	}
	return stream, nil
}

// splice joins a stream and a connection, until the first of the two directions ends.
func splice(stream network.Stream, connection net.Conn) {
	var once sync.Once
	end := func() {
		_ = stream.Close()
		_ = connection.Close()
	}
	go func() {
		_, _ = io.Copy(stream, connection)
		once.Do(end)
	}()
	_, _ = io.Copy(connection, stream)
	once.Do(end)
}
