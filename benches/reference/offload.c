/* offload.c - whole TCP segments between a TUN with virtio-net header and UDP with GSO and GRO.
 *
 * Out: the kernel hands over a TCP segment of up to 64 KiB with its checksum left open. It is cut into packets of the
 * connection's MSS, each a raw IP packet with both checksums right, laid end to end; all but the last are equally
 * long, which is just what one sendmsg with UDP_SEGMENT takes.
 * In: UDP_GRO returns such a train in one recvmsg. Neighbours that continue each other are joined again and written
 * as one segment whose checksum the kernel completes. IPv4 only: the benchmark has no other traffic.
 */
#define _GNU_SOURCE
#include "bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

#define SEGMENTS 64        /* UDP_MAX_SEGMENTS of kernels before 6.10 */
#define DATAGRAM_MAX 65000 /* of a train, a little under what IPv4 allows */
#define CUT_MAX (1 << 18)  /* 64 KiB cut at the smallest MSS in use still fits, headers repeated */

static uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* The one's complement sum of RFC 1071, not yet complemented, on top of `sum`; all in the byte order of the wire. */
static uint16_t sum16(const void *bytes, size_t length, uint64_t sum) {
  const uint8_t *at = bytes;
  for (; length >= 4; at += 4, length -= 4) {
    uint32_t word;
    memcpy(&word, at, 4);
    sum += word;
  }
  uint32_t tail = 0;
  memcpy(&tail, at, length);
  return fold(sum + tail);
}

static uint64_t pseudo_sum(const struct iphdr *ip, size_t tcp_length) {
  return sum16(&ip->saddr, 8, 0) + htons(IPPROTO_TCP) + htons(tcp_length);
}

static void seal_ip(struct iphdr *ip, size_t length) {
  ip->tot_len = htons(length);
  ip->check = 0;
  ip->check = ~sum16(ip, ip->ihl * 4, 0);
}

/* Cuts one segment at `mss` into `out`; the length of all but the last packet, and the total in `*total`. */
static size_t cut(const uint8_t *packet, size_t length, size_t mss, uint8_t *out, size_t *total) {
  const struct iphdr *ip = (const struct iphdr *)packet;
  const struct tcphdr *tcp = (const struct tcphdr *)(packet + ip->ihl * 4);
  size_t headers = ip->ihl * 4 + tcp->doff * 4;
  uint32_t sequence = ntohl(tcp->seq);
  uint16_t id = ntohs(ip->id);
  uint8_t *start = out;
  for (size_t offset = headers; offset < length; offset += mss) {
    size_t payload = length - offset < mss ? length - offset : mss;
    struct iphdr *own_ip = (struct iphdr *)out;
    struct tcphdr *own_tcp = (struct tcphdr *)(out + ip->ihl * 4);
    memcpy(out, packet, headers);
    memcpy(out + headers, packet + offset, payload);
    own_ip->id = htons(id++);
    seal_ip(own_ip, headers + payload);
    own_tcp->seq = htonl(sequence + (uint32_t)(offset - headers));
    if (offset + payload < length) own_tcp->fin = own_tcp->psh = 0;
    size_t tcp_length = tcp->doff * 4 + payload;
    own_tcp->check = 0;
    own_tcp->check = ~sum16(own_tcp, tcp_length, pseudo_sum(ip, tcp_length));
    out += headers + payload;
  }
  *total = out - start;
  return headers + mss;
}

static void send_train(int udp, uint8_t *packets, size_t total, size_t each) {
  size_t most = each ? DATAGRAM_MAX / each : 1;
  if (most > SEGMENTS) most = SEGMENTS;
  for (size_t offset = 0; offset < total;) {
    size_t length = total - offset < most * each ? total - offset : most * each;
    union {
      struct cmsghdr header;
      char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } ancillary = {.header = {CMSG_LEN(sizeof(uint16_t)), IPPROTO_UDP, UDP_SEGMENT}};
    uint16_t segment = each;
    memcpy(CMSG_DATA(&ancillary.header), &segment, sizeof segment);
    struct iovec part = {packets + offset, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (length > each) {
      message.msg_control = &ancillary;
      message.msg_controllen = sizeof ancillary;
    }
    sendmsg(udp, &message, 0); /* a datagram that does not leave is a lost packet */
    offset += length;
  }
}

void vnet_to_gso(int tun, int udp) {
  static uint8_t whole[sizeof(struct virtio_net_hdr) + PACKET_MAX], pieces[CUT_MAX];
  const struct virtio_net_hdr *header = (struct virtio_net_hdr *)whole;
  uint8_t *packet = whole + sizeof *header;
  for (;;) {
    ssize_t got = read(tun, whole, sizeof whole);
    if (got < 0 && errno == EINTR) continue;
    if (got <= (ssize_t)(sizeof *header + sizeof(struct iphdr))) return;
    size_t length = got - sizeof *header, total = length, each = length;
    if ((header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4) {
      each = cut(packet, length, header->gso_size, pieces, &total);
      send_train(udp, pieces, total, each);
      continue;
    }
    if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
      uint8_t *from = packet + header->csum_start; /* the field holds the pseudo header's sum already */
      uint16_t check = ~sum16(from, length - header->csum_start, 0);
      if (check == 0) check = 0xffff; /* in UDP zero means that there is none */
      memcpy(from + header->csum_offset, &check, sizeof check);
    }
    send_train(udp, packet, total, each);
  }
}

/* Whether `next` goes on where a segment that ends at `sequence` stopped, in all that a joined header says. */
static int continues(const uint8_t *first, const uint8_t *next, size_t headers, uint32_t sequence) {
  const struct iphdr *a = (const struct iphdr *)first, *b = (const struct iphdr *)next;
  const struct tcphdr *s = (const struct tcphdr *)(first + a->ihl * 4), *t = (const struct tcphdr *)(next + a->ihl * 4);
  return first[0] == next[0] && b->protocol == IPPROTO_TCP && !memcmp(&a->saddr, &b->saddr, 8) &&
         s->source == t->source && s->dest == t->dest && s->ack_seq == t->ack_seq && s->doff == t->doff &&
         s->window == t->window && !(t->syn | t->fin | t->rst | t->urg) && ntohl(t->seq) == sequence &&
         !memcmp(s + 1, t + 1, headers - a->ihl * 4 - sizeof *s);
}

static int joinable(const uint8_t *packet, size_t length) {
  const struct iphdr *ip = (const struct iphdr *)packet;
  if (length <= sizeof *ip + sizeof(struct tcphdr) || ip->version != 4 || ip->protocol != IPPROTO_TCP) return 0;
  const struct tcphdr *tcp = (const struct tcphdr *)(packet + ip->ihl * 4);
  return !(tcp->syn | tcp->fin | tcp->rst | tcp->urg | tcp->psh);
}

/* Writes the packets of one train (each `each` long, the last maybe less), joined where they continue each other. */
static void join(int tun, uint8_t *train, size_t total, size_t each) {
  for (size_t offset = 0; offset < total;) {
    uint8_t *packet = train + offset;
    size_t length = total - offset < each ? total - offset : each;
    struct virtio_net_hdr header = {0};
    struct iovec parts[SEGMENTS + 2] = {{&header, sizeof header}, {packet, length}};
    int count = 2;
    offset += length;
    if (joinable(packet, length)) {
      struct iphdr *ip = (struct iphdr *)packet;
      struct tcphdr *tcp = (struct tcphdr *)(packet + ip->ihl * 4);
      size_t headers = ip->ihl * 4 + tcp->doff * 4, mss = length - headers, joined = length;
      while (offset < total && count < SEGMENTS + 2 && mss) {
        uint8_t *next = train + offset;
        size_t whole = total - offset < each ? total - offset : each;
        if (whole <= headers || whole - headers > mss || joined + whole - headers > DATAGRAM_MAX) break;
        if (!continues(packet, next, headers, ntohl(tcp->seq) + (uint32_t)(joined - headers))) break;
        parts[count++] = (struct iovec){next + headers, whole - headers};
        joined += whole - headers;
        offset += whole;
        if (((struct tcphdr *)(next + ip->ihl * 4))->psh) {
          tcp->psh = 1;
          break;
        }
      }
      if (count > 2) {
        header = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                         .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                         .hdr_len = headers,
                                         .gso_size = mss,
                                         .csum_start = ip->ihl * 4,
                                         .csum_offset = offsetof(struct tcphdr, check)};
        seal_ip(ip, joined);
        size_t tcp_length = joined - ip->ihl * 4;
        tcp->check = fold(pseudo_sum(ip, tcp_length));
      }
    }
    if (writev(tun, parts, count) < 0 && errno == EBADFD) die("write", "tun");
  }
}

void gso_to_vnet(int udp, int tun) {
  static uint8_t train[1 << 17];
  for (;;) {
    union {
      struct cmsghdr align;
      char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    struct iovec into = {train, sizeof train};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
    ssize_t total = recvmsg(udp, &message, 0);
    if (total < 0 && (errno == EINTR || errno == ECONNREFUSED)) continue;
    if (total <= 0) return;
    int each = total;
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (part && part->cmsg_level == IPPROTO_UDP && part->cmsg_type == UDP_GRO)
      memcpy(&each, CMSG_DATA(part), sizeof each);
    join(tun, train, total, each);
  }
}
