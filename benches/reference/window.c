/* window.c - UDP packets a second with at most 64 in flight.
 *
 *   window sink PORT                      counts, and acknowledges every 16th packet
 *   window send ADDRESS PORT SIZE SECONDS sends packets of SIZE bytes (IP header included); prints one JSON object
 *   window ping ADDRESS PORT SECONDS      sends one packet, waits for its answer, and so on; prints one JSON object
 *
 * Without a window a sender measures how fast packets are thrown away. With one, it measures how fast they pass:
 * 64 packets leave, and each acknowledged group of 16 lets the next 16 go. A group that is not acknowledged within
 * 50 ms is taken for lost, so that loss costs time and cannot stop the run.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT 64
#define GROUP 16
#define HEADERS 28 /* IPv4 and UDP */
#define LARGEST 2048
#define PINGS 1000000

struct probe {
  uint64_t run;      /* a new number starts a new count */
  uint64_t sequence; /* from 0; the sink answers when it is the last of its group, or 0 */
  uint64_t received; /* in an answer: packets of this run so far */
};

static _Noreturn void die(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static int udp_socket(void) {
  int sock = socket(AF_INET, SOCK_DGRAM, 0), bytes = 4 << 20;
  if (sock < 0) die("socket");
  setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return sock;
}

static int sink(int port) {
  int sock = udp_socket();
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (bind(sock, (struct sockaddr *)&any, sizeof any)) die("bind");
  static uint8_t bytes[GROUP][LARGEST];
  struct mmsghdr messages[GROUP] = {0};
  struct iovec parts[GROUP];
  struct sockaddr_in senders[GROUP];
  struct probe count = {0};
  for (;;) {
    for (int i = 0; i < GROUP; i++) {
      parts[i] = (struct iovec){bytes[i], LARGEST};
      messages[i].msg_hdr = (struct msghdr){
          .msg_name = &senders[i], .msg_namelen = sizeof senders[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(sock, messages, GROUP, MSG_WAITFORONE, NULL);
    for (int i = 0; i < got; i++) {
      struct probe one;
      if (messages[i].msg_len < sizeof one) continue;
      memcpy(&one, bytes[i], sizeof one);
      if (one.run != count.run) count = (struct probe){.run = one.run};
      count.received++;
      count.sequence = one.sequence;
      if (one.sequence == 0 || one.sequence % GROUP == GROUP - 1)
        sendto(sock, &count, sizeof count, 0, (struct sockaddr *)&senders[i], sizeof senders[i]);
    }
  }
}

static int connected(const char *address, int port) {
  int sock = udp_socket();
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, address, &there.sin_addr) != 1) die("address");
  if (connect(sock, (struct sockaddr *)&there, sizeof there)) die("connect");
  struct timeval patience = {.tv_usec = 50000};
  setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return sock;
}

static int send_windowed(const char *address, int port, int size, double seconds) {
  int sock = connected(address, port);
  static uint8_t bytes[GROUP][LARGEST];
  struct mmsghdr messages[GROUP] = {0};
  struct iovec parts[GROUP];
  for (int i = 0; i < GROUP; i++) {
    parts[i] = (struct iovec){bytes[i], size - HEADERS};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  double start = now();
  uint64_t run = (uint64_t)getpid() << 32 ^ (uint64_t)(start * 1e6);
  uint64_t sent = 0, settled = 0, received = 0, stalls = 0;
  while (now() - start < seconds) {
    while (sent - settled + GROUP <= IN_FLIGHT) {
      for (int i = 0; i < GROUP; i++) {
        struct probe one = {.run = run, .sequence = sent++};
        memcpy(bytes[i], &one, sizeof one);
      }
      if (sendmmsg(sock, messages, GROUP, 0) < 0 && errno != ENOBUFS) die("send");
    }
    struct probe answer;
    if (recv(sock, &answer, sizeof answer, 0) == sizeof answer && answer.run == run) {
      if (answer.sequence && answer.sequence + 1 > settled) settled = answer.sequence + 1;
      if (answer.received > received) received = answer.received;
    } else {
      stalls++;
      settled = sent;
    }
  }
  double took = now() - start;
  printf("{\"packets_per_second\":%.0f,\"sent\":%lu,\"received\":%lu,\"stalls\":%lu}\n", received / took, sent,
         received, stalls);
  return 0;
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

/* Number 0 of a run is answered at once, so each question is a run of its own. */
static int ping(const char *address, int port, double seconds) {
  static double trips[PINGS];
  int sock = connected(address, port), count = 0, lost = 0;
  struct probe question = {.run = (uint64_t)getpid() << 32}, answer;
  for (double start = now(); now() - start < seconds && count < PINGS;) {
    double sent = now();
    question.run++;
    if (send(sock, &question, sizeof question, 0) < 0) die("send");
    ssize_t got;
    do got = recv(sock, &answer, sizeof answer, 0);
    while (got > 0 && answer.run != question.run); /* one that came too late */
    if (got > 0) trips[count++] = now() - sent;
    else lost++;
  }
  if (!count) die("no answer");
  qsort(trips, count, sizeof *trips, ascending);
  printf("{\"median_us\":%.2f,\"p99_us\":%.2f,\"answered\":%d,\"lost\":%d}\n", trips[count / 2] * 1e6,
         trips[(int)(count * .99)] * 1e6, count, lost);
  return 0;
}

int main(int count, char **words) {
  if (count == 3 && !strcmp(words[1], "sink")) return sink(atoi(words[2]));
  if (count == 6 && !strcmp(words[1], "send")) {
    int size = atoi(words[4]);
    if (size < HEADERS + (int)sizeof(struct probe) || size > LARGEST) {
      fprintf(stderr, "window: SIZE is %d to %d\n", HEADERS + (int)sizeof(struct probe), LARGEST);
      return 2;
    }
    return send_windowed(words[2], atoi(words[3]), size, atof(words[5]));
  }
  if (count == 5 && !strcmp(words[1], "ping")) return ping(words[2], atoi(words[3]), atof(words[4]));
  fprintf(stderr, "usage: window sink PORT | send ADDRESS PORT SIZE SECONDS | ping ADDRESS PORT SECONDS\n");
  return 2;
}
