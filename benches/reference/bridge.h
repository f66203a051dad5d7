/* bridge.h - what the parts of the reference bridge share. See bridge.c for what it is. */
#ifndef BRIDGE_H
#define BRIDGE_H

#include <stddef.h>
#include <stdint.h>

/* The largest packet that a TUN device hands over: 64 KiB, with room for a virtio-net header before it. */
#define PACKET_MAX 65550

enum kind {
  TUN,       /* one packet a read; or a TAP, one Ethernet frame a read */
  UDP,       /* one packet a datagram */
  TUN_VNET,  /* TUN behind a virtio-net header, with checksum and TCP segmentation left to the reader */
  UDP_TRAIN, /* UDP with UDP_SEGMENT and UDP_GRO: equally long datagrams, end to end, in one call */
  STREAM,    /* u16 big-endian length, then the packet */
  STREAM_LE, /* the same with little-endian lengths, as tapserver's clients send them */
  MESSAGES,  /* one packet a message: SOCK_SEQPACKET, or SOCK_DGRAM that is connected */
};

struct endpoint {
  enum kind kind;
  int fd;
};

/* endpoint.c: opens what `spec` names, ends the process with a message when that fails. */
struct endpoint endpoint_open(const char *spec);
_Noreturn void die(const char *what, const char *which);

/* hypertap.c: asks the daemon behind the Unix socket `control` for a tunnel and its TUN descriptor. */
int hypertap_descriptor(const char *control, const char *address, const char *route);

/* vde.c: a port of the vde_switch whose control directory is `directory`. */
int vde_port(const char *directory);

/* offload.c: whole TCP segments on the TUN, trains of datagrams on the socket. */
void vnet_to_gso(int tun, int udp);
void gso_to_vnet(int udp, int tun);

/* batch.c: many packets a system call on the program's side. */
void tun_to_stream(int tun, int stream, int little_endian);
void stream_to_tun(int stream, int tun, int little_endian);
void tun_to_messages(int tun, int sock);
void messages_to_tun(int sock, int tun);

/* A packet that the TUN does not take (its interface is not up yet) is a lost packet, as on any link. */
void tun_write(int tun, const void *packet, size_t length);

#endif
