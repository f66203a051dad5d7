/* bridge.c - copies packets between two endpoints, one thread a direction: how fast a small C program is.
 *
 *   bridge ENDPOINT ENDPOINT
 *
 *   tun:NAME                        a TUN device without any header
 *   tunv:NAME                       a TUN device with virtio-net header, checksum and TCP segmentation offload
 *   udp:LOCAL:REMOTE                127.0.0.1, these two ports, one packet a call
 *   udpg:LOCAL:REMOTE               the same with UDP_SEGMENT and UDP_GRO (beside tunv only)
 *   listen:PATH   connect:PATH      Unix stream, u16 big-endian lengths, many packets a write
 *   seqlisten:PATH seqconnect:PATH  Unix SOCK_SEQPACKET, sendmmsg and recvmmsg
 *   tap:NAME                        a TAP device, whose packets are Ethernet frames, without any header
 *   lelisten:PATH leconnect:PATH    Unix stream, u16 little-endian lengths, many frames a write
 *   dgram:PATH                      Unix SOCK_DGRAM, bound beside PATH and connected to it, sendmmsg and recvmmsg
 *   vde:DIRECTORY                   a port of a vde_switch, sendmmsg and recvmmsg
 *   fd:CONTROL:ADDRESS:ROUTE        the TUN descriptor that hypertap hands over its control socket
 *
 * Runs until it is killed or one side ends. Linux only; needs CAP_NET_ADMIN for tun, tunv and tap.
 */
#include "bridge.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct direction {
  struct endpoint from, to;
};

/* An error after which the next call may well succeed: nobody listens yet, or a signal came. */
static int passing(int error) { return error == EINTR || error == ECONNREFUSED || error == EAGAIN; }

void tun_write(int tun, const void *packet, size_t length) {
  if (write(tun, packet, length) < 0 && errno == EBADFD) die("write", "tun");
}

static void copy_each(int from, int to) {
  static _Thread_local uint8_t packet[PACKET_MAX];
  for (;;) {
    ssize_t length = read(from, packet, sizeof packet);
    if (length > 0) {
      if (write(to, packet, length) < 0 && errno == EBADFD) return;
    } else if (length == 0 || !passing(errno)) {
      return;
    }
  }
}

static void *run(void *argument) {
  struct direction *d = argument;
  int from = d->from.fd, to = d->to.fd;
  enum kind in = d->from.kind, out = d->to.kind;
  if (in == TUN_VNET && out == UDP_TRAIN) vnet_to_gso(from, to);
  else if (in == UDP_TRAIN && out == TUN_VNET) gso_to_vnet(from, to);
  else if (in == TUN && (out == STREAM || out == STREAM_LE)) tun_to_stream(from, to, out == STREAM_LE);
  else if ((in == STREAM || in == STREAM_LE) && out == TUN) stream_to_tun(from, to, in == STREAM_LE);
  else if (in == TUN && out == MESSAGES) tun_to_messages(from, to);
  else if (in == MESSAGES && out == TUN) messages_to_tun(from, to);
  else if (in <= UDP && out <= UDP) copy_each(from, to);
  else fprintf(stderr, "bridge: these two endpoints do not go together\n");
  exit(1); /* one direction without the other is of no use */
}

int main(int count, char **words) {
  if (count != 3) {
    fprintf(stderr, "usage: bridge ENDPOINT ENDPOINT (see the head of bridge.c)\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  struct endpoint left = endpoint_open(words[1]), right = endpoint_open(words[2]);
  struct direction there = {left, right}, back = {right, left};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, &there)) die("pthread_create", "");
  run(&back);
}
