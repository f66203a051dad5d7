/* endpoint.c - opens the two ends of a bridge. */
#define _GNU_SOURCE
#include "bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104 /* linux/udp.h; older C libraries lack it */
#endif

void die(const char *what, const char *which) {
  fprintf(stderr, "bridge: %s %s: %s\n", what, which, strerror(errno));
  exit(1);
}

/* The kernel's default holds some 90 packets; a burst of one TCP window must fit. */
static void widen(int sock) {
  int bytes = 4 << 20;
  setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static int device(const char *name, int flags) {
  int fd = open("/dev/net/tun", O_RDWR);
  if (fd < 0) die("open", "/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_NO_PI | flags};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(fd, TUNSETIFF, &request)) die("TUNSETIFF", name);
  if (flags & IFF_VNET_HDR) {
    int header = sizeof(struct virtio_net_hdr);
    if (ioctl(fd, TUNSETVNETHDRSZ, &header)) die("TUNSETVNETHDRSZ", name);
    if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4))) die("TUNSETOFFLOAD", name);
  }
  return fd;
}

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int udp(int local, int remote, int gso) {
  int sock = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
  struct sockaddr_in here = loopback(local), there = loopback(remote);
  widen(sock);
  if (bind(sock, (struct sockaddr *)&here, sizeof here)) die("bind", "udp");
  if (connect(sock, (struct sockaddr *)&there, sizeof there)) die("connect", "udp");
  if (gso && setsockopt(sock, IPPROTO_UDP, UDP_GRO, &on, sizeof on)) die("UDP_GRO", "udp");
  return sock;
}

static struct sockaddr_un unix_name(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, path, sizeof name.sun_path - 1);
  return name;
}

/* The other end may still be on its way: it has 5 s. */
static void connect_soon(int sock, const char *path) {
  struct sockaddr_un name = unix_name(path);
  int tries = 500;
  while (connect(sock, (struct sockaddr *)&name, sizeof name)) {
    if (--tries == 0) die("connect", path);
    usleep(10000);
  }
}

static int unix_listen(const char *path, int type) {
  struct sockaddr_un name = unix_name(path);
  int sock = socket(AF_UNIX, type, 0);
  unlink(path);
  if (bind(sock, (struct sockaddr *)&name, sizeof name) || listen(sock, 1)) die("listen", path);
  int peer = accept(sock, NULL, NULL);
  if (peer < 0) die("accept", path);
  close(sock);
  widen(peer);
  return peer;
}

static int unix_connect(const char *path, int type) {
  int sock = socket(AF_UNIX, type, 0);
  if (type == SOCK_DGRAM) { /* answers need a name to come to */
    struct sockaddr_un own = unix_name(path);
    size_t length = strlen(own.sun_path);
    snprintf(own.sun_path + length, sizeof own.sun_path - length, ".%d", getpid());
    unlink(own.sun_path);
    if (bind(sock, (struct sockaddr *)&own, sizeof own)) die("bind", own.sun_path);
  }
  connect_soon(sock, path);
  widen(sock);
  return sock;
}

struct endpoint endpoint_open(const char *spec) {
  char copy[512], *rest = copy;
  snprintf(copy, sizeof copy, "%s", spec);
  const char *kind = strsep(&rest, ":");
  const char *first = rest ? strsep(&rest, ":") : "";
  const char *second = rest ? strsep(&rest, ":") : "";
  const char *third = rest ? rest : "";
  if (!strcmp(kind, "tun")) return (struct endpoint){TUN, device(first, IFF_TUN)};
  if (!strcmp(kind, "tap")) return (struct endpoint){TUN, device(first, IFF_TAP)};
  if (!strcmp(kind, "tunv")) return (struct endpoint){TUN_VNET, device(first, IFF_TUN | IFF_VNET_HDR)};
  if (!strcmp(kind, "udp")) return (struct endpoint){UDP, udp(atoi(first), atoi(second), 0)};
  if (!strcmp(kind, "udpg")) return (struct endpoint){UDP_TRAIN, udp(atoi(first), atoi(second), 1)};
  if (!strcmp(kind, "listen")) return (struct endpoint){STREAM, unix_listen(first, SOCK_STREAM)};
  if (!strcmp(kind, "connect")) return (struct endpoint){STREAM, unix_connect(first, SOCK_STREAM)};
  if (!strcmp(kind, "lelisten")) return (struct endpoint){STREAM_LE, unix_listen(first, SOCK_STREAM)};
  if (!strcmp(kind, "leconnect")) return (struct endpoint){STREAM_LE, unix_connect(first, SOCK_STREAM)};
  if (!strcmp(kind, "seqlisten")) return (struct endpoint){MESSAGES, unix_listen(first, SOCK_SEQPACKET)};
  if (!strcmp(kind, "seqconnect")) return (struct endpoint){MESSAGES, unix_connect(first, SOCK_SEQPACKET)};
  if (!strcmp(kind, "dgram")) return (struct endpoint){MESSAGES, unix_connect(first, SOCK_DGRAM)};
  if (!strcmp(kind, "vde")) return (struct endpoint){MESSAGES, vde_port(first)};
  if (!strcmp(kind, "fd")) return (struct endpoint){TUN, hypertap_descriptor(first, second, third)};
  errno = EINVAL;
  die("endpoint", spec);
}
