/* batch.c - many packets a system call: a framed Unix stream, and sendmmsg/recvmmsg on sockets with messages.
 *
 * The TUN has no call for many packets, so each is one read or write. It is read without blocking until it is empty
 * or the batch is full; only then does the batch go out in one call, and only an empty TUN is waited for.
 */
#define _GNU_SOURCE
#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAM_BATCH (192 << 10) /* bytes after which a write goes out */
#define STREAM_BUFFER (512 << 10)
#define MESSAGES 64
#define LENGTH_BYTES 2

static void *buffer(size_t bytes) {
  void *memory = malloc(bytes);
  if (!memory) die("malloc", "");
  return memory;
}

static void never_block(int tun) { fcntl(tun, F_SETFL, fcntl(tun, F_GETFL) | O_NONBLOCK); }

/* 1 when the TUN may have a packet, 0 when it is gone. */
static int wait_for(int tun) {
  if (errno != EAGAIN && errno != EINTR) return 0;
  struct pollfd readable = {.fd = tun, .events = POLLIN};
  poll(&readable, 1, -1);
  return 1;
}

static int write_all(int fd, const uint8_t *bytes, size_t length) {
  while (length) {
    ssize_t count = write(fd, bytes, length);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return -1;
    bytes += count;
    length -= count;
  }
  return 0;
}

void tun_to_stream(int tun, int stream, int little_endian) {
  uint8_t *batch = buffer(STREAM_BATCH + LENGTH_BYTES + PACKET_MAX);
  never_block(tun);
  for (;;) {
    size_t filled = 0;
    while (filled < STREAM_BATCH) {
      ssize_t length = read(tun, batch + filled + LENGTH_BYTES, PACKET_MAX);
      if (length <= 0) break;
      batch[filled + little_endian] = length >> 8;
      batch[filled + !little_endian] = length;
      filled += LENGTH_BYTES + length;
    }
    if (filled ? write_all(stream, batch, filled) : !wait_for(tun)) return;
  }
}

void stream_to_tun(int stream, int tun, int little_endian) {
  uint8_t *bytes = buffer(STREAM_BUFFER);
  size_t held = 0; /* at most one packet that has not come whole */
  for (;;) {
    ssize_t count = read(stream, bytes + held, STREAM_BUFFER - held);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    held += count;
    size_t done = 0;
    while (held - done >= LENGTH_BYTES) {
      size_t length = bytes[done + little_endian] << 8 | bytes[done + !little_endian];
      if (held - done - LENGTH_BYTES < length) break;
      tun_write(tun, bytes + done + LENGTH_BYTES, length);
      done += LENGTH_BYTES + length;
    }
    held -= done;
    memmove(bytes, bytes + done, held);
  }
}

struct messages {
  struct mmsghdr headers[MESSAGES];
  struct iovec parts[MESSAGES];
};

static struct messages *messages(void) {
  struct messages *all = buffer(sizeof *all);
  memset(all, 0, sizeof *all);
  uint8_t *memory = buffer((size_t)MESSAGES * PACKET_MAX);
  for (int i = 0; i < MESSAGES; i++) {
    all->parts[i] = (struct iovec){memory + (size_t)i * PACKET_MAX, PACKET_MAX};
    all->headers[i].msg_hdr.msg_iov = &all->parts[i];
    all->headers[i].msg_hdr.msg_iovlen = 1;
  }
  return all;
}

void tun_to_messages(int tun, int sock) {
  struct messages *all = messages();
  never_block(tun);
  for (;;) {
    int count = 0;
    while (count < MESSAGES) {
      ssize_t length = read(tun, all->parts[count].iov_base, PACKET_MAX);
      if (length <= 0) break;
      all->parts[count++].iov_len = length;
    }
    if (!count && !wait_for(tun)) return;
    for (int sent = 0; sent < count;) {
      int now = sendmmsg(sock, all->headers + sent, count - sent, 0);
      if (now < 0 && errno == EINTR) continue;
      if (now <= 0) return;
      sent += now;
    }
  }
}

void messages_to_tun(int sock, int tun) {
  struct messages *all = messages();
  for (;;) {
    int count = recvmmsg(sock, all->headers, MESSAGES, MSG_WAITFORONE, NULL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || all->headers[0].msg_len == 0) return;
    for (int i = 0; i < count; i++) tun_write(tun, all->parts[i].iov_base, all->headers[i].msg_len);
  }
}
