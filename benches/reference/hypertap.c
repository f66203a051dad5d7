/* hypertap.c - gets a TUN descriptor from hypertap: one JSON line out, one reply with SCM_RIGHTS back. */
#define _GNU_SOURCE
#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Reads until `text` was seen; the descriptor that came on the way, or -1. Replies are short: 8 KiB hold all. */
static int await(int control, const char *text) {
  char seen[8192] = "";
  size_t length = 0;
  int descriptor = -1;
  while (!strstr(seen, text)) {
    union {
      struct cmsghdr align;
      char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    struct iovec into = {seen + length, sizeof seen - 1 - length};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
    ssize_t count = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
    if (count <= 0 || strstr(seen, "\"ok\":false")) {
      fprintf(stderr, "bridge: hypertap said: %s\n", seen);
      die("waiting for", text);
    }
    length += count;
    seen[length] = 0;
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
      memcpy(&descriptor, CMSG_DATA(part), sizeof descriptor);
  }
  return descriptor;
}

int hypertap_descriptor(const char *control, const char *address, const char *route) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, control, sizeof name.sun_path - 1);
  int sock = socket(AF_UNIX, SOCK_STREAM, 0); /* stays open: the tunnel lives as long as its client */
  if (connect(sock, (struct sockaddr *)&name, sizeof name)) die("connect", control);
  dprintf(sock, "{\"cmd\":\"start\",\"myIPv4Address\":\"%s\",\"dataPlane\":\"fd\",\"id\":\"start\"}\n", address);
  int tun = await(sock, "\"id\":\"start\"");
  if (tun < 0) {
    errno = ENOENT;
    die("no descriptor from", control);
  }
  dprintf(sock, "{\"cmd\":\"addIncludedRoutes\",\"routes\":[\"%s\"],\"id\":\"route\"}\n", route);
  await(sock, "\"id\":\"route\"");
  /* Blocking, as the descriptor of a program that opened the device itself. */
  fcntl(tun, F_SETFL, fcntl(tun, F_GETFL) & ~O_NONBLOCK);
  return tun;
}
