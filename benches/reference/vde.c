/* vde.c - takes a port of a vde_switch (Virtual Distributed Ethernet 2).
 *
 * One request on the control socket names our own datagram socket; the answer names the switch's. From then on each
 * frame is a datagram. The port lives as long as the control connection, which is why that stays open.
 */
#define _GNU_SOURCE
#include "bridge.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct request {
  uint32_t magic, version, type;
  struct sockaddr_un data;
} __attribute__((packed));

int vde_port(const char *directory) {
  struct sockaddr_un control = {.sun_family = AF_UNIX}, there = {0};
  struct request request = {0xfeedface, 3, 0, {.sun_family = AF_UNIX}};
  snprintf(control.sun_path, sizeof control.sun_path, "%s/ctl", directory);
  snprintf(request.data.sun_path, sizeof request.data.sun_path, "%s.%d", directory, getpid());
  int asking = socket(AF_UNIX, SOCK_STREAM, 0), data = socket(AF_UNIX, SOCK_DGRAM, 0);
  int tries = 500; /* the switch may still be on its way: 5 s */
  while (connect(asking, (struct sockaddr *)&control, sizeof control)) {
    if (--tries == 0) die("connect", control.sun_path);
    usleep(10000);
  }
  unlink(request.data.sun_path);
  if (bind(data, (struct sockaddr *)&request.data, sizeof request.data)) die("bind", request.data.sun_path);
  if (send(asking, &request, sizeof request, 0) != sizeof request) die("ask for a port", directory);
  if (recv(asking, &there, sizeof there, 0) <= 0) die("no port from", directory);
  if (connect(data, (struct sockaddr *)&there, sizeof there)) die("connect", there.sun_path);
  int bytes = 4 << 20;
  setsockopt(data, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return data;
}
